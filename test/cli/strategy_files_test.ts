import assert from "node:assert/strict";
import { getLogger } from "@logtape/logtape";
import { SamplingLoop } from "../../src/cli/sampling_loop.ts";
import { StrategyFiles } from "../../src/cli/strategy_files.ts";

const log = getLogger(["test"]);
const strategy = { switch: "ON", interval: 100, duration: 10, cpu_max_rate: 80, mem_max_rate: 70 };
const TIMEOUT_MS = 10_000;

/** A configuration and a global strategy in files, and what was taken of the former. */
async function withFiles(
  use: (
    sampling: SamplingLoop,
    files: StrategyFiles,
    write: (name: "app" | "global", value: unknown) => void,
    taken: string[],
  ) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  const path = (name: string) => `${directory}/${name}.json`;
  // Of the same length at times: each change is another file.
  const write = (name: "app" | "global", value: unknown) => {
    Deno.writeTextFileSync(path("new"), JSON.stringify(value));
    Deno.renameSync(path("new"), path(name));
  };
  write("app", { app: strategy, global: { ...strategy, switch: "OFF" } });
  write("global", { ...strategy, switch: "OFF" });
  const sampling = new SamplingLoop({});
  const taken: string[] = [];
  const paths = { app: path("app"), global: path("global") };
  const files = new StrategyFiles(sampling, log, paths, (text) => taken.push(text));
  try {
    assert.equal(files.load(), undefined);
    await use(sampling, files, write, taken);
  } finally {
    files.close();
    sampling.stop();
    Deno.removeSync(directory, { recursive: true });
  }
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  const end = performance.now() + TIMEOUT_MS;
  while (!isTrue()) {
    assert.ok(performance.now() < end, `${what} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("FORCE_OFF of the endpoint outlives every change of a file, and reading them again", () =>
  withFiles(async (sampling, files, write, taken) => {
    const { sampler } = sampling;
    sampling.update("global", { ...strategy, switch: "FORCE_OFF" }, "the endpoint");
    files.watch();
    const count = taken.length;
    write("global", { ...strategy, switch: "ON" });
    write("app", { app: { ...strategy, interval: 200 }, global: { ...strategy, switch: "ON" } });
    await until("the new interval", () => sampler.app.intervalS === 200);
    await until("the text", () => taken.length > count);
    assert.equal(files.reload("asked to"), undefined);
    assert.deepEqual([sampler.effective.isOn, sampler.forcedOffBy], [false, "the endpoint"]);
    assert.match(sampling.describe(), /^off \(FORCE_OFF of the endpoint\)$/);
    sampling.update("global", { ...strategy, switch: "OFF" }, "the endpoint");
    assert.equal(sampler.effective.isOn, true);
  }));

Deno.test("what the endpoint said stays when another part of a file changes, or it is touched", () =>
  withFiles(async (sampling, files, write, taken) => {
    const { sampler } = sampling;
    sampling.update("app", { ...strategy, interval: 300 }, "the endpoint");
    files.watch();
    const count = taken.length;
    write("app", { app: strategy, global: { ...strategy, switch: "OFF", interval: 400 } });
    await until("the global part", () => sampler.global.intervalS === 400);
    assert.equal(taken.length, count + 1);
    assert.equal(sampler.app.intervalS, 300);
    // Who asks for the files gets what they say.
    assert.equal(files.reload("asked to"), undefined);
    assert.equal(sampler.app.intervalS, 100);
  }));

Deno.test("the windows' rhythm is said as it is", () =>
  withFiles((sampling) => {
    assert.equal(sampling.describe(), "on, windows of 10 s, 100 s apart (one every 110 s)");
    return Promise.resolve();
  }));

Deno.test("the configuration is kept without its secrets", () => {
  const sampling = new SamplingLoop({});
  const filters = [{ type: "tcpcopy", config: { strategy } }];
  const configuration = { filter_chains: [{ filters }], metadata: { secret: "hidden" } };
  sampling.load(JSON.stringify(configuration), "a file", true);
  const { configurationJson } = sampling;
  assert.deepEqual(JSON.parse(configurationJson), {
    ...configuration,
    metadata: { secret: "***" },
  });
});
