/**
 * A configuration as Layotto's users have it: two listeners, one strategy, secrets. What is listed is
 * captured, at its address and nowhere else, and the files are Layotto's byte for byte. And a log as
 * Layotto's logger writes it is replayed, all of it.
 */

import { createHash } from "node:crypto";

import { addresses, type Lab } from "../lab/hosts.ts";
import { LAYOTTO_TIME, readRecords } from "./dump_log.ts";
import { Dumper, QUICK } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { ScenarioResult } from "./lab.ts";
import { compareHashes, hashes, replay } from "./scenario_capture.ts";

/** Of the listener at one address, and of the one at all addresses whose filter has no strategy. */
const PORT = 8081;
const OTHER_PORT = 8082;
const TIMEOUT_MS = 20_000;
const RECORDS = 20;
/** Lines of the log that is replayed, within one second. */
const LOGGED = 1000;
const http = [
  ...[Deno.execPath(), "run", "-A", new URL("http.ts", import.meta.url).pathname],
];

export async function layotto(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  for (const port of [PORT, OTHER_PORT]) {
    const service = lab.spawn("online", [...http, "serve", `${port}`, `${directory}/${port}`]);
    await service.waitFor(/^ready$/m, TIMEOUT_MS);
  }
  const config = `${directory}/config.json`;
  const example = JSON.parse(
    await Deno.readTextFile(new URL("layotto_config.json", import.meta.url)),
  );
  const [listener] = example.servers[0].listeners;
  listener.address = `${addresses.online}:${PORT}`;
  listener.filter_chains[0].filters[0].config.strategy = QUICK;
  example.servers[0].listeners.push({
    name: "second",
    address: `:${OTHER_PORT}`,
    filter_chains: [{ filters: [{ type: "tcpcopy" }] }],
  });
  await Deno.writeTextFile(config, JSON.stringify(example));
  const dumper = await Dumper.start(lab, `${directory}/logs`, ["-c", config]);
  const captured = `capturing ${addresses.online}:${PORT}, port ${OTHER_PORT} with`;
  if (!dumper.process.output.includes(captured)) problems.push(dumper.process.lastLines(3));
  // From outside to both, and on this host to an address that is not the first listener's.
  lab.spawn("client", [...http, "knock", `${addresses.online}:${PORT}`]);
  lab.spawn("client", [...http, "knock", `${addresses.online}:${OTHER_PORT}`]);
  lab.spawn("online", [...http, "knock", `127.0.0.1:${PORT}`]);
  lab.spawn("online", [...http, "knock", `127.0.0.1:${OTHER_PORT}`]);
  for (let taken = 0; taken < RECORDS;) {
    const from = dumper.process.output.length;
    await dumper.process.waitFor(/is closed; /, TIMEOUT_MS, from);
    taken = (await dumper.ask("GET", "/status")).body.written.records;
  }
  // What is captured was opened as root: that it stays is said.
  listener.address = `127.0.0.1:${PORT}`;
  await Deno.writeTextFile(`${config}.new`, JSON.stringify(example));
  await Deno.rename(`${config}.new`, config);
  await dumper.process.waitFor(/listeners have changed: .* until a restart/, TIMEOUT_MS);
  problems.push(...await dumper.stop());

  const from = (await readRecords(dumper.dumpDirectory)).map(({ port, client }) =>
    `${port} from ${client.startsWith("127.") ? "this host" : "outside"}`
  );
  const expected = [`${PORT} from outside`, `${OTHER_PORT} from outside`];
  const came = [...new Set(from)].sort();
  if (JSON.stringify(came) !== JSON.stringify([...expected, `${OTHER_PORT} from this host`])) {
    problems.push(`dumped: ${came.join(", ")}`);
  }
  const read = async (name: string) =>
    (await Deno.readTextFile(`${dumper.dumpDirectory}/${name}`)).trimEnd().split("\n");
  const lines = await read("dump_tcp_copy.log");
  if (!lines.every((line) => LAYOTTO_TIME.test(line))) problems.push("a line without its time");
  const fixed = (await read("dump_static_conf.log")).join("\n");
  if (!/"open_api_token":"\*\*\*"/.test(fixed)) problems.push("no mask in the configuration");
  if (/made-up-secret/.test(fixed)) problems.push("a secret in dump_static_conf.log");
  load.end();
  const replayed = await replayLog(lab, directory, problems);
  return { problems, figures: { records: from.length, came, replayed } };
}

/** Every number of milliseconds once. Returns how many requests the target has read as they were. */
async function replayLog(lab: Lab, directory: string, problems: string[]): Promise<number> {
  const requests = Array.from(
    { length: LOGGED },
    (_, number) => new TextEncoder().encode(`GET /${number} HTTP/1.1\r\nHost: lab\r\n\r\n`),
  );
  const window = crypto.randomUUID();
  const lines = requests.map((bytes, milliseconds) =>
    `2026-01-02 03:04:05,${milliseconds} [INFO] [${window}][${PORT}]` +
    `${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}\n`
  );
  const file = `${directory}/dump_tcp_copy.log`;
  await Deno.writeTextFile(file, lines.join(""));
  const read = hashes(await replay(lab, directory, "Layotto's log", file, problems));
  const sent = requests.map((bytes) => createHash("sha256").update(bytes).digest("hex")).sort();
  problems.push(...compareHashes("Layotto's log", sent, read));
  return read.filter((hash) => sent.includes(hash)).length;
}
