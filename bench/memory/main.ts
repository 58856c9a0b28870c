/**
 * What a concurrent idle session costs: opens 100,000 of them, each after its hand-shake and one
 * request, lets them fall silent, and compares the process with what it was before.
 *
 *   deno task bench:memory [--sessions N]
 */

import { LinkType } from "../../src/wire/link_type.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { Pipeline } from "../pipeline/pipeline.ts";
import { answerBytes, ClientPackets } from "../pipeline/traffic.ts";

/** Sessions that are opened and closed before, so that the start-up footprint is a working one. */
const WARM_UP_SESSIONS = 2_000;
const BATCH = 250;
const REQUEST_BYTES = 300;

const client = new ClientPackets();

/** Opens sessions, has each send one request, and lets time pass until nothing is due any more. */
function open(pipeline: Pipeline, first: number, count: number): void {
  for (let from = first; from < first + count; from += BATCH) {
    const to = Math.min(first + count, from + BATCH);
    step(pipeline, from, to, 1000, 0, TcpFlag.Syn, 0);
    step(pipeline, from, to, 1001, 5001, TcpFlag.Ack, 0);
    step(pipeline, from, to, 1001, 5001, TcpFlag.Ack | TcpFlag.Psh, REQUEST_BYTES);
    step(pipeline, from, to, 1001 + REQUEST_BYTES, 5001, TcpFlag.Ack, 0, true);
  }
  for (let i = 0; i < 20; i++) pipeline.idleTurn(20);
}

function close(pipeline: Pipeline, first: number, count: number): void {
  for (let from = first; from < first + count; from += BATCH) {
    const to = Math.min(first + count, from + BATCH);
    step(pipeline, from, to, 1001 + REQUEST_BYTES, 5001, TcpFlag.Fin | TcpFlag.Ack, 0, true);
  }
  pipeline.settle();
}

/** One captured packet for every flow of a range, in one turn. */
function step(
  pipeline: Pipeline,
  from: number,
  to: number,
  sequence: number,
  ack: number,
  flags: number,
  payloadBytes: number,
  answered = false,
): void {
  for (let flow = from; flow < to; flow++) {
    const read = answered ? answerBytes(flow & 0xffff) : 0;
    const length = client.write(flow, sequence, ack + read, flags, payloadBytes);
    pipeline.take(LinkType.Raw, client.bytes, client.view, 0, length);
  }
  pipeline.idleTurn();
}

function collect(): void {
  (globalThis as { gc?: () => void }).gc?.();
}

const at = Deno.args.indexOf("--sessions");
const sessions = at < 0 ? 100_000 : Number(Deno.args[at + 1]);
if (!Number.isInteger(sessions) || sessions < 1) {
  console.error(`--sessions: expected a whole number of 1 or more, got ${Deno.args[at + 1]}`);
  Deno.exit(2);
}

const pipeline = new Pipeline();
open(pipeline, 0, WARM_UP_SESSIONS);
close(pipeline, 0, WARM_UP_SESSIONS);
collect();
const before = Deno.memoryUsage();
const flowsPerAddressSpace = 1 << 16;
open(pipeline, 0, Math.min(sessions, flowsPerAddressSpace));
if (sessions > flowsPerAddressSpace) {
  open(pipeline, flowsPerAddressSpace, sessions - flowsPerAddressSpace);
}
const { counters, openSessions } = pipeline.table;
const busy = Deno.memoryUsage();
collect();
const after = Deno.memoryUsage();

const each = (bytes: number) => `${(bytes / sessions).toFixed(0)} bytes`;
const expected = (sessions + WARM_UP_SESSIONS) * REQUEST_BYTES;
console.log(`${openSessions} sessions open; ${counters.acknowledgedBytes} of ${expected} bytes`);
console.log(`start-up footprint: ${(before.rss / 1e6).toFixed(0)} MB resident`);
console.log(`each session, resident: ${each(busy.rss - before.rss)}`);
console.log(`  after a collection:   ${each(after.rss - before.rss)}`);
console.log(`each session, heap:     ${each(after.heapUsed - before.heapUsed)}`);
console.log(`each session, external: ${each(after.external - before.external)}`);
if (openSessions !== sessions || counters.acknowledgedBytes !== expected) {
  console.error("expected every session to be open and its request to be acknowledged");
  Deno.exit(1);
}
