/**
 * HTTP clients and a binary protocol over a wire that loses and reorders: what is dumped must be what
 * the services read; and both forms of the dump must replay.
 */

import { addresses, type Lab } from "../lab/hosts.ts";
import type { LabProcess } from "../lab/process.ts";
import { pause } from "../lab/programs.ts";
import { parseReport } from "../lab/report.ts";
import { type Workload, workloads } from "../lab/workloads.ts";
import { badWireCounts, makeBadWire } from "./bad_wire.ts";
import { readRecords, streamsOf } from "./dump_log.ts";
import { Dumper, layottoConfiguration, PATIENT, QUICK } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { HttpRecord } from "./http.ts";
import type { ScenarioResult } from "./lab.ts";

const BINARY_PORT = 8080;
const HTTP_PORT = 8081;
const HTTP_CONNECTIONS = 3;
const HTTP_REQUESTS = 40;
const LARGEST_BODY = 20_000;
const START_TIMEOUT_MS = 20_000;
const WORK_TIMEOUT_MS = 60_000;

const script = (
  name: string,
) => [Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname];

/** One binary client, four requests at a time. */
const binary: Workload = {
  ...workloads.values().next().value as Workload,
  name: "binary",
  connections: 1,
  concurrency: 1,
  requests: 80,
  pipeline: 4,
  requestBytes: [10, 9_000],
  gapMs: 5,
};

/** What a service read on a connection, and where from. */
interface Read {
  name: string;
  bytes: number;
  hash: string;
}

export async function capture(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  await makeBadWire(2, 15);
  const online = await startServices(lab, "online", directory);
  const config = `${directory}/config.json`;
  await Deno.writeTextFile(config, layottoConfiguration(PATIENT, HTTP_PORT));
  const ports = `${BINARY_PORT},${HTTP_PORT}`;
  const dumper = await Dumper.start(lab, `${directory}/logs`, [
    ...["-c", config, "-p", ports],
    // Without times the log replays in a second for each window.
    "--no-layotto-time",
  ]);
  await dumper.process.waitFor(/window .* is open/, START_TIMEOUT_MS);
  // It is open, and now it is longer.
  await dumper.ask("PUT", "/strategy/app", { ...QUICK, interval: 60, duration: 59 });
  const http = lab.spawn("client", [
    ...script("http.ts"),
    ...["ask", `${addresses.online}:${HTTP_PORT}`, `${HTTP_CONNECTIONS}`],
    ...[`${HTTP_REQUESTS}`, `${LARGEST_BODY}`],
  ]);
  const client = lab.spawn("client", [
    ...script("../lab/client.ts"),
    ...["--address", `${addresses.online}:${BINARY_PORT}`],
    ...["--workload", JSON.stringify(binary), "--timeout-s", "60"],
  ]);
  await http.waitFor(/^done$/m, WORK_TIMEOUT_MS);
  await client.waitFor(/"kind":"summary"/, WORK_TIMEOUT_MS);
  await pause(500);
  await dumper.ask("PUT", "/strategy/app", { ...QUICK, switch: "OFF" });
  const { body: status } = await dumper.ask("GET", "/status");
  problems.push(...await dumper.stop());
  const wire = await badWireCounts();
  if (wire.lost === 0 || wire.detoured === 0) problems.push("the wire was not bad: lab fault");
  const read = await endServices(online, directory, "online");
  const records = await readRecords(dumper.dumpDirectory);
  problems.push(...compareStreams(read, streamsOf(records)));

  const pcapng = await findPcapng(dumper.dumpDirectory);
  const whole = await replay(lab, directory, "pcapng", pcapng, problems);
  problems.push(...compareHashes("pcapng", hashes(read), hashes(whole)));
  const log = `${dumper.dumpDirectory}/dump_tcp_copy.log`;
  const pieces = await replay(lab, directory, "log", log, problems);
  const expected = await Promise.all(records.map(({ bytes }) => sha256(bytes)));
  problems.push(...compareHashes("log", expected.sort(), hashes(pieces)));
  load.end();
  return {
    problems,
    figures: {
      connections: read.length,
      bytes: read.reduce((sum, { bytes }) => sum + bytes, 0),
      records: records.length,
      wire,
      taken: status.taken,
      replayedFromPcapng: whole.length,
      replayedFromLog: pieces.length,
    },
  };
}

