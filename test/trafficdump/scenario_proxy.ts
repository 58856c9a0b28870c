/** Very many connections through the proxy, byte-exact, with a filter of the user's own. */

import { addresses, type Lab } from "../lab/hosts.ts";
import { pause } from "../lab/programs.ts";
import { readRecords, streamsOf } from "./dump_log.ts";
import { Dumper, PATIENT, QUICK } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { ScenarioResult } from "./lab.ts";

const SERVICE_PORT = 9090;
const PROXY_PORT = 8080;
const TIMEOUT_MS = 90_000;
/** Where open files are limited, the last of them wait for the first to end. */
const CONNECTIONS = 10_000;
const LARGEST_BYTES = 3_000;
const script = (name: string) => [
  ...[Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname],
];

export async function proxy(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  const service = lab.spawn("online", [...script("echo.ts"), "serve", `${SERVICE_PORT}`]);
  await service.waitFor(/^ready$/m, TIMEOUT_MS);
  const config = `${directory}/strategy.json`;
  await Deno.writeTextFile(config, JSON.stringify(PATIENT));
  const filter = new URL("counting_filter.ts", import.meta.url).pathname;
  const dumper = await Dumper.start(lab, `${directory}/logs`, [
    ...["-c", config, "--proxy", `${PROXY_PORT}-127.0.0.1:${SERVICE_PORT}`, "--filter", filter],
  ]);
  await dumper.process.waitFor(/is open for/, TIMEOUT_MS);
  await dumper.ask("PUT", "/strategy/app", { ...QUICK, interval: 600, duration: 599 });
  const startMs = performance.now();
  const client = lab.spawn("client", [
    ...script("echo.ts"),
    ...["ask", `${addresses.online}:${PROXY_PORT}`, `${CONNECTIONS}`, `${LARGEST_BYTES}`],
  ]);
  const match = await client.waitFor(/exact (\d+) of (\d+), (\d+) bytes/, TIMEOUT_MS);
  const seconds = (performance.now() - startMs) / 1000;
  if (match[1] !== match[2]) problems.push(`${match[1]} of ${match[2]} connections were exact`);
  const bytes = Number(match[3]);
  const peakMemoryMb = Math.round(dumper.process.peakMemoryBytes() / (1 << 20));
  await pause(500);
  const asker = lab.spawn("client", [
    ...script("question.ts"),
    ...[`${addresses.online}:${PROXY_PORT}`],
  ]);
  const counts = JSON.parse((await asker.waitFor(/^\{.*\}$/m, TIMEOUT_MS))[0]);
  await asker.waitFor(/^forbidden: closed$/m, TIMEOUT_MS);
  if (counts.bytes !== bytes) problems.push(`the filter saw ${counts.bytes} of ${bytes} bytes`);
  if (counts.connections !== CONNECTIONS + 1 || counts.open !== 1) {
    problems.push(`the filter saw ${JSON.stringify(counts)}`);
  }
  await dumper.ask("PUT", "/strategy/app", { ...QUICK, switch: "OFF" });
  problems.push(...await dumper.stop());
  const streams = streamsOf(await readRecords(dumper.dumpDirectory));
  const dumped = [...streams.values()].reduce((sum, stream) => sum + stream.bytes, 0);
  if (streams.size !== CONNECTIONS || dumped !== bytes) {
    problems.push(`${streams.size} connections with ${dumped} bytes were dumped`);
  }
  load.end();
  return { problems, figures: { connections: CONNECTIONS, bytes, seconds, peakMemoryMb, counts } };
}
