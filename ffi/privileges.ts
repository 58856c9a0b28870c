/**
 * Giving up privileges once everything that needs them is open. Touches the C library and /proc/self.
 *
 * A raw socket keeps working for the process that opened it, so nothing is lost, and a fault in a
 * parser can no longer do what root can: not now, and not at root's next start.
 */

import { type FileIdentity, identityOf, releaseWritableFiles } from "./descriptors.ts";
import { Errno, SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";
import { filterSystemCalls } from "./system_call_filter.ts";

/** linux/prctl.h, linux/capability.h */
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4n;
const CAPABILITY_VERSION_3 = 0x2008_0522;

/** User and group "nobody" and "nogroup" on Debian; the kernel's overflow ids. */
export const NOBODY = 65534;

/** What came of it. */
export interface Surrender {
  /** Whether the process was root and is nobody now. */
  isNobody: boolean;
  /** Why there is no filter in front of system calls; `undefined` when there is one. */
  unfiltered: string | undefined;
}

/**
 * Gives up all privileges, for good:
 * - root becomes the user nobody, without supplementary groups and capabilities. In a user namespace
 *   without that user it stays what it is: root there has no rights outside
 * - other users give up this thread's capabilities (each worker does so itself: see
 *   {@linkcode dropOwnCapabilities}; the runtime's helper threads cannot be reached)
 * - what is open for writing is let go of: see {@linkcode releaseWritableFiles}
 * - no_new_privs is set, and system calls are filtered: see {@linkcode filterSystemCalls}. With that
 *   no program can be started any more, so the bounding set of capabilities does not matter
 *
 * @param options.keepWritable paths of files that stay open for writing: the log
 * @throws SystemError when the kernel refuses for another reason
 * @see setresuid(2), user_namespaces(7), capabilities(7), PR_SET_NO_NEW_PRIVS(2const)
 */
export function surrenderPrivileges(
  options: { keepWritable?: readonly string[] } = {},
): Surrender {
  // Nobody may have no way to them.
  const kept: FileIdentity[] = [];
  for (const path of options.keepWritable ?? []) {
    const identity = identityOf(path);
    if (identity !== undefined) kept.push(identity);
  }
  const isNobody = becomeNobody();
  dropCapabilities();
  releaseWritableFiles(kept);
  if (libc().prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) !== 0) {
    throw new SystemError("giving up privileges", "prctl", lastErrno());
  }
  return { isNobody, unfiltered: filterSystemCalls() };
}

/** The C library does this for all threads at once, and leaves them no capabilities. */
function becomeNobody(): boolean {
  if (Deno.uid() !== 0) return false;
  const { setgroups, setresgid, setresuid } = libc();
  if (setgroups(0n, 0n) !== 0) return isUnmapped("setgroups", lastErrno());
  if (setresgid(NOBODY, NOBODY, NOBODY) !== 0) return isUnmapped("setresgid", lastErrno());
  if (setresuid(NOBODY, NOBODY, NOBODY) !== 0) return isUnmapped("setresuid", lastErrno());
  return true;
}

/** Where there is nobody to become. The error number alone may be another's: it is read a moment later. */
function isUnmapped(call: string, errno: number): false {
  if (errno === Errno.EINVAL || errno === Errno.EPERM) return false;
  if (!isMapped("/proc/self/uid_map") || !isMapped("/proc/self/gid_map")) return false;
  throw new SystemError("giving up root", call, errno);
}

/** Whether the user namespace has the id of nobody (user_namespaces(7): first, outside, count). */
function isMapped(path: string): boolean {
  return Deno.readTextFileSync(path).trim().split("\n").some((line) => {
    const [first, , count] = line.trim().split(/\s+/).map(Number);
    return NOBODY >= first && NOBODY < first + count;
  });
}

/**
 * Gives up the capabilities of the calling thread, and so of those it starts, if it is not root's:
 * that root is given up later, for all threads at once, takes capabilities in all of them.
 *
 * @throws SystemError when the kernel refuses
 */
export function dropOwnCapabilities(): void {
  if (Deno.uid() !== 0) dropCapabilities();
}

function dropCapabilities(): void {
  // Fails only on kernels before 4.3, which have no ambient ones.
  libc().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0n, 0n, 0n);
  // struct __user_cap_header_struct, and two of __user_cap_data_struct for 64 capabilities.
  const header = new Uint32Array([CAPABILITY_VERSION_3, 0]);
  if (libc().capset(header, new Uint32Array(6)) !== 0) {
    throw new SystemError("giving up capabilities", "capset", lastErrno());
  }
}
