/**
 * Whether memory stays flat: thousands of clients come and go in real time, for minutes, through the
 * pipeline with its answering target.
 *
 *   deno task bench:soak [--minutes N] [--clients N]
 *
 * Says memory, sessions and packets at the end of every minute. Fails when some session did not end
 * complete.
 */

import { LinkType } from "../../src/wire/link_type.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { Pipeline } from "../pipeline/pipeline.ts";
import { answerBytes, ClientPackets } from "../pipeline/traffic.ts";

const TURN_MS = 10;
const MAX_REQUESTS = 20;
const MAX_REQUEST_BYTES = 1000;
/** Between two steps of a client; between two connections, which use the same port. */
const MAX_THINK_MS = 500;
const MAX_PAUSE_MS = 8_000;

const Step = { Syn: 0, Ack: 1, Request: 2, Read: 3, Fin: 4, LastAck: 5 } as const;

/** Clients that connect, send some requests, and come back some time later. */
class Clients {
  readonly #packets = new ClientPackets();
  readonly #step: Uint8Array;
  readonly #requestsLeft: Uint8Array;
  readonly #sequence: Int32Array;
  readonly #ack: Int32Array;
  readonly #dueMs: Float64Array;
  readonly #pipeline: Pipeline;

  constructor(pipeline: Pipeline, count: number) {
    this.#pipeline = pipeline;
    this.#step = new Uint8Array(count);
    this.#requestsLeft = new Uint8Array(count);
    this.#sequence = new Int32Array(count);
    this.#ack = new Int32Array(count);
    this.#dueMs = Float64Array.from({ length: count }, () => Math.random() * MAX_PAUSE_MS);
  }

  /** Lets every client that is due take its step; when `ending`, none connects any more. */
  advance(nowMs: number, ending: boolean): void {
    for (let client = 0; client < this.#dueMs.length; client++) {
      if (this.#dueMs[client] > nowMs) continue;
      if (ending && this.#step[client] === Step.Syn) continue;
      const isOver = this.#step[client] === Step.LastAck;
      this.#take(client);
      this.#dueMs[client] = nowMs + Math.random() * (isOver ? MAX_PAUSE_MS : MAX_THINK_MS);
    }
  }

  #take(client: number): void {
    const { Syn, Ack, Psh, Fin } = TcpFlag;
    switch (this.#step[client]) {
      case Step.Syn:
        this.#sequence[client] = Math.random() * 2 ** 31;
        this.#ack[client] = Math.random() * 2 ** 31;
        this.#requestsLeft[client] = 1 + Math.random() * MAX_REQUESTS;
        this.#emit(client, Syn, 0);
        this.#sequence[client]++;
        break;
      case Step.Request: {
        const sizeBytes = 1 + Math.floor(Math.random() * MAX_REQUEST_BYTES);
        this.#emit(client, Ack | Psh, sizeBytes);
        this.#sequence[client] += sizeBytes;
        this.#ack[client] += answerBytes(client);
        break;
      }
      case Step.Read:
        this.#emit(client, Ack, 0);
        if (--this.#requestsLeft[client] > 0) {
          this.#step[client] = Step.Request;
          return;
        }
        break;
      case Step.Fin:
        this.#emit(client, Fin | Ack, 0);
        this.#sequence[client]++;
        this.#ack[client]++;
        break;
      case Step.LastAck:
        this.#emit(client, Ack, 0);
        this.#step[client] = Step.Syn;
        return;
      default:
        this.#emit(client, Ack, 0);
    }
    this.#step[client]++;
  }

  #emit(client: number, flags: number, payloadBytes: number): void {
    const packets = this.#packets;
    const ack = flags & TcpFlag.Ack ? this.#ack[client] : 0;
    const length = packets.write(client, this.#sequence[client], ack, flags, payloadBytes);
    this.#pipeline.take(LinkType.Raw, packets.bytes, packets.view, 0, length);
  }
}

function option(name: string, fallback: number, most: number): number {
  const at = Deno.args.indexOf(name);
  if (at < 0) return fallback;
  const value = Number(Deno.args[at + 1]);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  console.error(`${name}: expected a whole number from 1 to ${most}, got ${Deno.args[at + 1]}`);
  Deno.exit(2);
}

const minutes = option("--minutes", 6, 10_000);
const pipeline = new Pipeline();
const clients = new Clients(pipeline, option("--clients", 4_000, 60_000));
const { table } = pipeline;
const collect = (globalThis as { gc?: () => void }).gc;
const startMs = performance.now();

async function playUntil(endMs: number, ending: boolean): Promise<void> {
  for (;;) {
    const nowMs = Math.floor(performance.now() - startMs);
    if (nowMs >= endMs) return;
    if (nowMs > pipeline.nowMs) pipeline.nowMs = nowMs;
    clients.advance(nowMs, ending);
    pipeline.idleTurn();
    await new Promise((resolve) => setTimeout(resolve, TURN_MS));
  }
}

console.log("minute  resident MB  heap MB  external MB  payload kB  flows  sessions open / so far");
for (let minute = 1; minute <= minutes; minute++) {
  await playUntil(minute * 60_000, false);
  const { rss } = Deno.memoryUsage();
  collect?.();
  const { heapUsed, external } = Deno.memoryUsage();
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  console.log(
    `${minute}  ${mb(rss)}  ${mb(heapUsed)}  ${mb(external)}  ` +
      `${(table.payloadBytes / 1e3).toFixed(0)}  ${table.knownFlows}  ` +
      `${table.openSessions} / ${table.ledger.seen}  (${pipeline.captured} packets captured, ` +
      `${pipeline.sent} sent, ${table.counters.movedPorts} ports moved)`,
  );
}
// As long as the longest client still has to go.
await playUntil(minutes * 60_000 + 2 * MAX_REQUESTS * MAX_THINK_MS + 5_000, true);
for (let i = 0; i < 200 && table.openSessions > 0; i++) pipeline.idleTurn(100);
const complete = table.ledger.ended[0];
console.log(`${complete} of ${table.ledger.seen} sessions complete, ${table.openSessions} open`);
if (!table.ledger.allComplete) Deno.exit(1);
