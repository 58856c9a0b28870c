/**
 * How much memory and address space this process may have. Pure but for reading /proc and /sys through
 * the function it is given.
 *
 * @see getrlimit(2), proc_pid_limits(5); Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst
 * in the kernel's sources
 */

import { CGROUP_ROOT, type FileReader, groupsAround } from "./system_load.ts";

/** The limit of a control group. */
export interface MemoryLimit {
  sizeBytes: number;
  /** The file it stands in. */
  path: string;
}

/** Above it the kernel kills (v2: max, v1), or slows down until little gets done (v2: high). */
const FILES_V2 = ["memory.max", "memory.high"] as const;
const FILES_V1 = ["memory.limit_in_bytes"] as const;
/** Without a limit version 1 shows the largest number of whole pages. */
const NO_LIMIT_BYTES = 2 ** 60;

/** The strictest limit of the control groups around this process; undefined when there is none. */
export function groupMemoryLimit(read: FileReader): MemoryLimit | undefined {
  const groups = read("/proc/self/cgroup") ?? "";
  const v2 = /^0::(\/.*)$/m.exec(groups)?.[1];
  const v1 = /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(\/.*)$/m.exec(groups)?.[1];
  const paths = [
    ...filesIn(CGROUP_ROOT, v2, FILES_V2),
    ...filesIn(`${CGROUP_ROOT}/unified`, v2, FILES_V2),
    ...filesIn(`${CGROUP_ROOT}/memory`, v1, FILES_V1),
  ];
  let strictest: MemoryLimit | undefined;
  for (const path of paths) {
    const sizeBytes = Number(read(path) ?? "max"); // "max" is no number
    if (!(sizeBytes > 0 && sizeBytes < NO_LIMIT_BYTES)) continue;
    if (strictest === undefined || sizeBytes < strictest.sizeBytes) strictest = { sizeBytes, path };
  }
  return strictest;
}

function filesIn(root: string, path: string | undefined, names: readonly string[]): string[] {
  if (path === undefined) return [];
  return groupsAround(root, path).flatMap((group) => names.map((name) => `${group}/${name}`));
}

/** How much more address space this process may take (RLIMIT_AS), bytes; Infinity without a limit. */
export function addressSpaceLeft(read: FileReader): number {
  const limit = Number(
    /^Max address space +(\d+) /m.exec(read("/proc/self/limits") ?? "")?.[1] ?? Infinity,
  );
  if (limit === Infinity) return Infinity;
  const taken = Number(/^VmSize:\s+(\d+) kB$/m.exec(read("/proc/self/status") ?? "")?.[1] ?? 0);
  return Math.max(0, limit - taken * 1024);
}
