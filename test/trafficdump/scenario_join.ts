/** Connections that are older than the window: dumped from its beginning on, and replayed. */

import { addresses, type Lab } from "../lab/hosts.ts";
import { pause } from "../lab/programs.ts";
import { readRecords, streamsOf } from "./dump_log.ts";
import { Dumper, layottoConfiguration, PATIENT, QUICK } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { ScenarioResult } from "./lab.ts";
import { compareHashes, findPcapng, hashes, replay, startServices } from "./scenario_capture.ts";

const HTTP_PORT = 8081;
const CONNECTIONS = 5;
const TIMEOUT_MS = 20_000;

export async function join(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  await startServices(lab, "online", directory);
  const program = new URL("http.ts", import.meta.url).pathname;
  const ask = ["ask", `${addresses.online}:${HTTP_PORT}`, `${CONNECTIONS}`, "1000000", "900"];
  lab.spawn("client", [Deno.execPath(), "run", "-A", program, ...ask]);
  const config = `${directory}/config.json`;
  await Deno.writeTextFile(config, layottoConfiguration(PATIENT, HTTP_PORT));
  // The ring this time; the other scenarios use the raw socket.
  const args = ["-c", config, "--capture", "ring"];
  const dumper = await Dumper.start(lab, `${directory}/logs`, args);
  await dumper.process.waitFor(/is closed/, TIMEOUT_MS);
  await dumper.ask("PUT", "/strategy/app", { ...QUICK, switch: "OFF" });
  await pause(200);
  const { body: status } = await dumper.ask("GET", "/status");
  problems.push(...await dumper.stop());
  if (status.taken.joined !== CONNECTIONS) problems.push(`joined: ${status.taken.joined}`);
  const streams = [...streamsOf(await readRecords(dumper.dumpDirectory)).values()];
  const pcapng = await findPcapng(dumper.dumpDirectory);
  const read = await replay(lab, directory, "pcapng", pcapng, problems);
  problems.push(...compareHashes("pcapng", streams.map(({ hash }) => hash).sort(), hashes(read)));
  load.end();
  return { problems, figures: { taken: status.taken, replayed: read.length } };
}
