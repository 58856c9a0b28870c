/**
 * 200 MB/s of request data during a window: what is shed is counted, all else is written, and the
 * clients' latency is compared with and without the dump. A measurement, no test.
 */

import { addresses, type Lab } from "../lab/hosts.ts";
import { pause } from "../lab/programs.ts";
import { Dumper, QUICK } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { ScenarioResult } from "./lab.ts";

const SINK_PORT = 8083;
const HTTP_PORT = 8081;
const SECONDS = 6;
const RATE_MB = Number(Deno.env.get("FLOOD_MB") ?? 200);
const ROUNDS = 3;
const TIMEOUT_MS = 30_000;
const script = (name: string) => [
  ...[Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname],
];

export async function flood(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  const sink = lab.spawn("online", [...script("flood.ts"), "sink", `${SINK_PORT}`]);
  const service = lab.spawn("online", [
    ...script("http.ts"),
    ...["serve", `${HTTP_PORT}`, `${directory}/http`],
  ]);
  for (const process of [sink, service]) await process.waitFor(/^ready$/m, TIMEOUT_MS);
  const config = `${directory}/strategy.json`;
  await Deno.writeTextFile(config, JSON.stringify({ ...QUICK, switch: "OFF" }));
  const logs = Deno.env.get("FLOOD_DIRECTORY") ?? `${directory}/logs`;
  const dumper = await Dumper.start(lab, logs, [
    ...["-c", config, "-p", `${SINK_PORT},${HTTP_PORT}`, "--max-disk", "4096"],
    ...(Deno.env.get("FLOOD_ARGS") ?? "").split(" ").filter((word) => word !== ""),
  ]);
  const rounds: Record<string, unknown>[] = [];
  let last = (await dumper.ask("GET", "/status")).body;
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const isDumping = round % 2 === 1;
    if (isDumping) {
      await dumper.ask("PUT", "/strategy/app", { ...QUICK, interval: 1000, duration: 999 });
      await dumper.ask("PUT", "/strategy/app", QUICK);
      await dumper.process.waitFor(/is open for/, TIMEOUT_MS, dumper.process.output.length);
      await dumper.ask("PUT", "/strategy/app", { ...QUICK, interval: 1000, duration: 999 });
    }
    const cpuBefore = dumper.process.cpuSeconds();
    const pour = lab.spawn("client", [
      ...script("flood.ts"),
      ...["pour", `${addresses.online}:${SINK_PORT}`, `${RATE_MB}`, `${SECONDS}`],
    ]);
    await pause(500);
    const probe = lab.spawn("client", [
      ...script("flood.ts"),
      ...["probe", `${addresses.online}:${HTTP_PORT}`, `${SECONDS - 1.5}`],
    ]);
    const rate = await pour.waitFor(/poured (\d+)/, TIMEOUT_MS);
    const latency = await probe.waitFor(/latency (.*)/, TIMEOUT_MS);
    const cpu = dumper.process.cpuSeconds() - cpuBefore;
    if (isDumping) await dumper.ask("PUT", "/strategy/app", { ...QUICK, switch: "OFF" });
    await pause(1_500);
    const { body } = await dumper.ask("GET", "/status");
    const taken = body.taken;
    const difference = (name: string, what: "taken" | "written") =>
      body[what][name] - last[what][name];
    const recordBytes = difference("recordBytes", "taken") + difference("shedBytes", "taken");
    if (isDumping && recordBytes === 0) problems.push("nothing was dumped");
    rounds.push({
      dump: isDumping,
      pouredMBps: Number(rate[1]),
      latencyUs: JSON.parse(latency[1]),
      cpuSeconds: Number(cpu.toFixed(2)),
      ...(isDumping
        ? {
          requestMB: Math.round(recordBytes / 1e6),
          writtenMB: Math.round(difference("recordBytes", "written") / 1e6),
          shedMB: Math.round(difference("shedBytes", "taken") / 1e6),
          failedMB: Math.round(difference("failedBytes", "written") / 1e6),
          shedPackets: difference("shedPackets", "taken"),
          gaps: difference("gaps", "taken"),
          outOfMemory: difference("outOfMemory", "taken"),
          packets: difference("packets", "written"),
        }
        : {}),
    });
    if (taken.records !== body.written.records + body.written.failedRecords) {
      problems.push(`round ${round}: records do not add up: ${JSON.stringify(body)}`);
    }
    last = body;
  }
  problems.push(...await dumper.stop());
  load.end();
  return { problems, figures: { rounds, log: dumper.process.lastLines(12).split(" | ") } };
}
