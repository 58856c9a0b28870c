/** A control group of its own for some processes, cgroup v2 or v1: limits their CPU or memory. */

/** Where the kernel's control groups are, by convention. */
const ROOT = "/sys/fs/cgroup";

/** What a group may have. */
export type Limit =
  /** Of one core. */
  | { cpuPercent: number }
  /** Counted from when a process joins. */
  | { memoryBytes: number };

/** There can be no such group here; the message says why. */
export class GroupError extends Error {}

const CPU_PERIOD_US = 100_000;

export class ControlGroup {
  readonly #path: string;

  /** @throws GroupError */
  constructor(limit: Limit) {
    const controller = "cpuPercent" in limit ? "cpu" : "memory";
    const isV2 = exists(`${ROOT}/cgroup.controllers`);
    const parent = isV2 ? ROOT : `${ROOT}/${controller}`;
    this.#path = `${parent}/tcpcopy-bench-${crypto.randomUUID()}`;
    try {
      if (isV2) Deno.writeTextFileSync(`${ROOT}/cgroup.subtree_control`, `+${controller}`);
      Deno.mkdirSync(this.#path);
    } catch (error) {
      throw new GroupError(
        `no control group for ${controller} (${(error as Error).message}): this needs root and a ` +
          `writable ${ROOT} with that controller`,
      );
    }
    for (const [file, value] of settings(limit, isV2)) this.#write(file, value);
  }

  /** Moves a process there, with all its threads. */
  add(pid: number): void {
    this.#write("cgroup.procs", `${pid}`);
  }

  /** Removes the group; its processes must have ended. */
  async close(): Promise<void> {
    for (let attempt = 0;; attempt++) {
      try {
        Deno.removeSync(this.#path);
        return;
      } catch (error) {
        // The kernel is still taking the last of them down.
        if (attempt === 50) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  #write(file: string, value: string): void {
    Deno.writeTextFileSync(`${this.#path}/${file}`, value, { create: false });
  }
}

function settings(limit: Limit, isV2: boolean): [file: string, value: string][] {
  if ("memoryBytes" in limit) {
    return [[isV2 ? "memory.max" : "memory.limit_in_bytes", `${limit.memoryBytes}`]];
  }
  const quotaUs = limit.cpuPercent / 100 * CPU_PERIOD_US;
  if (isV2) return [["cpu.max", `${quotaUs} ${CPU_PERIOD_US}`]];
  return [["cpu.cfs_period_us", `${CPU_PERIOD_US}`], ["cpu.cfs_quota_us", `${quotaUs}`]];
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
