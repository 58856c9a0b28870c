/** How many connections a proxy can have with the descriptors this process may open. Reads /proc. */

/** Descriptors for all else: files, endpoint, runtime. */
const RESERVED = 200;
/** One towards the client, one towards the service. */
const PER_CONNECTION = 2;

/** The limit that holds: the one asked for, or what the system allows. */
export function connectionLimit(wanted: number): number {
  // getrlimit(2), as proc_pid_limits(5) shows it: soft limit, hard limit.
  const limits = Deno.readTextFileSync("/proc/self/limits");
  const soft = /^Max open files +(\d+)/m.exec(limits)?.[1];
  if (soft === undefined) return wanted; // unlimited
  return Math.max(1, Math.min(wanted, Math.floor((Number(soft) - RESERVED) / PER_CONNECTION)));
}
