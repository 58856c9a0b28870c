/**
 * The pipeline alone: capture file, parser, sessions, an answering target in the same process, and a
 * sink that drops what is sent. No network, no privileges, one core per worker.
 *
 *   deno task bench:pipeline [--packets N] [--flows N] [--concurrent N] [--workers N]
 *
 * Says packets per second, what each stage takes of a packet's time, what the heap does over all
 * these packets, and with more than one worker how much faster they are together than one.
 */

import { PcapFileReader } from "../../src/capture/pcap_file.ts";
import { Packet } from "../../src/wire/packet.ts";
import { Pipeline, Stage } from "./pipeline.ts";
import { writeTraffic } from "./traffic.ts";

interface Options {
  packets: number;
  flows: number;
  concurrent: number;
  workers: number;
}

const WARM_UP_PASSES = 2;
const HEAP_STEP_PACKETS = 1_000_000;
/** How often the size of the heap is looked at for what is allocated. */
const HEAP_LOOK_TURNS = 16;

/** One worker's part: a capture file of its own clients and a pipeline to play it. */
class Share {
  readonly path = Deno.makeTempFileSync({ suffix: ".pcap" });
  readonly packetsPerPass: number;
  readonly pipeline = new Pipeline();
  readonly file: PcapFileReader;

  constructor(options: Options, worker: number) {
    const flows = Math.floor(options.flows / options.workers);
    this.packetsPerPass = writeTraffic(this.path, {
      firstFlow: worker * flows,
      flows,
      concurrent: Math.min(flows, Math.ceil(options.concurrent / options.workers)),
    });
    this.file = new PcapFileReader(this.path);
  }

  /** Plays the file once. */
  pass(onTurn: () => void): void {
    const { file, pipeline } = this;
    while (pipeline.turn(file)) onTurn();
    pipeline.settle();
    file.rewind();
    if (pipeline.captured === 0) {
      throw new Error("expected requests in the capture file, none came");
    }
  }

  close(): void {
    this.file.close();
    Deno.removeSync(this.path);
  }
}

/** Counts what is allocated: the heap grows by that much between two collections. */
class Garbage {
  bytes = 0;
  collections = 0;
  #last = Deno.memoryUsage().heapUsed;
  #turns = 0;

  look(): void {
    if (++this.#turns % HEAP_LOOK_TURNS !== 0) return;
    const { heapUsed } = Deno.memoryUsage();
    if (heapUsed >= this.#last) this.bytes += heapUsed - this.#last;
    else this.collections++;
    this.#last = heapUsed;
  }
}

/** Time of reading a file alone, or of reading and parsing, ms per pass; the best of three. */
function readAlone({ file }: Share, parse: boolean): number {
  const packet = new Packet();
  let best = Infinity;
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    while (file.next()) {
      if (parse) {
        packet.parse(file.linkType, file.bytes, file.view, file.offset, file.capturedLength);
      }
    }
    best = Math.min(best, performance.now() - start);
    file.rewind();
  }
  return best;
}

function nothing(): void {}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(2);
}

function runAlone(options: Options): void {
  const share = new Share(options, 0);
  const { pipeline } = share;
  const { table } = pipeline;
  for (let i = 0; i < WARM_UP_PASSES; i++) share.pass(nothing);
  const readNs = 1e6 * readAlone(share, false) / share.packetsPerPass;
  const parsedNs = 1e6 * readAlone(share, true) / share.packetsPerPass;

  pipeline.stageMs.fill(0);
  pipeline.checksumMs = 0;
  pipeline.checksums = 0;
  const before = { captured: pipeline.captured, sent: pipeline.sent };
  const responsesBefore = table.counters.responsePackets;
  const seenBefore = table.ledger.seen;
  const garbage = new Garbage();
  const collect = (globalThis as { gc?: () => void }).gc;
  let mostSessions = 0;
  let stepAt = pipeline.captured + HEAP_STEP_PACKETS;
  const onTurn = () => {
    garbage.look();
    if (table.openSessions > mostSessions) mostSessions = table.openSessions;
  };
  console.log("packets  heap MB (after collection)  external MB  resident MB");
  while (pipeline.captured - before.captured < options.packets) {
    share.pass(onTurn);
    if (pipeline.captured < stepAt) continue;
    stepAt += HEAP_STEP_PACKETS;
    const { rss } = Deno.memoryUsage();
    collect?.();
    const { heapUsed, external } = Deno.memoryUsage();
    console.log(
      `${((pipeline.captured - before.captured) / 1e6).toFixed(1)} M  ${megabytes(heapUsed)}  ` +
        `${megabytes(external)}  ${megabytes(rss)}`,
    );
  }
  const captured = pipeline.captured - before.captured;
  const sent = pipeline.sent - before.sent;
  const responses = table.counters.responsePackets - responsesBefore;
  const perPacket = (ms: number) => 1e6 * ms / captured;
  const stage = (index: number) => perPacket(pipeline.stageMs[index]);
  const checksumNs = 1e6 * pipeline.checksumMs / pipeline.checksums;
  const oursNs = perPacket(pipeline.stageMs.reduce((sum, ms) => sum + ms, 0)) - stage(Stage.Target);
  const sessions = table.ledger.seen - seenBefore;
  const rows: [string, number][] = [
    ["read from the file", readNs],
    ["parse", parsedNs - readNs],
    ["captured side of the session", stage(Stage.Captured) - parsedNs],
    ["serve and write the packets", stage(Stage.Serve)],
    ["decode and take the responses", stage(Stage.Responses)],
    ["serve again: acknowledge", stage(Stage.Acknowledge)],
    ["together", oursNs],
    ["(of it checksums)", checksumNs * sent / captured],
    ["(besides: the target)", stage(Stage.Target)],
  ];
  console.log(
    `\n${captured} packets captured, ${sent} sent, ${responses} responses, ${sessions} sessions ` +
      `(at most ${mostSessions} at a time), ${
        table.ledger.ended[0]
      } of ${table.ledger.seen} complete`,
  );
  for (const [name, ns] of rows) console.log(`${name.padEnd(32)}${ns.toFixed(0).padStart(6)} ns`);
  console.log(`${Math.round(1e9 / oursNs)} captured packets a second`);
  console.log(
    `allocated: ${(garbage.bytes / captured).toFixed(1)} bytes per packet, ` +
      `${(garbage.bytes / sessions).toFixed(0)} per session; ` +
      `${(1e6 * garbage.collections / captured).toFixed(1)} collections per million packets`,
  );
  share.close();
}

