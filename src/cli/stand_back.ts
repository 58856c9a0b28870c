/** Behind production in the queue for processors. */

import type { Logger } from "@logtape/logtape";
import { errnoCode } from "../../ffi/errno.ts";
import { neverPreempt, runWhenIdle } from "../../ffi/scheduling.ts";

/**
 * Lets every other process go first where processors are short; warns when that is forbidden.
 *
 * @param policy "batch": has its share, but preempts nobody; "idle": has what nobody else wants
 */
export function standBack(log: Logger, policy: "batch" | "idle" = "batch"): void {
  const errno = policy === "batch" ? neverPreempt() : runWhenIdle();
  if (errno === 0) return;
  log.warn(
    `the kernel refused the scheduling policy SCHED_${policy.toUpperCase()} (${
      errnoCode(errno)
    }): ` +
      "on a busy host this process may preempt others",
  );
}
