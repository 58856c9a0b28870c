/** Letting go of standard input, output and error. Touches the C library only. */

import { SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";

/**
 * Points the standard streams to /dev/null, as a daemon has them.
 *
 * @param options.keepsInput leaves standard input as it is
 * @throws SystemError when the kernel refuses
 * @see daemon(3), dup2(2)
 */
export function replaceStandardStreams(options: { keepsInput: boolean }): void {
  const { open, dup2, close } = libc();
  const path = new TextEncoder().encode("/dev/null\0");
  const fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) throw new SystemError("/dev/null", "open", lastErrno());
  for (let stream = options.keepsInput ? 1 : 0; stream <= 2; stream++) {
    if (dup2(fd, stream) < 0) throw new SystemError(`stream ${stream}`, "dup2", lastErrno());
  }
  close(fd);
}

const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