// ------------------------------------------------------------------------------------- workers

/** What a worker is told, and what it says: it is ready; it has played so much in so long. */
type Order = { prepare: Options; worker: number } | { packets: number };
type Report = "ready" | { packets: number; tookMs: number };

function serveAsWorker(): void {
  const scope = globalThis as unknown as {
    onmessage: (event: MessageEvent<Order>) => void;
    postMessage: (report: Report) => void;
    close: () => void;
  };
  let share: Share | undefined;
  scope.onmessage = ({ data }) => {
    if ("prepare" in data) {
      share = new Share(data.prepare, data.worker);
      for (let i = 0; i < WARM_UP_PASSES; i++) share.pass(nothing);
      scope.postMessage("ready");
      return;
    }
    if (share === undefined) throw new Error("a worker must be prepared before it runs");
    const { pipeline } = share;
    const before = pipeline.captured;
    const start = performance.now();
    while (pipeline.captured - before < data.packets) share.pass(nothing);
    const tookMs = performance.now() - start;
    share.close();
    scope.postMessage({ packets: pipeline.captured - before, tookMs });
    scope.close();
  };
}

/** Packets per second of so many workers together, which share the clients, by the slowest of them. */
async function runWorkers(options: Options): Promise<number> {
  const workers = Array.from(
    { length: options.workers },
    () => new Worker(import.meta.url, { type: "module" }),
  );
  const replies = (orders: Order[]) =>
    Promise.all(workers.map((worker, index) =>
      new Promise<Report>((resolve, reject) => {
        worker.onmessage = ({ data }: MessageEvent<Report>) => resolve(data);
        worker.onerror = (event) => reject(new Error(event.message));
        worker.postMessage(orders[index]);
      })
    ));
  await replies(workers.map((_, worker) => ({ prepare: options, worker })));
  const packets = Math.ceil(options.packets / options.workers);
  const reports = await replies(workers.map(() => ({ packets })));
  for (const worker of workers) worker.terminate();
  let played = 0;
  let longestMs = 0;
  for (const report of reports) {
    if (report === "ready") {
      throw new Error("a worker said that it is ready, not what it has played");
    }
    played += report.packets;
    longestMs = Math.max(longestMs, report.tookMs);
  }
  return 1000 * played / longestMs;
}

async function compareWorkers(options: Options): Promise<void> {
  const ratios: number[] = [];
  for (let round = 1; round <= 3; round++) {
    const one = await runWorkers({ ...options, workers: 1, flows: options.flows });
    const all = await runWorkers(options);
    ratios.push(all / one);
    console.log(
      `1 worker: ${Math.round(one)} packets a second (with the target's part); ` +
        `${options.workers} workers: ${Math.round(all)}; ratio ${(all / one).toFixed(2)}`,
    );
  }
  ratios.sort((a, b) => a - b);
  console.log(`median ratio ${ratios[1].toFixed(2)}`);
}

function option(name: string, fallback: number): number {
  const at = Deno.args.indexOf(name);
  if (at < 0) return fallback;
  const text = Deno.args[at + 1] ?? "nothing";
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) {
    console.error(`${name}: expected a whole number of 1 or more, got ${text}`);
    Deno.exit(2);
  }
  return value;
}

if ("WorkerGlobalScope" in globalThis) serveAsWorker();
else if (import.meta.main) {
  const workers = option("--workers", 1);
  const options: Options = {
    packets: option("--packets", workers > 1 ? 3_000_000 : 10_000_000),
    flows: option("--flows", 12_000),
    concurrent: option("--concurrent", 4_000),
    workers,
  };
  if (workers > 1) await compareWorkers(options);
  else runAlone(options);
}
