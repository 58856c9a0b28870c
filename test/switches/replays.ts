/** Short replays that the tests of tcpcopy's switches have in common. */

import assert from "node:assert/strict";
import { addresses } from "../lab/hosts.ts";
import { APPLICATION_PORT, pause } from "../lab/programs.ts";
import type { ConnectionRecord } from "../lab/report.ts";
import type { Row } from "./row.ts";
import type { Stage } from "./stage.ts";
import { type Synthetic, writeSynthetic } from "./synthetic.ts";

export const PORT = APPLICATION_PORT;
/** A port of the assistant at which nobody listens. */
export const NOBODY = `${addresses.assistant}:36999`;

export function hosts(records: readonly ConnectionRecord[]): string[] {
  return records.map(({ peer }) => peer.split(":")[0]);
}

export function ports(records: readonly ConnectionRecord[]): number[] {
  return records.map(({ peer }) => Number(peer.split(":")[1])).sort((a, b) => a - b);
}

/** Bytes by connection: what must be the same online and on the target. */
export function streams(records: readonly ConnectionRecord[]): string[] {
  return records.map(({ ids, hash, ending }) => `${ids} ${hash} ${ending}`).sort();
}

/** Replays a file of synthetic sessions; returns how many sessions there were, the log, the time. */
export async function offline(
  stage: Stage,
  file: Synthetic,
  args: readonly string[] = [],
): Promise<{ sessions: number; log: string; seconds: number }> {
  await stage.usual();
  const path = stage.path("synthetic.pcap");
  writeSynthetic(path, file);
  const startMs = performance.now();
  const tcpcopy = await stage.tcpcopy(["-i", path, ...args], { waitUntilReady: false });
  await tcpcopy.waitFor(/\bready\b/, 20_000);
  const readyMs = performance.now();
  await tcpcopy.ended;
  const sessions = Number(/^sessions +([\d,]+)/m.exec(tcpcopy.output)?.[1].replaceAll(",", ""));
  assert.ok(!Number.isNaN(sessions), tcpcopy.output);
  const seconds = (performance.now() - readyMs) / 1000;
  assert.ok(startMs < readyMs);
  return { sessions, log: tcpcopy.output, seconds };
}

/** Starts tcpcopy while a connection rests; returns what the target saw of it. */
export async function joined(stage: Stage, args: readonly string[]): Promise<ConnectionRecord[]> {
  await stage.usual();
  const { ids, process } = stage.startClients({
    connections: 1,
    requests: 6,
    requestsBeforeJoin: 3,
  });
  await process.waitFor(/^joined$/m, 20_000);
  await pause(400);
  const tcpcopy = await stage.tcpcopy(args);
  await process.writeLine("go");
  await process.ended;
  await pause(1500);
  await tcpcopy.stop();
  return stage.seen(ids, "target");
}

export async function refused(stage: Stage, args: readonly string[]): Promise<string> {
  const process = await stage.tcpcopy(args, { waitUntilReady: false });
  const { code } = await process.ended;
  assert.notEqual(code, 0, process.output);
  return process.output;
}

export async function exact(stage: Stage, args: readonly string[]): Promise<void> {
  const { online, target } = await stage.replay(args);
  assert.deepEqual(streams(target), streams(online));
}

/** A row of tcpcopy's table. */
export function row(original: string, ours: string, test: Row["test"]): Row {
  return { program: "tcpcopy", original, ours, test };
}
