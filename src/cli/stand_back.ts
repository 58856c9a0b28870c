/** Behind production in the queue for processors. */

import type { Logger } from "@logtape/logtape";
import { errnoCode } from "../../ffi/errno.ts";
import { neverPreempt } from "../../ffi/scheduling.ts";

/** Lets every other process go first where processors are short; warns when that is forbidden. */
export function standBack(log: Logger): void {
  const errno = neverPreempt();
  if (errno === 0) return;
  log.warn(
    `the kernel refused the scheduling policy SCHED_BATCH (${errnoCode(errno)}): ` +
      "on a busy host this process may preempt others",
  );
}
