/**
 * The lab's own server and client over loopback, without any replay: what they report must be right
 * before anything can be measured with them.
 */

import assert from "node:assert/strict";
import type { ClientSummary } from "./client.ts";
import { compare } from "./compare.ts";
import { encodeFrame, greetingOf, REQUEST_MAGIC } from "./protocol.ts";
import { LabProcess } from "./process.ts";
import { parseReport, type ServerReport } from "./report.ts";
import { scaled, type Workload, workloads } from "./workloads.ts";

function start(name: string, args: string[]): LabProcess {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL(name, import.meta.url).pathname, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  return new LabProcess(name, child);
}

/** A port nobody listens on now. */
function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/** Runs `use` against a fresh server; returns what the server reported. */
async function withServer(
  args: string[],
  use: (port: number) => Promise<void>,
): Promise<ServerReport> {
  const path = await Deno.makeTempFile();
  const port = freePort();
  const server = start("server.ts", ["--port", String(port), "--report", path, ...args]);
  try {
    await server.waitFor(/^ready$/m, 20_000);
    await use(port);
  } finally {
    await server.stop();
  }
  const report = parseReport(await Deno.readTextFile(path));
  await Deno.remove(path);
  return report;
}

/** Lets the server see what was just done to its connection. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 200));
}

async function runWorkload(port: number, workload: Workload): Promise<void> {
  const client = start("client.ts", [
    ...["--address", `127.0.0.1:${port}`, "--workload", JSON.stringify(workload)],
  ]);
  if (workload.requestsBeforeJoin > 0) {
    await client.waitFor(/^joined$/m, 20_000);
    await client.writeLine("mark");
    const match = await client.waitFor(/^\{"kind":"mark".*$/m, 20_000);
    const next = Object.values(JSON.parse(match[0]).next);
    assert.deepEqual(new Set(next), new Set([workload.requestsBeforeJoin]));
    await client.writeLine("go");
  }
  const status = await client.ended;
  assert.equal(status.code, 0, client.output);
  const line = client.output.split("\n").find((text) => text.includes('"summary"')) as string;
  const summary = JSON.parse(line) as ClientSummary;
  assert.equal(summary.requests, workload.connections * workload.requests);
  await settle();
}

for (const workload of workloads.values()) {
  const quick = { ...scaled(workload, 0.05), requests: Math.min(workload.requests, 40) };
  Deno.test(`without a replay, ${workload.name} is served and reported right`, async () => {
    const args = ["--greeting", String(workload.greetingBytes)];
    const report = await withServer(args, (port) => runWorkload(port, quick));
    const result = compare(report, report);
    assert.equal(result.online, quick.connections);
    assert.equal(result.share, 1, result.mismatches.join("\n"));
    assert.equal(result.early, 0);
    assert.equal(result.requestsOnline, quick.connections * quick.requests);
    const ending = workload.ending === "reset" ? "rst" : "fin";
    assert.deepEqual(new Set(report.connections.map((c) => c.ending)), new Set([ending]));
  });
}

function request(requestNumber: number, repliesRead: number, delayMs: number): Uint8Array {
  return encodeFrame({
    magic: REQUEST_MAGIC,
    connectionId: 3,
    requestNumber,
    payloadBytes: 10,
    replyBytes: 10,
    repliesRead,
    delayMs,
    flags: 0,
  });
}

Deno.test("a request sent before the reply it claims to have read is early", async () => {
  const report = await withServer([], async (port) => {
    const conn = await Deno.connect({ port });
    await conn.write(request(0, 0, 100));
    await conn.write(request(1, 0, 0)); // pipelined: right
    await conn.write(request(2, 1, 0)); // early
    await conn.closeWrite();
    await new Response(conn.readable).bytes();
    await settle();
  });
  assert.equal(report.connections[0].early, 1);
  assert.equal(report.connections[0].numbers, "0-2");
});

Deno.test("a request sent before the greeting it claims to have read is early", async () => {
  const report = await withServer(["--greeting", "50"], async (port) => {
    const conn = await Deno.connect({ port });
    const greeting = new Uint8Array(50);
    for (let at = 0; at < 50;) at += await conn.read(greeting.subarray(at)) ?? 50;
    assert.deepEqual(greeting, greetingOf(50).slice());
    await conn.write(request(0, 1, 0)); // right
    await conn.write(request(1, 3, 0)); // one reply too early
    await conn.closeWrite();
    await new Response(conn.readable).bytes();
    await settle();
  });
  assert.equal(report.connections[0].early, 1);
});

Deno.test("a joined stream's replies count from its first request", async () => {
  const report = await withServer([], async (port) => {
    const conn = await Deno.connect({ port });
    await conn.write(request(20, 20, 50)); // first: cannot be early
    await conn.write(request(21, 21, 0)); // early: 20 is answered after 50 ms
    await conn.closeWrite();
    await new Response(conn.readable).bytes();
    await settle();
  });
  assert.equal(report.connections[0].early, 1);
  assert.equal(report.connections[0].numbers, "20-21");
});

Deno.test("a connection still open, with a part of a request, is reported at the end", async () => {
  const report = await withServer([], async (port) => {
    const conn = await Deno.connect({ port });
    await conn.write(request(0, 0, 0).subarray(0, 36));
    await settle();
    conn.unref();
  });
  assert.equal(report.connections[0].ending, "open");
  assert.equal(report.connections[0].partialBytes, 36);
});

/** Sends what the server may read; returns how many bytes it answers until it closes. */
async function exchange(port: number, ...requests: Uint8Array[]): Promise<number> {
  const conn = await Deno.connect({ port });
  for (const bytes of requests) await conn.write(bytes);
  await conn.closeWrite();
  const answer = await new Response(conn.readable).bytes();
  await settle();
  return answer.length;
}

