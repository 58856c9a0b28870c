/**
 * Giving up root once the sockets that need it are open. Touches the C library only.
 *
 * A raw socket keeps working for the process that opened it, so nothing is lost, and a fault in a
 * parser can no longer do what root can.
 */

import { Errno, SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";

/** linux/prctl.h, linux/capability.h */
const PR_SET_KEEPCAPS = 8;
const CAPABILITY_VERSION_3 = 0x2008_0522;
const CAP_DAC_READ_SEARCH = 2;

/** User and group "nobody" and "nogroup" on Debian; the kernel's overflow ids. */
const NOBODY = 65534;

/**
 * Becomes the user nobody, with no supplementary groups and no capabilities, if the process is root.
 *
 * In a user namespace without that user the process stays what it is: root there has no rights
 * outside.
 *
 * @param options.keepReading keeps one right of root's, for this thread and those it starts: to read
 * files (CAP_DAC_READ_SEARCH). For programs that read their configuration again while they run
 * @returns whether the process gave up root
 * @throws SystemError when the kernel refuses for another reason
 * @see setresuid(2), user_namespaces(7), capabilities(7)
 */
export function dropRoot(options: { keepReading?: boolean } = {}): boolean {
  if (Deno.uid() !== 0) return false;
  const { setgroups, setresgid, setresuid, prctl } = libc();
  const { keepReading = false } = options;
  if (keepReading && prctl(PR_SET_KEEPCAPS, 1n, 0n, 0n, 0n) !== 0) {
    throw new SystemError("giving up root", "prctl", lastErrno());
  }
  if (setgroups(0n, 0n) !== 0) return isUnmapped("setgroups");
  if (setresgid(NOBODY, NOBODY, NOBODY) !== 0) return isUnmapped("setresgid");
  if (setresuid(NOBODY, NOBODY, NOBODY) !== 0) return isUnmapped("setresuid");
  if (keepReading) keepOnly(CAP_DAC_READ_SEARCH);
  return true;
}

function isUnmapped(call: string): false {
  const errno = lastErrno();
  if (errno === Errno.EINVAL || errno === Errno.EPERM) return false;
  throw new SystemError("giving up root", call, errno);
}

/** Gives up all capabilities but one. */
function keepOnly(capability: number): void {
  // struct __user_cap_header_struct, and two of __user_cap_data_struct for 64 capabilities.
  const header = new Uint32Array([CAPABILITY_VERSION_3, 0]);
  const bit = 1 << capability;
  const data = new Uint32Array([bit, bit, 0, 0, 0, 0]);
  if (libc().capset(header, data) !== 0) {
    throw new SystemError("giving up root", "capset", lastErrno());
  }
}
