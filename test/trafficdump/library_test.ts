/** The dump as a library: in a process of one's own, as a filter of a proxy, with its endpoint. */

import assert from "node:assert/strict";
import { getLogger } from "@logtape/logtape";
import { Next } from "../../src/capture/recorded_packets.ts";
import { openRecording } from "../../src/capture/recording.ts";
import { Dump } from "../../src/trafficdump/dump.ts";
import { DumpFilter } from "../../src/trafficdump/dump_filter.ts";
import { Endpoint } from "../../src/trafficdump/endpoint.ts";
import { FilterChain, loadFilter, type NetworkFilter } from "../../src/trafficdump/filter.ts";
import { Proxy, type ProxyOptions } from "../../src/trafficdump/proxy.ts";
import { formatIpv4 } from "../../src/wire/ipv4.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { LAYOTTO_TIME, readRecords, streamsOf } from "./dump_log.ts";

const log = getLogger(["trafficdump"]);
const STRATEGY = {
  switch: "ON",
  interval: 1000,
  duration: 999,
  cpu_max_rate: 80,
  mem_max_rate: 80,
};

/** An idle system. */
function idleSystem(): (path: string) => string | undefined {
  let ticks = 0;
  return (path) => {
    if (path === "/proc/stat") return `cpu  0 0 0 ${ticks += 100} 0 0 0 0\n`;
    if (path === "/proc/meminfo") return "MemTotal: 100 kB\nMemAvailable: 90 kB\n";
    return undefined;
  };
}

async function openDump(directory: string, asLayotto = false): Promise<Dump> {
  const dump = new Dump({
    log,
    minIntervalS: 1,
    readSystemFile: idleSystem(),
    files: {
      directory,
      fileBytes: 1 << 28,
      fileAgeMs: 1e9,
      maxBytes: 1 << 28,
      minFreeBytes: 0,
      asLayotto,
    },
    maxQueueBytes: 1 << 24,
  });
  await dump.writer.ready();
  return dump;
}

/** Opens a window that stays. */
async function openWindow(dump: Dump): Promise<void> {
  dump.sampling.update("app", { ...STRATEGY, interval: 2, duration: 1 });
  dump.sampling.start();
  while (dump.window === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
  dump.sampling.update("app", STRATEGY);
}

/** A service that echoes until the client has finished, then says "end". */
function startEcho(): { port: number; close(): void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  (async () => {
    for await (const conn of listener) {
      (async () => {
        const buffer = new Uint8Array(65_536);
        for (;;) {
          const count = await conn.read(buffer);
          if (count === null) break;
          await writeAll(conn, buffer.subarray(0, count));
        }
        await writeAll(conn, new TextEncoder().encode("end"));
        conn.close();
      })();
    }
  })();
  return { port: listener.addr.port, close: () => listener.close() };
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Sends all, finishes, and returns all that comes. */
async function talk(port: number, bytes: Uint8Array): Promise<Uint8Array> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const writing = writeAll(conn, bytes).then(() => conn.closeWrite()).catch(() => {});
  const got: number[] = [];
  const buffer = new Uint8Array(65_536);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    for (const byte of buffer.subarray(0, count)) got.push(byte);
  }
  await writing;
  conn.close();
  return new Uint8Array(got);
}