Deno.test("a request before the last piece of the reply it waited for is early", async () => {
  const twist = JSON.stringify({ name: "", title: "", pieces: { count: 3, gapMs: 100 } });
  const report = await withServer(["--twist", twist], async (port) => {
    const conn = await Deno.connect({ port });
    const buffer = new Uint8Array(1000);
    await conn.write(request(0, 0, 0));
    for (let at = 0; at < 42;) at += await conn.read(buffer) ?? 42; // all three pieces
    await conn.write(request(1, 1, 0)); // right
    await conn.read(buffer); // one piece
    await conn.write(request(2, 2, 0)); // early
    await conn.closeWrite();
    await new Response(conn.readable).bytes();
    await settle();
  });
  assert.deepEqual(report.connections[0].earlyNumbers, [2]);
  assert.equal(report.progress?.steps.at(-1)?.[1], 3);
});

Deno.test("a request that gets no reply makes none early", async () => {
  const twist = JSON.stringify({ name: "", title: "", unansweredShare: 1 });
  let answer = new Uint8Array(1);
  const report = await withServer(["--twist", twist], async (port) => {
    const conn = await Deno.connect({ port });
    await conn.write(request(0, 0, 0));
    await settle();
    await conn.write(request(1, 1, 0));
    await conn.closeWrite();
    answer = await new Response(conn.readable).bytes();
    await settle();
  });
  assert.equal(answer.length, 0);
  assert.equal(report.connections[0].early, 0);
});

Deno.test("a closing server answers all it has read whole, and reads no more", async () => {
  let answer = new Uint8Array();
  const report = await withServer(["--twist", "closes1", "--frame-checks"], async (port) => {
    const two = [...request(0, 0, 50), ...request(1, 0, 0)];
    const conn = await Deno.connect({ port });
    await conn.write(new Uint8Array([...two, ...request(2, 0, 0).subarray(0, 20)]));
    await new Promise((resolve) => setTimeout(resolve, 20)); // while the first reply is due
    await conn.write(request(2, 0, 0).subarray(20));
    try {
      for await (const bytes of conn.readable) answer = new Uint8Array([...answer, ...bytes]);
    } catch (error) {
      assert(error instanceof Deno.errors.ConnectionReset); // something was left unread
    }
    await settle();
  });
  const [record] = report.connections;
  assert.equal(answer.length, 2 * 42);
  assert.equal(record.ending, "closed");
  assert.equal(record.numbers, "0-1");
  assert.equal(record.partialBytes, 20);
  assert.equal(record.frameChecks?.length, 2);
});

Deno.test("a connection that continues counts replies from its first request on", async () => {
  const report = await withServer(["--greeting", "50"], async (port) => {
    await exchange(port, request(13, 11, 0), request(14, 11, 50), request(20, 21, 0));
  });
  assert.deepEqual(report.connections[0].earlyNumbers, [20]); // 14 has no reply yet
});

Deno.test("messages nobody asked for come between the replies", async () => {
  const twist = JSON.stringify({ name: "", title: "", unasked: { meanMs: 20, bytes: 60 } });
  let answerBytes = 0;
  await withServer(["--twist", twist], async (port) => {
    answerBytes = await exchange(port, request(0, 0, 300));
  });
  assert.equal((answerBytes - 42) % 60, 0);
  assert(answerBytes > 42 + 3 * 60);
});
