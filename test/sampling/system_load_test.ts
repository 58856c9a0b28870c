import assert from "node:assert/strict";
import { SystemLoad } from "../../src/sampling/system_load.ts";

/** A system whose files are strings. */
function system(files: Record<string, string>): SystemLoad {
  return new SystemLoad((path) => files[path]);
}

const meminfo = (total: number, available: number) =>
  `MemTotal:       ${total} kB\nMemFree: 5 kB\nMemAvailable:    ${available} kB\n`;

Deno.test("CPU over a real interval, memory as what is not available", () => {
  const files: Record<string, string> = {
    "/proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n",
    "/proc/meminfo": meminfo(1000, 400),
  };
  const load = system(files);
  assert.equal(load.look(0), undefined);
  files["/proc/stat"] = "cpu  130 5 120 830 10 1 2 2 99 99\n";
  assert.equal(load.look(250), undefined, "too little time has passed");
  const rates = load.look(500);
  assert.deepEqual(rates, { cpuPercent: 60, memPercent: 60 });
  // What was busy long ago does not count for ever.
  files["/proc/stat"] = "cpu  130 5 120 930 10 1 2 2 99 99\n";
  load.look(750);
  assert.equal(load.look(1250)?.cpuPercent, 0);
});

Deno.test("a container's limits count, also those of the groups around it", () => {
  const files: Record<string, string> = {
    "/proc/stat": "cpu  0 0 0 0 0 0 0 0\n",
    "/proc/meminfo": meminfo(1000, 900),
    "/proc/self/cgroup": "0::/pod/box\n",
    "/sys/fs/cgroup/pod/box/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/pod/box/cpu.stat": "usage_usec 0\n",
    "/sys/fs/cgroup/pod/box/memory.max": "1000000\n",
    "/sys/fs/cgroup/pod/box/memory.current": "900000\n",
    "/sys/fs/cgroup/pod/box/memory.stat": "anon 1\ninactive_file 150000\n",
    "/sys/fs/cgroup/pod/cpu.max": "50000 100000\n",
    "/sys/fs/cgroup/pod/cpu.stat": "usage_usec 1000000\nuser_usec 5\n",
    "/sys/fs/cgroup/pod/memory.max": "max\n",
    "/sys/fs/cgroup/pod/memory.current": "5\n",
  };
  const load = system(files);
  load.look(0);
  files["/proc/stat"] = "cpu  10 0 0 90 0 0 0 0\n";
  files["/sys/fs/cgroup/pod/cpu.stat"] = "usage_usec 1450000\n";
  const rates = load.look(1000);
  assert.equal(rates?.cpuPercent, 90);
  assert.equal(rates?.memPercent, 75);
});

Deno.test("a system that does not tell has no rates", () => {
  assert.equal(system({}).look(1000), undefined);
  const load = system({ "/proc/stat": "cpu  1 1 1 1\n", "/proc/meminfo": "MemTotal: 1 kB" });
  load.look(0);
  assert.equal(load.look(1000), undefined);
});
