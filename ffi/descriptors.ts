/**
 * Letting go of what could still be written through descriptors that were opened with more rights.
 * Touches /proc/self and the C library.
 *
 * The runtime keeps its caches open (SQLite: files, and a mapping shared with other processes), and
 * a parent may have left something open. Who takes over the process could write there, and the next
 * start as root would believe it. An empty file in memory takes the place of such a file: closing the
 * descriptor would let a later file have its number. SQLite then finds an index without contents,
 * locks it, and makes of it an empty database; the runtime treats a cache that fails as no cache.
 */

import { SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";

/** <fcntl.h>, on x86-64 and arm64 alike */
const F_GETFD = 1;
const F_GETFL = 3;
const F_ADD_SEALS = 1033;
/** No more seals, no other length, no writing. */
const ALL_SEALS = 0xf;
const FD_CLOEXEC = 1;
const O_RDONLY = 0;
const O_ACCMODE = 3;
const O_CLOEXEC = 0o2000000;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;

/** <sys/mman.h> */
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;

const STANDARD_STREAMS = [0, 1, 2];

/** What a path or a descriptor leads to, whatever its name. */
export type FileIdentity = string;

/** The identity of the file at a path; `undefined` when there is none. */
export function identityOf(path: string): FileIdentity | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev}:${ino}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Puts an empty file that cannot be written in the place of every file and device that could be, and
 * of every socket or pipe that was inherited; shared mappings of files become empty memory. Standard
 * streams stay, and so do descriptors of the same files.
 *
 * @param kept files that stay writable
 * @throws SystemError when the kernel refuses
 */
export function releaseWritableFiles(kept: Iterable<FileIdentity>): void {
  releaseSharedMappings();
  const ids = new Set<FileIdentity | undefined>(kept);
  for (const stream of STANDARD_STREAMS) ids.add(identityOf(`/proc/self/fd/${stream}`));
  const c = libc();
  const nothing = openNothing();
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    const fd = Number(name);
    if (STANDARD_STREAMS.includes(fd) || !isToBeReleased(fd)) continue;
    if (ids.has(identityOf(`/proc/self/fd/${fd}`))) continue;
    if (c.dup3(nothing, fd, O_CLOEXEC) < 0) {
      throw new SystemError(`file descriptor ${fd}`, "dup3", lastErrno());
    }
  }
  c.close(nothing);
}

/** Locks on it succeed, other than on /dev/null: SQLite would wait 10 s for one, at every look-up. */
function openNothing(): number {
  const { memfd_create, fcntl } = libc();
  const name = new TextEncoder().encode("nothing\0");
  const fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw new SystemError("an empty file", "memfd_create", lastErrno());
  if (fcntl(fd, F_ADD_SEALS, ALL_SEALS) < 0) {
    throw new SystemError("an empty file", "fcntl", lastErrno());
  }
  return fd;
}

function isToBeReleased(fd: number): boolean {
  const { fcntl } = libc();
  const flags = fcntl(fd, F_GETFL, 0);
  // The one the directory was read with is gone again.
  if (flags < 0 || (flags & O_ACCMODE) === O_RDONLY) return false;
  const target = targetOf(fd);
  if (target === undefined) return false;
  if (target.startsWith("/")) return !target.startsWith("/memfd:");
  // What is opened here is always closed on exec; what came through exec is not.
  const isInherited = (fcntl(fd, F_GETFD, 0) & FD_CLOEXEC) === 0;
  return isInherited && !target.startsWith("anon_inode:");
}

/** What it leads to; `undefined` when another thread has just closed it. */
function targetOf(fd: number): string | undefined {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** proc_pid_maps(5): shared, with the name of a file that still has one. */
const SHARED_FILE = /^([0-9a-f]+)-([0-9a-f]+) ...s \S+ \S+ \d+ +(\/.*)$/;

/**
 * Puts empty memory in the place of shared mappings. Also of those that can only be read: they could
 * be made writable again.
 */
function releaseSharedMappings(): void {
  for (const line of Deno.readTextFileSync("/proc/self/maps").split("\n")) {
    const match = SHARED_FILE.exec(line);
    if (match === null || match[3].endsWith(" (deleted)")) continue;
    const from = BigInt(`0x${match[1]}`);
    const pointer = libc().mmap(
      from,
      BigInt(`0x${match[2]}`) - from,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
      -1,
      0n,
    );
    const errno = lastErrno();
    if (BigInt.asUintN(64, BigInt(Deno.UnsafePointer.value(pointer))) !== from) {
      throw new SystemError(`memory in place of ${match[3]}`, "mmap", errno);
    }
  }
}
