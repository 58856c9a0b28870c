/** Fuse, hot reload and portrait data, on a running trafficdump. */

import { addresses, type Lab } from "../lab/hosts.ts";
import type { LabProcess } from "../lab/process.ts";
import { pause } from "../lab/programs.ts";
import { LAYOTTO_TIME, readRecords, streamsOf } from "./dump_log.ts";
import { Dumper, layottoConfiguration, PATIENT, QUICK } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { ScenarioResult } from "./lab.ts";

const PORT = 8081;
const TIMEOUT_MS = 20_000;
/** SCHED_IDLE gets what a busy machine leaves. */
const GROWTH_TIMEOUT_MS = 10_000;
const POLL_MS = 100;
const script = (
  name: string,
) => [Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname];

/** A service, a client that never stops, and the dump of it. */
async function begin(
  lab: Lab,
  directory: string,
  strategy: typeof QUICK,
): Promise<{ dumper: Dumper; config: string; client: LabProcess }> {
  const service = lab.spawn("online", [
    ...script("http.ts"),
    ...["serve", `${PORT}`, `${directory}/http`],
  ]);
  await service.waitFor(/^ready$/m, TIMEOUT_MS);
  const config = `${directory}/config.json`;
  await Deno.writeTextFile(config, layottoConfiguration(strategy, PORT));
  const dumper = await Dumper.start(lab, `${directory}/logs`, ["-c", config]);
  const client = lab.spawn("client", [
    ...script("http.ts"),
    ...["ask", `${addresses.online}:${PORT}`, "2", "1000000", "200"],
  ]);
  return { dumper, config, client };
}

