/**
 * Opening files and directories for writing, on paths that others may have a hand in. Touches the
 * file system, through the C library.
 *
 * The path is walked step by step, each from the directory opened before, so that nothing changes
 * between looking and opening. A symbolic link is followed only if it is root's or this user's own:
 * whoever else can make one, in /tmp or in his own directory, would have a program that runs as root
 * write where he may not.
 */

import { Errno, errnoText, SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";
import { NOBODY } from "./privileges.ts";
import { closeFd } from "./socket.ts";

/** <fcntl.h>, what is alike on x86-64 and arm64 */
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_NOCTTY = 0o400;
const O_APPEND = 0o2000;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const AT_FDCWD = -100;
/** What differs. */
const [O_DIRECTORY, O_NOFOLLOW] = Deno.build.arch === "aarch64"
  ? [0o40000, 0o100000]
  : [0o200000, 0o400000];

/** <sys/file.h> */
const LOCK_EX = 2;
const LOCK_NB = 4;

const MAX_LINKS = 40;
const MAX_LINK_BYTES = 4096;

/** What was opened. The descriptor is the caller's to close. */
export interface Opened {
  fd: number;
  /** Whether it was made just now. */
  isNew: boolean;
}

/**
 * Opens a file, or makes it if `flags` have O_CREAT. What is there already must be root's, this
 * user's or nobody's, and have one name only: a second one may lie where it is somebody's bait.
 *
 * @param mode permissions of a new file
 * @throws Error in words for the user, without the path
 */
export function openFile(path: string, flags: number, mode: number): Opened {
  using place = locate(path);
  const { directory, name, isKernelLink } = place;
  // A FIFO without a reader is an error and no reason to wait.
  const wanted = flags | O_NONBLOCK | O_NOCTTY | (isKernelLink ? 0 : O_NOFOLLOW);
  let fd = tryOpen(directory, name, wanted & ~O_CREAT);
  // Made by this very call, or not at all: that is what `isNew` tells.
  const isNew = fd === -Errno.ENOENT && (flags & O_CREAT) !== 0;
  if (isNew) fd = tryOpen(directory, name, wanted | O_EXCL, mode);
  if (fd < 0) throw new Error(errnoText(-fd));
  const refusal = refusalOf(fd);
  if (refusal === undefined) return { fd, isNew };
  closeFd(fd);
  throw new Error(refusal);
}

/**
 * Opens a file for appending whole pieces, and makes it if it is missing: see {@linkcode openFile}.
 *
 * @param onNew is called with the descriptor of a new one
 */
export function openForAppending(
  path: string,
  mode: number,
  onNew?: (fd: number) => void,
): Deno.FsFile {
  const { fd, isNew } = openFile(path, O_WRONLY | O_APPEND | O_CREAT, mode);
  try {
    if (isNew) onNew?.(fd);
    return Deno.openSync(pathOf(fd), { append: true, write: true });
  } finally {
    closeFd(fd);
  }
}

/**
 * Opens a directory, and makes what is missing of its path.
 *
 * @param mode permissions of new directories
 * @throws Error in words for the user, without the path
 */
export function openDirectory(path: string, mode: number): Opened {
  using place = locate(path, mode);
  return openSubdirectory(place.directory, place.name, mode);
}

/**
 * Opens a directory inside an open one, and makes it if it is missing; a link there is not followed.
 *
 * @throws Error in words for the user, without the path
 */
export function openSubdirectory(directory: number, name: string, mode: number): Opened {
  const isNew = make(directory, name, mode);
  const fd = tryOpen(directory, name, O_DIRECTORY | O_NOFOLLOW);
  if (fd >= 0) return { fd, isNew };
  // Linux says the same of a link and of a file.
  throw new Error(`"${name}" is a symbolic link or no directory: ${errnoText(-fd)}`);
}

/**
 * Locks an open file for this process, as long as the descriptor or a copy of it is open: flock(2).
 *
 * @returns false when another one has the lock
 * @throws SystemError when the file system has no locks
 */
export function tryLock(fd: number): boolean {
  if (libc().flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = lastErrno();
  if (errno === Errno.EAGAIN) return false;
  throw new SystemError("locking a file", "flock", errno);
}

/**
 * The path by which what is open can be reached in this process, and what is in it if it is a
 * directory, whoever the process is by then.
 */
export function pathOf(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/**
 * Gives what is open to the user nobody, if this process is root and has that user.
 *
 * @throws Error in words for the user
 */
export function giveToNobody(fd: number): void {
  if (Deno.uid() !== 0 || libc().fchown(fd, NOBODY, NOBODY) === 0) return;
  const errno = lastErrno();
  // In a user namespace there may be no such user; the process then stays what it is.
  if (errno !== Errno.EINVAL) throw new Error(`cannot be given to nobody: ${errnoText(errno)}`);
}

/** Where a file is, or is to be. Disposing of it closes the directory. */
interface Place extends Disposable {
  /** A descriptor. */
  directory: number;
  /** In that directory; no link, when it was looked at. */
  name: string;
  /** Unless it is one of the kernel's own, in /proc: /dev/stdout leads there, and its text is no path. */
  isKernelLink: boolean;
}

/**
 * Walks to the last name of a path.
 *
 * @param makeMode makes directories on the way that are missing
 */
function locate(path: string, makeMode?: number): Place {
  const names = namesOf(path);
  let directory = mustOpen(AT_FDCWD, path.startsWith("/") ? "/" : ".", O_PATH | O_DIRECTORY);
  let isKernelLink = false;
  let name: string;
  const enter = (next: number): void => {
    closeFd(directory);
    directory = next;
  };
  try {
    for (let links = 0;;) {
      name = names.pop() ?? ".";
      const isLast = names.length === 0;
      if (!isLast && makeMode !== undefined) make(directory, name, makeMode);
      const next = tryOpen(directory, name, O_PATH | O_NOFOLLOW);
      if (isLast && next === -Errno.ENOENT) break;
      if (next < 0) throw new Error(`"${name}" on its path: ${errnoText(-next)}`);
      const { isSymlink, dev, uid, nlink } = Deno.statSync(pathOf(next));
      if (!isSymlink) {
        if (isLast) {
          closeFd(next);
          break;
        }
        enter(next);
        continue;
      }
      const target = readLink(next);
      closeFd(next);
      if (!isTrusted(uid) || nlink !== 1) {
        throw new Error(
          `"${name}" on its path is a symbolic link of user ${uid}, which is not followed`,
        );
      }
      if (++links > MAX_LINKS) throw new Error("there are too many symbolic links on its path");
      const isInProc = dev === Deno.statSync("/proc").dev;
      isKernelLink = isLast && isInProc;
      if (isKernelLink) break;
      if (isInProc) {
        enter(mustOpen(directory, name, O_PATH | O_DIRECTORY));
        continue;
      }
      names.push(...namesOf(target));
      if (target.startsWith("/")) enter(mustOpen(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
    }
  } catch (error) {
    closeFd(directory);
    throw error;
  }
  return { directory, name, isKernelLink, [Symbol.dispose]: () => closeFd(directory) };
}

/** The steps of a path, the first one last. */
function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".").reverse();
}

/** Why an open file is not to be written. */
function refusalOf(fd: number): string | undefined {
  const { isFile, nlink, uid } = Deno.statSync(pathOf(fd));
  if (!isFile || isTrusted(uid) && nlink === 1) return undefined;
  if (nlink !== 1) return `it has ${nlink} names (hard links): remove it, or name another`;
  return uid === NOBODY ? undefined : `it belongs to user ${uid}: remove it, or make it your own`;
}

/** Root, this user, and whoever owns /: in a user namespace root has another number. */
function isTrusted(uid: number | null): boolean {
  return uid === 0 || uid === Deno.uid() || uid === Deno.statSync("/").uid;
}

function readLink(fd: number): string {
  const buffer = new Uint8Array(MAX_LINK_BYTES);
  const length = libc().readlinkat(fd, cPath(""), buffer, BigInt(buffer.length));
  if (length < 0) throw new Error(errnoText(lastErrno()));
  return new TextDecoder().decode(buffer.subarray(0, length));
}

/** Makes a directory. Returns whether it was missing. */
function make(directory: number, name: string, mode: number): boolean {
  if (libc().mkdirat(directory, cPath(name), mode) === 0) return true;
  const errno = lastErrno();
  if (errno === Errno.EEXIST) return false;
  throw new Error(`"${name}" cannot be made: ${errnoText(errno)}`);
}

/** A descriptor or a negative error number. */
function tryOpen(directory: number, name: string, flags: number, mode = 0): number {
  const fd = libc().openat(directory, cPath(name), flags | O_CLOEXEC, mode);
  return fd < 0 ? -lastErrno() : fd;
}

function mustOpen(directory: number, name: string, flags: number): number {
  const fd = tryOpen(directory, name, flags);
  if (fd < 0) throw new Error(`"${name}" on its path: ${errnoText(-fd)}`);
  return fd;
}

function cPath(path: string): Uint8Array<ArrayBuffer> {
  if (path.includes("\0")) throw new Error("a path has no zero character in it");
  return new TextEncoder().encode(`${path}\0`);
}
