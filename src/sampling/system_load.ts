/**
 * How busy the system is: CPU and memory in percent, of the machine or, where a container has less,
 * of what it may use. Pure but for reading /proc and /sys through the function it is given.
 *
 * @see proc_stat(5), proc_meminfo(5); Documentation/admin-guide/cgroup-v2.rst in the kernel's sources
 */

/** Returns a file's text, or undefined when there is no such file or it may not be read. */
export type FileReader = (path: string) => string | undefined;

/** What a look at the system says, in percent. */
export interface SystemRates {
  readonly cpuPercent: number;
  readonly memPercent: number;
}

/** CPU time is judged over at least this long: the counters tick every 10 ms. */
const MIN_SPAN_MS = 450;
/** Longer ago says nothing about now. */
const MAX_SPAN_MS = 5_000;
export const CGROUP_ROOT = "/sys/fs/cgroup";

/** The counters at one moment. */
interface CpuSample {
  readonly atMs: number;
  readonly busy: number;
  readonly total: number;
  /** CPU time of each limited group, ms, in the order of `#cpuGroups`. */
  readonly groupMs: readonly number[];
}

/** Looks at the system; to be called a few times a second. */
export class SystemLoad {
  readonly #read: FileReader;
  readonly #groups: readonly string[];
  #samples: CpuSample[] = [];

  constructor(read: FileReader) {
    this.#read = read;
    this.#groups = ownGroups(read);
  }

  /**
   * CPU since about half a second ago, and memory now; undefined while too little time has passed
   * since the first look, and when the system does not tell.
   */
  look(nowMs: number): SystemRates | undefined {
    const sample = this.#sample(nowMs);
    if (sample === undefined) return undefined;
    const samples = this.#samples;
    samples.push(sample);
    while (samples.length > 2 && nowMs - samples[1].atMs >= MIN_SPAN_MS) samples.shift();
    while (samples.length > 1 && nowMs - samples[0].atMs > MAX_SPAN_MS) samples.shift();
    const first = samples[0];
    if (nowMs - first.atMs < MIN_SPAN_MS) return undefined;
    const memPercent = this.#memPercent();
    if (memPercent === undefined) return undefined;
    return { cpuPercent: this.#cpuPercent(first, sample), memPercent };
  }

  #sample(atMs: number): CpuSample | undefined {
    const line = /^cpu +([\d ]+)$/m.exec(this.#read("/proc/stat") ?? "");
    if (line === null) return undefined;
    // user nice system idle iowait irq softirq steal; guest times are in the first two already.
    const times = line[1].trim().split(/ +/).slice(0, 8).map(Number);
    const total = times.reduce((sum, time) => sum + time, 0);
    const busy = total - times[3] - (times[4] ?? 0);
    const groupMs = this.#groups.map((group) => {
      const usage = /^usage_usec (\d+)$/m.exec(this.#read(`${group}/cpu.stat`) ?? "");
      return usage === null ? 0 : Number(usage[1]) / 1000;
    });
    return { atMs, busy, total, groupMs };
  }

  #cpuPercent(from: CpuSample, to: CpuSample): number {
    const ticks = to.total - from.total;
    let percent = ticks > 0 ? 100 * (to.busy - from.busy) / ticks : 0;
    this.#groups.forEach((group, index) => {
      const [quota, period] = (this.#read(`${group}/cpu.max`) ?? "max").trim().split(" ");
      if (quota === "max" || !(Number(quota) > 0)) return;
      const allowedMs = (to.atMs - from.atMs) * Number(quota) / Number(period ?? 100_000);
      percent = Math.max(percent, 100 * (to.groupMs[index] - from.groupMs[index]) / allowedMs);
    });
    return Math.min(100, Math.max(0, percent));
  }

  #memPercent(): number | undefined {
    const meminfo = this.#read("/proc/meminfo") ?? "";
    const total = Number(/^MemTotal: +(\d+) kB$/m.exec(meminfo)?.[1]);
    const available = Number(/^MemAvailable: +(\d+) kB$/m.exec(meminfo)?.[1]);
    if (!(total > 0) || !(available >= 0)) return undefined;
    let percent = 100 * (total - available) / total;
    for (const group of this.#groups) {
      const limit = Number(this.#read(`${group}/memory.max`) ?? "max");
      const current = Number(this.#read(`${group}/memory.current`));
      if (!(limit > 0) || !(current >= 0)) continue; // "max" is no number
      // File pages nobody uses are given back at once when memory gets short.
      const inactive = /^inactive_file (\d+)$/m.exec(this.#read(`${group}/memory.stat`) ?? "");
      percent = Math.max(percent, 100 * (current - Number(inactive?.[1] ?? 0)) / limit);
    }
    return Math.min(100, Math.max(0, percent));
  }
}

/** Directories of the process's control group and of those around it, innermost first (cgroup v2). */
function ownGroups(read: FileReader): string[] {
  const own = /^0::(\/.*)$/m.exec(read("/proc/self/cgroup") ?? "");
  if (own === null) return [];
  return groupsAround(CGROUP_ROOT, own[1]).filter((group) =>
    read(`${group}/cpu.max`) !== undefined || read(`${group}/memory.max`) !== undefined
  );
}

/**
 * Directories of a group and of those around it, innermost first; some may not be there.
 *
 * @param root where the hierarchy is mounted
 * @param path the group, as in /proc/self/cgroup
 */
export function groupsAround(root: string, path: string): string[] {
  const names = path.split("/").filter((name) => name !== "" && name !== "..");
  const groups: string[] = [];
  for (let count = names.length; count >= 0; count--) {
    groups.push([root, ...names.slice(0, count)].join("/"));
  }
  return groups;
}
