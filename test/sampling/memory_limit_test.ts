import assert from "node:assert/strict";
import { addressSpaceLeft, groupMemoryLimit } from "../../src/sampling/memory_limit.ts";

const reader = (files: Record<string, string>) => (path: string) => files[path];

Deno.test("cgroup v2: the strictest limit around counts, also the soft one", () => {
  const files: Record<string, string> = {
    "/proc/self/cgroup": "0::/pod/box\n",
    "/sys/fs/cgroup/pod/box/memory.max": "max\n",
    "/sys/fs/cgroup/pod/memory.max": "536870912\n",
  };
  const path = "/sys/fs/cgroup/pod/memory.max";
  assert.deepEqual(groupMemoryLimit(reader(files)), { sizeBytes: 512 << 20, path });
  files["/sys/fs/cgroup/pod/box/memory.high"] = "268435456\n";
  assert.equal(groupMemoryLimit(reader(files))?.sizeBytes, 256 << 20);
});

Deno.test("cgroup v2 inside a container: its own group is the root", () => {
  const files = { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "134217728\n" };
  assert.equal(groupMemoryLimit(reader(files))?.sizeBytes, 128 << 20);
});

Deno.test("cgroup v1: by the memory controller's path, or where a container has it", () => {
  const groups = "12:pids:/x\n4:cpu,memory:/docker/abc\n1:name=systemd:/memory\n0::/\n";
  const path = "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes";
  const files = { "/proc/self/cgroup": groups, [path]: "268435456\n" };
  assert.deepEqual(groupMemoryLimit(reader(files)), { sizeBytes: 256 << 20, path });
  const inside = {
    "/proc/self/cgroup": groups,
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "134217728\n",
  };
  assert.equal(groupMemoryLimit(reader(inside))?.sizeBytes, 128 << 20);
});

Deno.test("without a limit there is none", () => {
  assert.equal(groupMemoryLimit(reader({})), undefined);
  const files = {
    "/proc/self/cgroup": "4:memory:/\n0::/\n",
    "/sys/fs/cgroup/memory.max": "max\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
  };
  assert.equal(groupMemoryLimit(reader(files)), undefined);
});

Deno.test("address space: what the limit leaves", () => {
  const limits = (soft: string) => ({
    "/proc/self/limits": `Limit                     Soft Limit           Hard Limit   Units     \n
Max address space         ${soft}          unlimited            bytes     \n`,
    "/proc/self/status": "Name:\tx\nVmPeak:\t  9000 kB\nVmSize:\t  1000 kB\n",
  });
  assert.equal(addressSpaceLeft(reader(limits("unlimited"))), Infinity);
  assert.equal(addressSpaceLeft(reader(limits("2048000"))), 1000 * 1024);
  assert.equal(addressSpaceLeft(reader(limits("1000"))), 0);
  assert.equal(addressSpaceLeft(reader({})), Infinity);
});