async function withProxy(
  filters: NetworkFilter[],
  use: (proxy: Proxy) => Promise<void>,
  options: Partial<ProxyOptions> = {},
): Promise<void> {
  const service = startEcho();
  const proxy = new Proxy({
    hostname: "127.0.0.1",
    port: 0,
    upstream: { hostname: "127.0.0.1", port: service.port },
    filters: new FilterChain(filters),
    log,
    maxConnections: 10,
    ...options,
  });
  const running = proxy.run();
  try {
    await use(proxy);
  } finally {
    proxy.close();
    service.close();
    await running;
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("a proxy with a dump: byte-exact both ways, and dumped byte-exact", async () => {
  const directory = await Deno.makeTempDir();
  const dump = await openDump(directory);
  await openWindow(dump);
  const sent = crypto.getRandomValues(new Uint8Array(65_536));
  const much = new Uint8Array(20 * sent.length);
  for (let at = 0; at < much.length; at += sent.length) much.set(sent, at);
  await withProxy([new DumpFilter(dump, 8080)], async (proxy) => {
    const answers = await Promise.all([much, sent.subarray(0, 5)].map((b) => talk(proxy.port, b)));
    assert.deepEqual(answers[0].subarray(0, much.length), much);
    assert.equal(text(answers[0].subarray(much.length)), "end");
    assert.equal(answers[1].length, 8);
  });
  await dump.close();
  const streams = [...streamsOf(await readRecords(directory)).values()];
  assert.deepEqual(streams.map(({ bytes }) => bytes).sort(), [much.length, 5].sort());
  assert.ok([...Deno.readDirSync(directory)].some(({ name }) => name.endsWith(".pcapng")));
  await Deno.remove(directory, { recursive: true });
});

Deno.test("clients by IPv6 keep apart in the pcapng, and their addresses stand in the index", async () => {
  const directory = await Deno.makeTempDir();
  const dump = await openDump(directory);
  await openWindow(dump);
  const filter = new DumpFilter(dump, 8080);
  const clients = ["2001:db8::1", "2001:db8::2", "::ffff:192.0.2.7", "192.0.2.8"];
  clients.forEach((clientAddress, index) => {
    const context = {
      connectionId: index + 1,
      clientAddress,
      clientPort: 5000,
      port: 8080,
      repliedBytes: 0,
      values: new Map(),
      reply: () => Promise.resolve(),
    };
    for (const bytes of ["ab", "c"]) {
      filter.onData(context, new TextEncoder().encode(`${bytes}${index}`));
    }
    filter.onClose(context);
  });
  await dump.close();
  const records = await readRecords(directory);
  const named = ["[2001:db8::1]", "[2001:db8::2]", "192.0.2.7", "192.0.2.8"];
  assert.deepEqual(
    records.map(({ client, bytes }) => `${client} ${text(bytes)}`),
    named.flatMap((name, index) => [`${name}:5000 ab${index}`, `${name}:5000 c${index}`]),
  );
  const pcapng = [...Deno.readDirSync(directory)].find(({ name }) => name.endsWith(".pcapng"));
  using recording = openRecording([`${directory}/${pcapng?.name}`]);
  const packet = new Packet();
  const streams = new Map<string, string>();
  while (recording.next() === Next.Packet) {
    const { bytes, view, offset, capturedLength } = recording;
    assert.equal(packet.parseIp(bytes, view, offset, capturedLength), ParseResult.Tcp);
    const from = formatIpv4(packet.sourceAddress);
    const { payloadOffset, payloadLength } = packet;
    const data = text(bytes.subarray(payloadOffset, payloadOffset + payloadLength));
    streams.set(from, (streams.get(from) ?? "") + data);
  }
  assert.deepEqual([...streams.values()], ["ab0c0", "ab1c1", "ab2c2", "ab3c3"]);
  const [one, two, ...others] = streams.keys();
  assert.match(`${one} ${two}`, /^(240\.0\.0\.\d+) (?!\1)240\.0\.0\.\d+$/);
  assert.deepEqual(others, ["192.0.2.7", "192.0.2.8"]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("filters are asked in order; stop, close and errors do what they say", async () => {
  const seen: string[] = [];
  const first: NetworkFilter = {
    onData: (context, bytes) => {
      seen.push(`first ${text(bytes)}`);
      if (text(bytes) === "fail") throw new Error("as it happens");
      if (text(bytes) === "mine") {
        return context.reply(new TextEncoder().encode("yours")).then(() => "stop");
      }
      return text(bytes) === "go away" ? "close" : "continue";
    },
  };
  const second: NetworkFilter = {
    onNewConnection: (context) => context.clientAddress === "127.0.0.1" ? "continue" : "close",
    onData: (_context, bytes) => {
      seen.push(`second ${text(bytes)}`);
      return "continue";
    },
  };
  await withProxy([first, second], async (proxy) => {
    const say = async (what: string) =>
      text(await talk(proxy.port, new TextEncoder().encode(what)));
    assert.equal(await say("hello"), "helloend");
    assert.equal(await say("mine"), "yoursend");
    await assert.doesNotReject(say("go away").catch(() => ""));
    await assert.doesNotReject(say("fail").catch(() => ""));
    assert.equal(await say("again"), "againend");
    assert.equal(proxy.counters.closedByFilter, 1);
    assert.equal(proxy.counters.filterErrors, 1);
  });
  assert.deepEqual(seen, [
    ...["first hello", "second hello", "first mine", "first go away", "first fail"],
    ...["first again", "second again"],
  ]);
});

Deno.test("a service that cannot be reached closes the client's connection", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await withProxy([], async (proxy) => {
    assert.equal(
      text(await talk(proxy.port, new Uint8Array(0)).catch(() => new Uint8Array(0))),
      "",
    );
    assert.equal(proxy.counters.unreachable, 1);
  }, { upstream: { hostname: "127.0.0.1", port } });
});

Deno.test("a connection on which nothing moves is closed and counted, one that is used is not", async () => {
  await withProxy([], async (proxy) => {
    const idle = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
    const used = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
    let isOpen = true;
    const ended = idle.read(new Uint8Array(1)).catch(() => null).then(() => isOpen = false);
    while (isOpen) {
      await writeAll(used, new TextEncoder().encode("x"));
      assert.equal(await used.read(new Uint8Array(1)), 1);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await ended;
    assert.equal(proxy.counters.idle, 1);
    assert.equal(proxy.counters.broken, 0);
    idle.close();
    used.close();
  }, { idleTimeoutMs: 2_000 });
});

Deno.test("a client that stays when its service has gone is let go", async () => {
  const leaving = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  (async () => {
    for await (const conn of leaving) conn.close();
  })();
  const { hostname, port } = leaving.addr;
  await withProxy([], async (proxy) => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
    assert.equal(await conn.read(new Uint8Array(1)), null);
    while (proxy.counters.open > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(proxy.counters.idle, 1);
    conn.close();
  }, { upstream: { hostname, port }, lingerTimeoutMs: 100 });
  leaving.close();
});

Deno.test("a module that is no filter is refused", async () => {
  await assert.rejects(loadFilter("data:text/javascript,export default 1"), /expected a default/);
  const filter = await loadFilter("data:text/javascript,export default () => ({ onData() {} })");
  assert.equal(typeof filter.onData, "function");
});

Deno.test("the endpoint: control on the socket, portrait data alone on TCP", async () => {
  const directory = await Deno.makeTempDir();
  const dump = await openDump(directory);
  const path = `${directory}/socket`;
  const endpoint = await Endpoint.open({
    dump,
    path,
    tcp: { hostname: "127.0.0.1", port: 0 },
    reload: () => "there is no file",
  });
  await assert.rejects(
    Endpoint.open({ dump, path, reload: () => undefined }),
    /is a trafficdump running already/,
  );
  const client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const ask = async (method: string, where: string, body?: unknown) => {
    const response = await fetch(`http://localhost${where}`, {
      client,
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return [response.status, JSON.stringify(await response.json())] as const;
  };
  const tcp = async (where: string, type: string, body: string) => {
    const response = await fetch(`http://127.0.0.1:${endpoint.tcpPort}${where}`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    return [response.status, await response.text()] as const;
  };
  const report = { businessType: "STATE", data: [1] };
  assert.match((await ask("POST", "/portrait", report))[1], /sampling is switched off/);
  assert.deepEqual((await ask("PUT", "/strategy/app", { ...STRATEGY, duration: 0 }))[0], 422);
  assert.equal((await ask("PUT", "/strategy/app", STRATEGY))[0], 200);
  assert.equal((await ask("GET", "/nowhere"))[0], 404);
  assert.equal((await ask("POST", "/reload"))[0], 422);
  assert.equal((await ask("POST", "/portrait", { ...report, data: "x".repeat(70_000) }))[0], 413);
  await openWindow(dump);
  assert.match((await ask("GET", "/status"))[1], /"window":"[-\w]{36}"/);
  assert.equal((await tcp("/portrait", "text/plain", JSON.stringify(report)))[0], 415);
  assert.equal((await tcp("/portrait", "application/json", "{"))[0], 400);
  assert.equal((await tcp("/portrait", "application/json", JSON.stringify(report)))[0], 202);
  assert.equal((await tcp("/status", "application/json", ""))[0], 404);
  assert.match((await ask("POST", "/portrait", report))[1], /already reported/);
  // What is no report at all is another matter than one that is not wanted now.
  const bad = { ...report, businessType: "mine", port: 0 };
  assert.equal((await ask("POST", "/portrait", report))[0], 409);
  assert.equal((await ask("POST", "/portrait", bad))[0], 422);
  assert.equal((await tcp("/portrait", "application/json", "null"))[0], 422);
  const deep = `{"businessType":"deep","data":${"[".repeat(30_000)}${"]".repeat(30_000)}}`;
  const [status, reason] = await tcp("/portrait", "application/json", deep);
  assert.equal(status, 400);
  assert.match(reason, /nested deeper than 100 levels/);
  client.close();
  await endpoint.close();
  await dump.close();
  const portrait = await Deno.readTextFile(`${directory}/dump_portrait_data.log`);
  assert.match(portrait, /^\[[-\w]{36}\]\[STATE\]\[\]\[1\]\n$/);
  await Deno.remove(directory, { recursive: true });
});

for (
  const [asLayotto, expected] of [
    [false, '{"z":12345678901234567890,"a":"<&>"}'],
    [true, '{"a":"\\u003c\\u0026\\u003e","z":12345678901234567890}'],
  ] as const
) {
  Deno.test(`portrait data ${asLayotto ? "as Layotto writes them" : "as they came"}`, async () => {
    const directory = await Deno.makeTempDir();
    const dump = await openDump(directory, asLayotto);
    const path = `${directory}/socket`;
    const endpoint = await Endpoint.open({ dump, path, reload: () => undefined });
    await openWindow(dump);
    const client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
    const response = await fetch("http://localhost/portrait", {
      client,
      method: "POST",
      body: '{"businessType":"RPC","port":8080,"data":{"z":12345678901234567890,"a":"<&>"}}',
    });
    assert.equal(response.status, 202, await response.text());
    client.close();
    await endpoint.close();
    await dump.close();
    const line = await Deno.readTextFile(`${directory}/dump_portrait_data.log`);
    assert.equal(LAYOTTO_TIME.test(line), asLayotto);
    const rest = line.replace(LAYOTTO_TIME, "").replace(/^\[[-\w]{36}\]/, "");
    assert.equal(rest, `[RPC][8080]${expected}\n`);
    await Deno.remove(directory, { recursive: true });
  });
}

Deno.test({
  name: "the endpoint's socket belongs to the group of those who report",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const directory = await Deno.makeTempDir();
    const dump = await openDump(directory);
    const path = `${directory}/socket`;
    const endpoint = await Endpoint.open({
      dump,
      path,
      mode: 0o620,
      groupId: 12345,
      reload: () => undefined,
    });
    const { uid, gid, mode } = Deno.statSync(path);
    assert.deepEqual([uid, gid, (mode ?? 0) & 0o777], [0, 12345, 0o620]);
    // Nothing else is the group's.
    Deno.writeTextFileSync(`${directory}/later`, "");
    assert.equal(Deno.statSync(`${directory}/later`).gid, Deno.gid());
    await endpoint.close();
    await dump.close();
    await Deno.remove(directory, { recursive: true });
  },
});

Deno.test("a fault while the endpoint answers is told to the caller, and ends nothing", async () => {
  const directory = await Deno.makeTempDir();
  const dump = await openDump(directory);
  const path = `${directory}/socket`;
  const endpoint = await Endpoint.open({
    dump,
    path,
    reload: () => {
      throw new TypeError("a fault");
    },
  });
  const client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const ask = async (method: string, where: string) => {
    const response = await fetch(`http://localhost${where}`, { client, method });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await ask("POST", "/reload"), 500);
  assert.equal(await ask("GET", "/status"), 200);
  assert.equal(endpoint.counters.failed, 1);
  client.close();
  await endpoint.close();
  await dump.close();
  await Deno.remove(directory, { recursive: true });
});
