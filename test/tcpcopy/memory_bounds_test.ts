import assert from "node:assert/strict";
import { UsageError } from "../../src/cli/fatal.ts";
import { boundMemory } from "../../src/tcpcopy/memory_bounds.ts";

const MB = 1 << 20;

/** A system with a control group of so many MB, and so many MB of address space left. */
function system(groupMb: number | undefined, addressMb?: number) {
  const files: Record<string, string> = {
    "/proc/self/cgroup": "0::/box\n",
    "/sys/fs/cgroup/box/memory.max": groupMb === undefined ? "max\n" : `${groupMb * MB}\n`,
    "/proc/self/limits": `Max address space   ${
      addressMb === undefined ? "unlimited" : addressMb * MB
    }   unlimited   bytes\n`,
  };
  return (path: string) => files[path];
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof UsageError);
    return error.message;
  }
  assert.fail("nothing was refused");
}

Deno.test("the control group bounds the cap, and that is said", () => {
  const bound = boundMemory(1024 * MB, 1, system(512));
  assert.equal(bound.maxMemoryBytes, Math.floor(512 * MB * 0.9));
  assert.equal(
    bound.notice,
    "-m 1024: the control group allows 512 MB (/sys/fs/cgroup/box/memory.max), so that the cap is " +
      "460 MB",
  );
});

Deno.test("a group with room enough, or without a limit, changes nothing", () => {
  assert.equal(boundMemory(1024 * MB, 1, system(2048)).notice, undefined);
  const unlimited = boundMemory(1024 * MB, 1, system(undefined));
  assert.deepEqual(unlimited, { maxMemoryBytes: Infinity, notice: undefined });
});

Deno.test("a group that leaves too little is refused with what is needed", () => {
  const text = refusal(() => boundMemory(1024 * MB, 1, system(170)));
  assert.match(text, /allows 170 MB .*needs at least 160: raise the group's limit to 178 MB/);
  boundMemory(1024 * MB, 1, system(178));
  const workers = refusal(() => boundMemory(1024 * MB, 4, system(178)));
  assert.match(workers, /needs at least 320: .*, or lower --workers/);
});

Deno.test("too little address space is one sentence", () => {
  const text = refusal(() => boundMemory(1024 * MB, 1, system(undefined, 1000)));
  assert.match(text, /ulimit -v\) leaves 1000 MB, and -m 1024 takes up to 1024 MB; raise it/);
  boundMemory(1024 * MB, 1, system(undefined, 1024));
  boundMemory(1024 * MB, 1, system(512, 500));
  const workers = refusal(() => boundMemory(1024 * MB, 4, system(undefined, 2048)));
  assert.match(workers, /-m 1024 with 4 workers takes up to 4624 MB/);
});
