/** How the kernel's scheduler treats this process. Touches the C library only. */

import { Arena } from "./arena.ts";
import { Errno } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";

/** <sched.h> */
const SCHED_BATCH = 3;
const SCHED_IDLE = 5;

/**
 * Never preempts another process on waking: all its threads, and those they start from now on, run
 * when a processor is free or the one that runs there has had its turn. With idle processors nothing
 * changes. On busy ones production goes first, and more packets have come together by each turn,
 * which makes them cheaper.
 *
 * @returns 0, or the error number when a sandbox forbids the call
 * @see sched_setscheduler(2), sched(7) "SCHED_BATCH"
 */
export function neverPreempt(): number {
  return setPolicy(SCHED_BATCH);
}

/**
 * Leaves the processors to all others: all threads of this process, and those they start from now
 * on, run where one would be idle, and hardly ever on a host that is busy all over.
 *
 * @returns 0, or the error number when a sandbox forbids the call
 * @see sched_setscheduler(2), sched(7) "SCHED_IDLE"
 */
export function runWhenIdle(): number {
  return setPolicy(SCHED_IDLE);
}

function setPolicy(policy: number): number {
  // struct sched_param { int sched_priority; }, which is 0 for these policies.
  const parameter = new Arena(4);
  let errno = 0;
  // The engine's threads for compilation and garbage are there already.
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    const result = libc().sched_setscheduler(Number(name), policy, parameter.addressAt(0));
    const failure = result === 0 ? 0 : lastErrno();
    // A thread may have ended meanwhile.
    if (failure !== 0 && failure !== Errno.ESRCH) errno = failure;
  }
  parameter.free();
  return errno;
}
