/**
 * Strangers at trafficdump's endpoint and at its proxy, with few descriptors: what is proxied goes on,
 * and both listeners outlive it.
 */

import assert from "node:assert/strict";
import { connectionsPerProxy } from "../../src/trafficdump/descriptor_limit.ts";
import { acceptNext } from "../../src/trafficdump/connection.ts";
import { LabProcess } from "../lab/process.ts";

const program = new URL("../../src/trafficdump/main.ts", import.meta.url).pathname;
const hoarder = new URL("hoarding_filter.ts", import.meta.url).pathname;
const TIMEOUT_MS = 30_000;
const DESCRIPTORS = 300;
/** More than the program has descriptors, and fewer than a test may have. */
const STRANGERS = 500;

/** A service that echoes. */
function startEcho(): { port: number; close(): void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  (async () => {
    for await (const conn of listener) {
      conn.readable.pipeTo(conn.writable).catch(() => {}); // broken off by its client
    }
  })();
  return { port: listener.addr.port, close: () => listener.close() };
}

/** A port nobody listens on. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** trafficdump as a proxy that may open few files. */
class LimitedProxy {
  readonly port = freePort();
  readonly socket: string;
  readonly process: LabProcess;
  readonly #echo = startEcho();

  constructor(readonly directory: string) {
    this.socket = `${directory}/endpoint`;
    const args = [
      ...[Deno.execPath(), "run", "-A", "--quiet", program, "--log-dir", directory],
      ...["--proxy", `127.0.0.1:${this.port}-127.0.0.1:${this.#echo.port}`],
      ...["--endpoint", this.socket, "--endpoint-mode", "666", "--filter", hoarder],
    ];
    const child = new Deno.Command("bash", {
      args: ["-c", `ulimit -n ${DESCRIPTORS}; exec "$@"`, "bash", ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.process = new LabProcess("trafficdump", child);
  }

  /** Says something through the proxy, and returns the echo. */
  async echo(conn: Deno.Conn, text: string): Promise<string> {
    await conn.write(new TextEncoder().encode(text));
    return await readText(conn);
  }

  connect(): Promise<Deno.TcpConn> {
    return Deno.connect({ hostname: "127.0.0.1", port: this.port });
  }

  stranger(): Promise<Deno.UnixConn> {
    return Deno.connect({ transport: "unix", path: this.socket });
  }

  async status(): Promise<Record<string, Record<string, number>>> {
    const conn = await this.stranger();
    try {
      await conn.write(new TextEncoder().encode("GET /status HTTP/1.1\r\nHost: x\r\n\r\n"));
      const answer = await new Response(conn.readable).text();
      return JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1));
    } catch (error) {
      throw new Error(`no status: ${this.process.lastLines(3)}`, { cause: error });
    }
  }

  /** The endpoint's counters once nobody is connected to it but who asks. */
  async alone(): Promise<Record<string, number>> {
    const deadlineMs = Date.now() + TIMEOUT_MS;
    for (;;) {
      const { endpoint } = await this.status();
      if (endpoint.open <= 1) return endpoint;
      assert.ok(Date.now() < deadlineMs, `still open: ${endpoint.open}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async close(): Promise<void> {
    const status = await this.process.stop(10_000);
    this.#echo.close();
    assert.equal(status.code, 0, this.process.lastLines(5));
  }
}

async function readText(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(4096);
  const count = await conn.read(buffer);
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
}

async function withLimitedProxy(use: (proxy: LimitedProxy) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  const proxy = new LimitedProxy(directory);
  try {
    await proxy.process.waitFor(/\bready\b/, TIMEOUT_MS);
    await use(proxy);
  } finally {
    await proxy.close();
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("half-sent requests to the endpoint cost neither it nor the proxy anything", async () => {
  await withLimitedProxy(async (proxy) => {
    const before = await proxy.connect();
    assert.equal(await proxy.echo(before, "before"), "before");
    const strangers: Deno.Conn[] = [];
    for (let number = 0; number < STRANGERS; number++) {
      const conn = await proxy.stranger();
      await conn.write(new TextEncoder().encode("GET /status HTTP/1.1\r\nHost: x\r\n"))
        .catch(() => {}); // pushed out already
      strangers.push(conn);
      // In between, whoever asks whole questions is answered.
      if (number % 100 === 0) assert.ok((await proxy.status()).endpoint.accepted > number);
    }
    const during = await proxy.connect();
    assert.equal(await proxy.echo(during, "during"), "during");
    assert.equal(await proxy.echo(before, "still"), "still");
    const { endpoint } = await proxy.status();
    assert.ok(endpoint.accepted > STRANGERS, JSON.stringify(endpoint));
    assert.ok(endpoint.pushedOut > 0, JSON.stringify(endpoint));
    assert.ok(endpoint.open <= 33, JSON.stringify(endpoint));
    assert.equal(endpoint.acceptFailures, 0);
    await proxy.process.waitFor(
      /endpoint: 32 connections are open.*the oldest is closed/,
      TIMEOUT_MS,
    );
    // Those that were left end by themselves.
    assert.ok((await proxy.alone()).timedOut > 0);
    for (const conn of [...strangers, before, during]) conn.close();
  });
});

Deno.test("nonsense at the endpoint harms nobody, and an answered connection is let go", async () => {
  const post = "POST /portrait HTTP/1.1\r\nHost: x\r\n";
  const nonsense = [
    "",
    "\0\xff".repeat(1000),
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /status HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    `GET /status HTTP/1.1\r\nX: ${"x".repeat(100_000)}\r\n\r\n`,
    `${post}Content-Length: 5\r\n\r\n{`,
    `${post}Content-Length: -1\r\n\r\n{}`,
    `${post}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}`,
    `${post}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n`,
    `${post}Content-Length: 2\r\n\r\n{}`.repeat(100),
  ];
  await withLimitedProxy(async (proxy) => {
    const staying: Deno.Conn[] = [];
    for (const text of nonsense) {
      for (const stays of [false, true]) {
        const conn = await proxy.stranger();
        // It may be refused before it has all been said.
        await conn.write(new TextEncoder().encode(text)).catch(() => {});
        if (stays) staying.push(conn);
        else conn.close();
      }
    }
    // Those that wait for more are given up in time, the others at once.
    const endpoint = await proxy.alone();
    assert.equal(endpoint.failed, 0, proxy.process.lastLines(10));
    assert.ok(endpoint.refused > 0);
    const answered = await proxy.stranger();
    await answered.write(new TextEncoder().encode("GET /status HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert.equal((await proxy.alone()).timedOut, endpoint.timedOut);
    for (const conn of [...staying, answered]) conn.close();
  });
});

Deno.test("idle strangers at the proxy leave the endpoint its descriptors, and others their turn", async () => {
  await withLimitedProxy(async (proxy) => {
    const strangers: Deno.Conn[] = [];
    for (let number = 0; number < 2 * DESCRIPTORS; number++) strangers.push(await proxy.connect());
    await proxy.process.waitFor(/proxy: 50 connections are open.*more wait/, TIMEOUT_MS);
    const { proxies } = await proxy.status();
    const [counters] = proxies as unknown as Record<string, number>[];
    assert.deepEqual(
      [counters.open, counters.accepted, counters.full, counters.acceptFailures],
      [50, 50, 1, 0],
    );
    // The last in the row: it waits in the kernel until those before it are gone.
    const last = await proxy.connect();
    const answer = proxy.echo(last, "patient");
    for (const conn of strangers) conn.close();
    assert.equal(await answer, "patient");
    last.close();
  });
});

Deno.test("both listeners outlive a want of descriptors", async () => {
  await withLimitedProxy(async (proxy) => {
    const conn = await proxy.connect();
    assert.equal(await proxy.echo(conn, "HOARD"), "HOARD");
    await proxy.process.waitFor(/hoarded [1-9]/, TIMEOUT_MS);
    const waiting = await proxy.connect();
    const status = proxy.status();
    // Until they are given back, neither can be accepted.
    await proxy.process.waitFor(/proxy: a connection could not be accepted/, TIMEOUT_MS);
    await proxy.process.waitFor(/endpoint: a connection could not be accepted/, TIMEOUT_MS);
    assert.equal(await proxy.echo(conn, "goes on"), "goes on");
    await proxy.process.waitFor(/given back/, TIMEOUT_MS);
    assert.ok((await status).endpoint.acceptFailures > 0);
    assert.equal(await proxy.echo(waiting, "at last"), "at last");
    const lines = proxy.process.output.match(/could not be accepted/g);
    assert.equal(lines?.length, 2, "a line for each listener, however often it has tried");
    for (const each of [conn, waiting]) each.close();
  });
});

Deno.test("a listener's failures are told and tried again until it is closed", async () => {
  const failures: string[] = [];
  let isClosed = false;
  const results = ["EMFILE", "EMFILE", "a connection", "closed"];
  const listener = {
    accept: () => {
      const result = results.shift()!;
      if (result === "a connection") return Promise.resolve({} as Deno.Conn);
      isClosed = result === "closed";
      return Promise.reject(new Error(result));
    },
  };
  const accept = () => acceptNext(listener, () => isClosed, (reason) => failures.push(reason));
  assert.notEqual(await accept(), undefined);
  assert.equal(failures.length, 2);
  assert.match(failures[0], /could not be accepted: EMFILE/);
  assert.equal(await accept(), undefined);
});

Deno.test("the proxies share what is left of the descriptors", () => {
  assert.equal(connectionsPerProxy(50_000, 1, Infinity), 50_000);
  assert.equal(connectionsPerProxy(50_000, 1, 1024), 412);
  assert.equal(connectionsPerProxy(50_000, 4, 1024), 103);
  assert.equal(connectionsPerProxy(10, 4, 1024), 10);
  assert.throws(() => connectionsPerProxy(10, 2, 203), /at least 204 open files.*came 203/);
});