export async function startServices(
  lab: Lab,
  host: "online" | "target",
  directory: string,
): Promise<LabProcess[]> {
  const server = lab.spawn(host, [
    ...script("../lab/server.ts"),
    ...["--port", `${BINARY_PORT}`, "--report", `${directory}/${host}.binary`],
  ]);
  const http = lab.spawn(host, [
    ...script("http.ts"),
    ...["serve", `${HTTP_PORT}`, `${directory}/${host}.http`],
  ]);
  for (const process of [server, http]) await process.waitFor(/^ready$/m, START_TIMEOUT_MS);
  return [server, http];
}

export async function endServices(
  processes: LabProcess[],
  directory: string,
  host: "online" | "target",
): Promise<Read[]> {
  for (const process of processes) await process.stop();
  const binaryReport = parseReport(await Deno.readTextFile(`${directory}/${host}.binary`));
  const http = await Deno.readTextFile(`${directory}/${host}.http`);
  await Deno.remove(`${directory}/${host}.http`);
  return [
    ...binaryReport.connections.map(({ peer, bytes, hash }) => ({
      name: `${BINARY_PORT} ${peer}`,
      bytes,
      hash,
    })),
    ...http.split("\n").slice(0, -1).map((line) => JSON.parse(line) as HttpRecord).map((
      record,
    ) => ({
      name: `${HTTP_PORT} ${record.peer}`,
      bytes: record.bytes,
      hash: record.hash,
    })),
  ];
}

function compareStreams(
  read: readonly Read[],
  dumped: Map<string, { bytes: number; hash: string }>,
): string[] {
  const problems: string[] = [];
  if (read.length !== dumped.size) {
    problems.push(`${read.length} connections were served, ${dumped.size} dumped`);
  }
  for (const { name, bytes, hash } of read) {
    const stream = dumped.get(name);
    if (stream === undefined) problems.push(`${name} was not dumped`);
    else if (stream.bytes !== bytes || stream.hash !== hash) {
      problems.push(`${name}: the service read ${bytes} bytes, ${stream.bytes} were dumped`);
    }
  }
  return problems;
}

/** Replays a file to the target; returns what its services read. */
export async function replay(
  lab: Lab,
  directory: string,
  what: string,
  file: string,
  problems: string[],
): Promise<Read[]> {
  const target = await startServices(lab, "target", directory);
  const intercept = lab.spawn("assistant", [
    ...script("../../src/intercept/main.ts"),
    ...["-i", "eth0", "-F", `tcp and src host ${addresses.target}`],
  ]);
  await intercept.waitFor(/\bready\b/, START_TIMEOUT_MS);
  const pairs = [BINARY_PORT, HTTP_PORT].map((port) => `${port}-${addresses.target}:${port}`);
  const tcpcopy = lab.spawn("online", [
    ...script("../../src/tcpcopy/main.ts"),
    ...["-x", pairs.join(","), "-s", addresses.assistant, "-c", "198.19.0.x", "-i", file],
  ]);
  const timer = setTimeout(() => tcpcopy.stop(1000), WORK_TIMEOUT_MS);
  const { code } = await tcpcopy.ended;
  clearTimeout(timer);
  if (code !== 0) {
    problems.push(`replay of the ${what} ended with code ${code}: ${tcpcopy.lastLines(12)}`);
  }
  await pause(300);
  await intercept.stop();
  return await endServices(target, directory, "target");
}

export function hashes(read: readonly Read[]): string[] {
  return read.map(({ hash }) => hash).sort();
}

export function compareHashes(what: string, expected: string[], came: string[]): string[] {
  if (JSON.stringify(expected) === JSON.stringify(came)) return [];
  const missing = expected.filter((hash) => !came.includes(hash)).length;
  return [
    `${what}: ${expected.length} connections expected, ${came.length} came, ${missing} not the same`,
  ];
}

export async function findPcapng(directory: string): Promise<string> {
  for await (const { name } of Deno.readDir(directory)) {
    if (name.endsWith(".pcapng")) return `${directory}/${name}`;
  }
  throw new Error(`no pcapng in ${directory}`);
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes)));
  return digest.toHex();
}
