/**
 * Giving up root once the sockets that need it are open. Touches the C library only.
 *
 * A raw socket keeps working for the process that opened it, so nothing is lost, and a fault in a
 * parser can no longer do what root can.
 */

import { Errno, SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";

/** User and group "nobody" and "nogroup" on Debian; the kernel's overflow ids. */
const NOBODY = 65534;

/**
 * Becomes the user nobody, with no supplementary groups and no capabilities, if the process is root.
 *
 * In a user namespace without that user the process stays what it is: root there has no rights
 * outside.
 *
 * @returns whether the process gave up root
 * @throws SystemError when the kernel refuses for another reason
 * @see setresuid(2), user_namespaces(7), capabilities(7)
 */
export function dropRoot(): boolean {
  if (Deno.uid() !== 0) return false;
  const { setgroups, setresgid, setresuid } = libc();
  if (setgroups(0n, 0n) !== 0) return isUnmapped("setgroups");
  if (setresgid(NOBODY, NOBODY, NOBODY) !== 0) return isUnmapped("setresgid");
  if (setresuid(NOBODY, NOBODY, NOBODY) !== 0) return isUnmapped("setresuid");
  return true;
}

function isUnmapped(call: string): false {
  const errno = lastErrno();
  if (errno === Errno.EINVAL || errno === Errno.EPERM) return false;
  throw new SystemError("giving up root", call, errno);
}