/** Bytes that have been dumped so far. */
async function dumped(dumper: Dumper): Promise<number> {
  try {
    return (await Deno.stat(`${dumper.dumpDirectory}/dump_tcp_copy.log`)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** How long the file still grows, ms; looks for `forMs`. */
async function growsFor(dumper: Dumper, forMs: number): Promise<number> {
  const startMs = performance.now();
  let last = await dumped(dumper);
  let lastMs = 0;
  while (performance.now() - startMs < forMs) {
    await pause(25);
    const now = await dumped(dumper);
    if (now !== last) lastMs = performance.now() - startMs;
    last = now;
  }
  return Math.round(lastMs);
}

/** Whether more is dumped than before, be it after a while on a busy machine. */
async function grows(dumper: Dumper, before: number): Promise<boolean> {
  for (let leftMs = GROWTH_TIMEOUT_MS; leftMs > 0; leftMs -= POLL_MS) {
    if (await dumped(dumper) !== before) return true;
    await pause(POLL_MS);
  }
  return false;
}

export async function fuse(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  const figures: Record<string, unknown> = {};
  const { dumper } = await begin(lab, directory, { ...QUICK, interval: 15, duration: 14 });
  await dumper.ask("PUT", "/strategy/app", PATIENT);
  for (const kind of ["cpuPercent", "memPercent"] as const) {
    const calm = load[kind];
    // Busy: no window.
    load[kind] = 95;
    await dumper.process.waitFor(/no window is opened/, TIMEOUT_MS, dumper.process.output.length);
    const before = await dumped(dumper);
    const from = dumper.process.output.length;
    await pause(5_000);
    if (/is open for/.test(dumper.process.output.slice(from))) problems.push(`${kind}: opened`);
    if (await dumped(dumper) !== before) problems.push(`${kind}: written although busy`);
    // Calm: a window again.
    load[kind] = calm;
    await dumper.process.waitFor(/is open for/, TIMEOUT_MS, from);
    await dumper.ask("PUT", "/strategy/app", { ...QUICK, interval: 20, duration: 19 });
    if (!await grows(dumper, before)) problems.push(`${kind}: nothing is written when calm`);
    // Busy again, in an open window.
    load[kind] = 100;
    const stoppedAfterMs = await growsFor(dumper, 2_500);
    figures[`${kind} stops writing after ms`] = stoppedAfterMs;
    const { body: status } = await dumper.ask("GET", "/status");
    if (status.window === null || status.fuse === null) problems.push(`${kind}: no fuse`);
    const stopped = await dumped(dumper);
    load[kind] = calm;
    await dumper.process.waitFor(/the window goes on/, TIMEOUT_MS, from);
    if (!await grows(dumper, stopped)) problems.push(`${kind}: no recovery in the window`);
    await dumper.ask("PUT", "/strategy/app", { ...QUICK, switch: "OFF" });
    await dumper.ask("PUT", "/strategy/app", PATIENT);
  }
  problems.push(...await dumper.stop());
  await readRecords(dumper.dumpDirectory);
  load.end();
  return { problems, figures };
}

export async function reload(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  const { dumper, config } = await begin(lab, directory, QUICK);
  const { process } = dumper;
  const expect = (what: string, isTrue: boolean) => {
    if (!isTrue) problems.push(what);
  };
  const opens = async (withinMs: number) => {
    const from = process.output.length;
    const end = performance.now() + withinMs;
    while (performance.now() < end) {
      if (/is open for/.test(process.output.slice(from))) return true;
      await pause(50);
    }
    return false;
  };
  const write = async (strategy: unknown) => {
    const from = process.output.length;
    await Deno.writeTextFile(`${config}.new`, layottoConfiguration(strategy as typeof QUICK, PORT));
    await Deno.rename(`${config}.new`, config);
    await process.waitFor(/has changed/, TIMEOUT_MS, from);
  };
  expect("no window at first", await opens(TIMEOUT_MS));

  // Portrait data: one report per type and window, the others say why not.
  await dumper.ask("PUT", "/strategy/app", { ...QUICK, interval: 30, duration: 29 });
  if ((await dumper.ask("GET", "/status")).body.window === null) await opens(TIMEOUT_MS);
  const report = { businessType: "RPC", port: PORT, data: { method: "hello\nworld" } };
  expect("a report is refused", (await dumper.ask("POST", "/portrait", report)).status === 202);
  const again = await dumper.ask("POST", "/portrait", report);
  expect("a second report", again.status === 409 && /already/.test(again.body.error));
  const own = await dumper.ask("POST", "/portrait", { ...report, businessType: "mine" });
  expect("an own type is refused", own.status === 202);
  const bad = await dumper.ask("POST", "/portrait", { businessType: "a b", data: 1 });
  expect("a bad type is taken", bad.status === 422 && /businessType/.test(bad.body.error));

  await write({ ...QUICK, switch: "OFF" });
  expect("OFF leaves a window", (await dumper.ask("GET", "/status")).body.window === null);
  expect("OFF opens a window", !await opens(4_000));
  // The global switch decides now.
  await dumper.ask("PUT", "/strategy/global", { ...QUICK, switch: "ON" });
  expect("global ON opens none", await opens(TIMEOUT_MS));
  await write(QUICK);
  expect("ON opens no window", await opens(TIMEOUT_MS));
  await dumper.ask("PUT", "/strategy/global", { ...QUICK, switch: "FORCE_OFF" });
  // A file that is touched does not take back what the endpoint said.
  await write(QUICK);
  expect("FORCE_OFF opens a window", !await opens(4_000));
  await dumper.ask("PUT", "/strategy/global", { ...QUICK, switch: "OFF" });
  expect("after FORCE_OFF no window opens", await opens(TIMEOUT_MS));
  // Refused: the old ones stay, with the reason.
  const refused = await dumper.ask("PUT", "/strategy/app", { ...QUICK, cpu_max_rate: 100 });
  expect(
    "a bad strategy is taken",
    refused.status === 422 && /cpu_max_rate/.test(refused.body.error) &&
      refused.body.app.cpu_max_rate === QUICK.cpu_max_rate,
  );
  await write({ ...QUICK, duration: 2 });
  await process.waitFor(/refused, the old strategy stays: .*duration/, TIMEOUT_MS);
  expect("after a refusal no window opens", await opens(TIMEOUT_MS));
  // SIGHUP reads the files again, also when they have not changed.
  const from = process.output.length;
  process.signal("SIGHUP");
  await process.waitFor(/SIGHUP: refused/, TIMEOUT_MS, from);
  await write(QUICK);
  expect("a good strategy is not taken", await opens(TIMEOUT_MS));
  problems.push(...await dumper.stop());
  const records = await readRecords(dumper.dumpDirectory);
  const windows = new Set(records.map(({ window }) => window));
  // However often strategies changed: within a window no connection has a hole.
  for (const window of windows) streamsOf(records.filter((record) => record.window === window));
  const files = await Promise.all(
    ["dump_portrait_data", "dump_mem_dump", "dump_static_conf"].map((name) =>
      Deno.readTextFile(`${dumper.dumpDirectory}/${name}.log`)
    ),
  );
  const [portrait, memory, fixed] = files.map((text) =>
    text.trimEnd().split("\n").map((line) => line.replace(LAYOTTO_TIME, ""))
  );
  expect(
    "the portrait file is not as it should be",
    portrait.length === 2 &&
      /^\[[-\w]{36}\]\[RPC\]\[8081\]\{"method":"hello\\nworld"\}$/.test(portrait[0]),
  );
  expect("no_change is missing", memory.some((line) => /^\[[-\w]{36}\]no_change$/.test(line)));
  expect("the configuration is missing", /^\[[-\w]{36}\]\{"app"/.test(memory[0]));
  expect("the static one is missing", /^\[[-\w]{36}\]\{"servers"/.test(fixed[0]));
  load.end();
  return { problems, figures: { windows: windows.size, memoryLines: memory.length } };
}
