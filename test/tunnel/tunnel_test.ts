import assert from "node:assert/strict";
import { Arena } from "../../ffi/arena.ts";
import { closeFd, openSocketPair, send } from "../../ffi/socket.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import { TunnelClient, type TunnelClientOptions } from "../../src/tunnel/client.ts";
import {
  encodeRequest,
  encodeVersion,
  RECORD_BYTES,
  REQUEST_BYTES,
  RequestType,
  ResponseDecoder,
} from "../../src/tunnel/codec.ts";
import { TunnelServer, type TunnelServerOptions } from "../../src/tunnel/server.ts";
import { formatIpv4 } from "../../src/wire/ipv4.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { CLIENT, TARGET, TARGET_PORT, targetPacket } from "./packets.ts";

const LOOPBACK = 0x7f000001;

/** Polls from within the loop until the condition holds; the test fails when it takes too long. */
function until(loop: EventLoop, what: string, condition: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const startMs = loop.nowMs;
    const timer = loop.every(1, () => {
      if (condition()) {
        loop.clear(timer);
        resolve();
      } else if (loop.nowMs - startMs > 5000) {
        loop.clear(timer);
        reject(new Error(`waited 5 s in vain: ${what}`));
      }
    });
  });
}

interface Received {
  clientPort: number;
  sequence: number;
  payloadLength: number;
}

/** One loop, and what is to be closed with it. */
class Bench {
  readonly loop = new EventLoop();
  readonly closed: string[] = [];
  readonly #closeables: { close(): void }[] = [];

  server(options: Partial<TunnelServerOptions> = {}): TunnelServer {
    const server = new TunnelServer({
      loop: this.loop,
      address: LOOPBACK,
      port: 0,
      onClose: (peer, reason) => this.closed.push(`${formatIpv4(peer.address)}: ${reason}`),
      ...options,
    });
    server.start();
    this.#closeables.push(server);
    return server;
  }

  client(port: number, options: Partial<TunnelClientOptions> = {}) {
    const received: Received[] = [];
    const events: string[] = [];
    const packet = new Packet();
    const client = new TunnelClient({
      loop: this.loop,
      host: LOOPBACK,
      port,
      random: () => 0,
      onRecord: (bytes, view, offset, length) => {
        assert.equal(packet.parseIp(bytes, view, offset, length), ParseResult.Tcp);
        const { destinationPort: clientPort, sequence, payloadLength } = packet;
        received.push({ clientPort, sequence, payloadLength });
      },
      onUp: (index) => events.push(`up ${index}`),
      onDown: (index, reason) => events.push(`down ${index}: ${reason}`),
      onStartFailure: (error) => events.push(`failed: ${error.message}`),
      ...options,
    });
    client.connect();
    this.#closeables.push(client);
    return { client, received, events };
  }

  /** Runs the test's steps while the loop turns, then closes everything. */
  async run(steps: () => Promise<void>): Promise<void> {
    const running = this.loop.run();
    try {
      await steps();
    } finally {
      for (const closeable of this.#closeables) closeable.close();
      this.loop.stop();
      await running;
      this.loop.close();
    }
  }
}

Deno.test("records reach the one who announced the connection", async () => {
  const bench = new Bench();
  const server = bench.server();
  const a = bench.client(server.port);
  const b = bench.client(server.port, { connections: 1 });
  await bench.run(async () => {
    await until(bench.loop, "both up", () => a.client.upCount === 2 && b.client.upCount === 1);
    for (let port = 1; port <= 100; port++) {
      const { client } = port % 2 === 0 ? a : b;
      assert.equal(client.announce(CLIENT, port, TARGET, TARGET_PORT), true);
    }
    await until(bench.loop, "all announced", () => server.routes === 100);
    for (let round = 0; round < 10; round++) {
      for (let clientPort = 1; clientPort <= 100; clientPort++) {
        const payload = new Uint8Array(clientPort);
        server.forward(targetPacket({ clientPort, sequence: round, payload }));
      }
    }
    await until(bench.loop, "all received", () => a.received.length + b.received.length === 1000);
    assert.deepEqual([a.received.length, b.received.length], [500, 500]);
    assert.ok(a.received.every(({ clientPort }) => clientPort % 2 === 0));
    assert.ok(b.received.every(({ clientPort }) => clientPort % 2 === 1));
    assert.ok(a.received.every(({ clientPort, payloadLength }) => clientPort === payloadLength));
    // The records of one connection come in order.
    const ofTwo = a.received.filter(({ clientPort }) => clientPort === 2);
    assert.deepEqual(ofTwo.map(({ sequence }) => sequence), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.ok(server.stats.sendCalls < 100, `${server.stats.sendCalls} send calls`);
    assert.deepEqual([server.stats.records, server.stats.dropped], [1000, 0]);
    assert.deepEqual(a.events.toSorted(), ["up 0", "up 1"]);
  });
  assert.deepEqual(bench.closed, []);
});

Deno.test("a forgotten connection is not served any more", async () => {
  const bench = new Bench();
  const server = bench.server();
  const { client, received } = bench.client(server.port);
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 2);
    client.announce(CLIENT, 1, TARGET, TARGET_PORT);
    client.announce(CLIENT, 2, TARGET, TARGET_PORT);
    client.forget(CLIENT, 1, TARGET, TARGET_PORT);
    await until(bench.loop, "forgotten", () => server.stats.forgotten === 1 && server.routes === 1);
    server.forward(targetPacket({ clientPort: 1 }));
    server.forward(targetPacket({ clientPort: 2 }));
    await until(bench.loop, "received", () => received.length > 0);
    assert.deepEqual(received.map(({ clientPort }) => clientPort), [2]);
    assert.equal(server.stats.unrouted, 1);
  });
});

Deno.test("a SYN-ACK or RST that is early is held for its route, other packets are not", async () => {
  const bench = new Bench();
  const server = bench.server();
  const { client, received } = bench.client(server.port);
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 2);
    const synAck = TcpFlag.Syn | TcpFlag.Ack;
    server.forward(targetPacket({ clientPort: 1, flags: synAck, sequence: 10 }));
    server.forward(targetPacket({ clientPort: 1, flags: synAck, sequence: 11 }));
    server.forward(targetPacket({ clientPort: 2, flags: TcpFlag.Rst, sequence: 20 }));
    server.forward(targetPacket({ clientPort: 3, flags: TcpFlag.Ack, sequence: 30 }));
    server.forward(targetPacket({ clientPort: 4, flags: TcpFlag.Syn, sequence: 40 }));
    for (let port = 1; port <= 4; port++) client.announce(CLIENT, port, TARGET, TARGET_PORT);
    await until(bench.loop, "held ones delivered", () => received.length === 2);
    assert.deepEqual(received.map(({ sequence }) => sequence).toSorted(), [11, 20]);
    assert.deepEqual(
      [server.stats.held, server.stats.heldDelivered, server.stats.unrouted],
      [3, 2, 2],
    );
  });
});

Deno.test("after a restart of intercept the client comes back and announces anew", async () => {
  const bench = new Bench();
  const first = bench.server();
  const { port } = first;
  const { client, received, events } = bench.client(port, {
    routes: (index, announce) => {
      for (let clientPort = 1; clientPort <= 20; clientPort++) {
        if (client.connectionIndexOf(CLIENT, clientPort) !== index) continue;
        assert.equal(announce(CLIENT, clientPort, TARGET, TARGET_PORT), true);
      }
    },
  });
  await bench.run(async () => {
    await until(bench.loop, "routes at the first", () => first.routes === 20);
    first.close();
    await until(bench.loop, "down", () => client.upCount === 0);
    assert.equal(client.announce(CLIENT, 21, TARGET, TARGET_PORT), false);
    await until(bench.loop, "a few attempts", () => client.stats.attempts >= 6);
    const second = bench.server({ port });
    await until(bench.loop, "routes at the second", () => second.routes === 20);
    second.forward(targetPacket({ clientPort: 7, sequence: 70 }));
    await until(bench.loop, "received", () => received.length === 1);
    assert.deepEqual(received[0], { clientPort: 7, sequence: 70, payloadLength: 0 });
  });
  assert.deepEqual(events.toSorted(), [
    "down 0: closed by intercept",
    "down 1: closed by intercept",
    "up 0",
    "up 0",
    "up 1",
    "up 1",
  ]);
});

Deno.test("the routes of a peer that is gone are gone, those of the others stay", async () => {
  const bench = new Bench();
  const server = bench.server();
  const a = bench.client(server.port, { connections: 1 });
  const b = bench.client(server.port, { connections: 1 });
  await bench.run(async () => {
    await until(bench.loop, "both up", () => a.client.upCount + b.client.upCount === 2);
    for (let port = 1; port <= 50; port++) a.client.announce(CLIENT, port, TARGET, TARGET_PORT);
    await until(bench.loop, "announced by a", () => server.routes === 50);
    for (let port = 41; port <= 60; port++) b.client.announce(CLIENT, port, TARGET, TARGET_PORT);
    await until(bench.loop, "announced by b", () => server.routes === 70);
    // It takes back its own route only.
    a.client.forget(CLIENT, 45, TARGET, TARGET_PORT);
    a.client.close();
    await until(bench.loop, "closed", () => server.connections === 1);
    assert.equal(server.routes, 20);
    server.forward(targetPacket({ clientPort: 1 }));
    server.forward(targetPacket({ clientPort: 45 }));
    await until(bench.loop, "received", () => b.received.length === 1);
    assert.deepEqual(bench.closed, ["127.0.0.1: closed by the peer"]);
  });
});

Deno.test("nobody listening: one clear error, then silence and slower attempts", async () => {
  const bench = new Bench();
  const unused = bench.server();
  const { port } = unused;
  unused.close();
  const { client, events } = bench.client(port, { connections: 3 });
  await bench.run(async () => {
    await until(bench.loop, "attempts", () => client.stats.attempts >= 9);
    assert.deepEqual(events, [
      `failed: tunnel to 127.0.0.1:${port}: connect failed: ECONNREFUSED (Connection refused)`,
    ]);
    // Without jitter at its least: 50 ms, then 100 ms before the third attempt.
    assert.ok(bench.loop.nowMs >= 150, `${bench.loop.nowMs} ms`);
  });
});

/** Connects with plain Deno, sends bytes and reads until the other side closes. */
async function sendRaw(port: number, ...chunks: Uint8Array[]): Promise<number> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  for (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) at += await connection.write(chunk.subarray(at));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  let total = 0;
  const buffer = new Uint8Array(1000);
  for (;;) {
    const count = await connection.read(buffer).catch(() => null);
    if (count === null) break;
    total += count;
  }
  connection.close();
  return total;
}

function hello(...requests: Parameters<typeof encodeRequest>[2][]): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES * (1 + requests.length));
  const view = new DataView(bytes.buffer);
  encodeVersion(view, 0);
  requests.forEach((type, i) =>
    encodeRequest(view, REQUEST_BYTES * (i + 1), type, CLIENT, i, TARGET, TARGET_PORT)
  );
  return bytes;
}

Deno.test("peers that do not speak the protocol are sent away, the others stay", async () => {
  const bench = new Bench();
  const server = bench.server();
  const { client } = bench.client(server.port);
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 2);
    await sendRaw(server.port, new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    const otherVersion = hello();
    otherVersion[7] = 7;
    await sendRaw(server.port, otherVersion);
    const bytes = hello(RequestType.Announce, 99);
    await sendRaw(server.port, ...[...bytes].map((byte) => Uint8Array.of(byte)));
    assert.equal(client.upCount, 2);
  });
  assert.equal(server.stats.protocolErrors, 3);
  assert.equal(server.stats.announced, 1);
  assert.match(bench.closed[0], /expected the version message first/);
  assert.match(bench.closed[1], /expected protocol version 6, the peer speaks 7/);
  assert.match(bench.closed[2], /got type 99/);
});

/** Announces a connection and has a record sent for it: from then on the client is of use. */
async function makeUseful(bench: Bench, server: TunnelServer, client: TunnelClient, port: number) {
  const before = server.stats.records;
  client.announce(CLIENT, port, TARGET, TARGET_PORT);
  await until(bench.loop, "announced", () => {
    server.forward(targetPacket({ clientPort: port }));
    return server.stats.records > before;
  });
}

Deno.test("strangers that only say hello make room for each other, not a tcpcopy for them", async () => {
  const bench = new Bench();
  const server = bench.server({ admission: { maxConnections: 4 } });
  const tcpcopy = bench.client(server.port, { connections: 1 });
  await bench.run(async () => {
    await until(bench.loop, "up", () => tcpcopy.client.upCount === 1);
    await makeUseful(bench, server, tcpcopy.client, 5);
    const strangers: Deno.TcpConn[] = [];
    for (let i = 0; i < 10; i++) {
      strangers.push(await Deno.connect({ hostname: "127.0.0.1", port: server.port }));
      await strangers[i].write(hello());
    }
    await until(bench.loop, "ten hellos", () => server.stats.accepted === 11);
    assert.deepEqual([server.stats.evicted, server.connections], [7, 4]);
    // Another tcpcopy still gets in.
    const second = bench.client(server.port, { connections: 1 });
    await until(bench.loop, "second up", () => second.client.upCount === 1);
    await makeUseful(bench, server, second.client, 6);
    assert.deepEqual([tcpcopy.client.stats.lost, second.client.stats.lost], [0, 0]);
    for (const stranger of strangers) stranger.close();
  });
});

Deno.test("when all are of use, the surplus is turned away", async () => {
  const bench = new Bench();
  const refused: string[] = [];
  const server = bench.server({
    admission: { maxConnections: 2 },
    onRefuse: (_, reason) => refused.push(reason),
  });
  const clients = [5, 6].map((port) => ({
    port,
    ...bench.client(server.port, { connections: 1 }),
  }));
  await bench.run(async () => {
    for (const { client, port } of clients) {
      await until(bench.loop, "up", () => client.upCount === 1);
      await makeUseful(bench, server, client, port);
    }
    assert.equal(await sendRaw(server.port), 0);
    assert.deepEqual([server.stats.refused, server.connections], [1, 2]);
    assert.deepEqual(refused, ["there are too many, and all are in use"]);
  });
});

Deno.test("only those of the allowed networks are let in", async () => {
  const bench = new Bench();
  const refused: string[] = [];
  const server = bench.server({
    admission: { allow: Int32Array.of(0x7f000002, -1) },
    onRefuse: ({ address }, reason) => refused.push(`${formatIpv4(address)}: ${reason}`),
  });
  const open = bench.server({
    admission: { allow: Int32Array.of(0x0a000000, 0xff000000 | 0, 0x7f000000, -256) },
  });
  const { client } = bench.client(open.port, { connections: 1 });
  await bench.run(async () => {
    assert.equal(await sendRaw(server.port), 0);
    assert.deepEqual(refused, ["127.0.0.1: its address is not among those of --allow"]);
    assert.deepEqual([server.stats.refused, server.stats.accepted], [1, 0]);
    await until(bench.loop, "up", () => client.upCount === 1 && open.connections === 1);
  });
});

Deno.test("a connection announced by several is served to each, and nobody takes it away", async () => {
  const bench = new Bench();
  const server = bench.server();
  const tcpcopy = bench.client(server.port, { connections: 1 });
  const stranger = bench.client(server.port, { connections: 1 });
  await bench.run(async () => {
    await until(
      bench.loop,
      "both up",
      () => tcpcopy.client.upCount + stranger.client.upCount === 2,
    );
    // Before, and afterwards again and again.
    stranger.client.announce(CLIENT, 7, TARGET, TARGET_PORT);
    await until(bench.loop, "by the stranger", () => server.routes === 1);
    // Its answer is faster than the announcement.
    server.forward(targetPacket({ clientPort: 7, flags: TcpFlag.Syn | TcpFlag.Ack, sequence: 1 }));
    tcpcopy.client.announce(CLIENT, 7, TARGET, TARGET_PORT);
    await until(bench.loop, "by tcpcopy", () => server.routes === 2);
    for (let i = 0; i < 10; i++) stranger.client.announce(CLIENT, 7, TARGET, TARGET_PORT);
    await until(bench.loop, "again", () => server.stats.announced === 12);
    server.forward(targetPacket({ clientPort: 7, sequence: 2 }));
    stranger.client.forget(CLIENT, 7, TARGET, TARGET_PORT);
    await until(bench.loop, "forgotten", () => server.routes === 1);
    server.forward(targetPacket({ clientPort: 7, sequence: 3 }));
    await until(bench.loop, "received", () => tcpcopy.received.length === 3);
    assert.deepEqual(tcpcopy.received.map(({ sequence }) => sequence), [1, 2, 3]);
    assert.deepEqual(stranger.received.map(({ sequence }) => sequence), [1, 2]);
  });
});

Deno.test("when there are too many routes, the address that has most gives some up", async () => {
  const bench = new Bench();
  const server = bench.server({ maxRoutes: 1000 });
  const memory = new Arena(REQUEST_BYTES * 1001);
  const ends: number[] = [];
  /** Somebody at an address announces connections of its own; returns from which port on. */
  const announce = (address: number, count: number): number => {
    const firstPort = 10_000 * (ends.length + 1);
    const [ours, theirs] = openSocketPair("peer of a test");
    ends.push(ours);
    server.adopt(theirs, { address, port: 1 });
    encodeVersion(memory.view, 0);
    for (let i = 0; i < count; i++) {
      const at = REQUEST_BYTES * (i + 1);
      const port = firstPort + i;
      encodeRequest(memory.view, at, RequestType.Announce, CLIENT, port, TARGET, TARGET_PORT);
    }
    const bytes = REQUEST_BYTES * (count + 1);
    assert.equal(send(ours, memory.address, bytes), bytes);
    return firstPort;
  };
  await bench.run(async () => {
    // Each of the strangers has less than tcpcopy, both together have more.
    const [tcpcopyAddress, strangers] = [1, 2];
    const port = announce(tcpcopyAddress, 400);
    announce(strangers, 350);
    await until(bench.loop, "750 routes", () => server.routes === 750);
    announce(strangers, 350);
    await until(bench.loop, "all announced", () => server.stats.announced === 1100);
    assert.deepEqual([server.routes, server.routesEvicted], [1000, 100]);
    const before = server.stats.records;
    for (let i = 0; i < 400; i++) server.forward(targetPacket({ clientPort: port + i }));
    assert.equal(server.stats.records - before, 400, "tcpcopy has lost a route");
    for (const fd of ends) closeFd(fd);
    await until(bench.loop, "all gone", () => server.routes === 0);
  });
  memory.free();
});

Deno.test("a peer that does not read loses records, another gets all of its own", async () => {
  const bench = new Bench();
  const server = bench.server({ outputBytes: 8192 });
  const good = bench.client(server.port, { connections: 1 });
  await bench.run(async () => {
    const slow = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await slow.write(hello(RequestType.Announce)); // client port 0
    await until(bench.loop, "good one up", () => good.client.upCount === 1);
    good.client.announce(CLIENT, 5, TARGET, TARGET_PORT);
    await until(bench.loop, "both announced", () => server.routes === 2);
    const forSlow = targetPacket({ clientPort: 0 });
    const forGood = targetPacket({ clientPort: 5 });
    let sentToGood = 0;
    for (let i = 0; i < 400_000 && server.stats.dropped < 1000; i++) {
      server.forward(forSlow);
      if (i % 200 !== 0) continue;
      server.forward(forGood);
      sentToGood++;
    }
    assert.equal(server.stats.dropped, 1000);
    await until(bench.loop, "good one has all", () => good.received.length === sentToGood);
    // When the slow one reads again it finds whole frames, with every record that was taken.
    const expected = server.stats.records - sentToGood;
    const decoder = new ResponseDecoder("combined", RECORD_BYTES, () => {});
    const buffer = new Uint8Array(65536);
    const view = new DataView(buffer.buffer);
    while (decoder.records < expected) {
      const count = await slow.read(buffer);
      assert.ok(count !== null && decoder.feed(buffer, view, 0, count), decoder.error);
    }
    slow.close();
    await until(bench.loop, "slow one gone", () => server.connections === 1);
  });
});

Deno.test("a full output buffer refuses announcements, and loses none it has taken", async () => {
  const bench = new Bench();
  const server = bench.server();
  const { client } = bench.client(server.port, { connections: 1, outputBytes: 4096 });
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 1);
    // The buffer is sent early when it is full, so the kernel's buffers have to fill up as well.
    let taken = 0;
    while (taken < 2_000_000 && client.announce(CLIENT, taken & 1023, TARGET, TARGET_PORT)) taken++;
    assert.ok(taken > 292 && taken < 2_000_000, `${taken} taken`);
    assert.equal(client.stats.outputFull, 1);
    await until(bench.loop, "all announced", () => server.stats.announced === taken);
    assert.equal(client.announce(CLIENT, 5000, TARGET, TARGET_PORT), true);
    await until(bench.loop, "one more", () => server.stats.announced === taken + 1);
    assert.deepEqual([server.routes, server.stats.protocolErrors], [1025, 0]);
  });
});

Deno.test("a peer that says nothing is sent away", async () => {
  const bench = new Bench();
  const server = bench.server({ greetingTimeoutMs: 30 });
  const { client } = bench.client(server.port);
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 2);
    await sendRaw(server.port, hello().subarray(0, 13));
    assert.deepEqual(bench.closed, ["127.0.0.1: no version message came within 30 ms"]);
    assert.equal(client.upCount, 2);
  });
});

Deno.test("closing from within a callback is harmless", async () => {
  const bench = new Bench();
  const server = bench.server();
  let records = 0;
  const { client } = bench.client(server.port, {
    connections: 1,
    onRecord: () => {
      records++;
      client.close();
    },
  });
  const rude = bench.server({ onClose: () => rude.close() });
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 1);
    client.announce(CLIENT, 1, TARGET, TARGET_PORT);
    await until(bench.loop, "announced", () => server.routes === 1);
    for (let i = 0; i < 40; i++) server.forward(targetPacket({ clientPort: 1 }));
    await until(bench.loop, "closed", () => server.connections === 0);
    assert.equal(records, 1);
    await sendRaw(rude.port, new Uint8Array(70).fill(9));
    await until(bench.loop, "rude one gone", () => rude.stats.closed === 1);
    rude.forward(targetPacket());
  });
});

Deno.test("a client of a server with other frames says what may be wrong", async () => {
  const bench = new Bench();
  const server = bench.server({ mode: "bare" });
  const { client, events } = bench.client(server.port, { connections: 1 });
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 1);
    client.announce(CLIENT, 1, TARGET, TARGET_PORT);
    await until(bench.loop, "announced", () => server.routes === 1);
    server.forward(targetPacket({ clientPort: 1 }));
    await until(bench.loop, "down", () => client.stats.protocolErrors === 1);
  });
  assert.match(events.join(), /down 0: expected a frame of 1 to 16 records/);
});

for (const [mode, recordBytes] of [["bare", 64], ["combined", 192], ["bare", 192]] as const) {
  Deno.test(`${mode} records of ${recordBytes} bytes`, async () => {
    const bench = new Bench();
    const server = bench.server({ mode, recordBytes });
    const packet = new Packet();
    const payloads: number[] = [];
    const { client } = bench.client(server.port, {
      mode,
      recordBytes,
      onRecord: (bytes, view, offset, length) => {
        packet.parseIp(bytes, view, offset, length);
        payloads.push(packet.capturedPayloadLength);
      },
    });
    await bench.run(async () => {
      await until(bench.loop, "up", () => client.upCount === 2);
      client.announce(CLIENT, 1, TARGET, TARGET_PORT);
      await until(bench.loop, "announced", () => server.routes === 1);
      for (const length of [0, 100, 200]) {
        server.forward(targetPacket({ clientPort: 1, payload: new Uint8Array(length) }));
      }
      await until(bench.loop, "received", () => payloads.length === 3);
      assert.deepEqual(payloads, recordBytes === 192 ? [0, 100, 0] : [0, 0, 0]);
    });
  });
}

Deno.test("in single mode everything reaches the one client, announced or not", async () => {
  const bench = new Bench();
  const server = bench.server({ single: { isProtected: false } });
  const { client, events, received } = bench.client(server.port);
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 2 && server.connections === 2);
    for (let port = 1; port <= 50; port++) server.forward(targetPacket({ clientPort: port }));
    await until(bench.loop, "received", () => received.length === 50);
  });
  assert.equal(server.stats.unrouted, 0);
  assert.doesNotMatch(events.join(), /down/);
});

Deno.test("without the target's address, also an early SYN-ACK finds its way", async () => {
  const bench = new Bench();
  const server = bench.server({ anyTargetAddress: true });
  const { client, received } = bench.client(server.port);
  await bench.run(async () => {
    await until(bench.loop, "up", () => client.upCount === 2);
    server.forward(targetPacket({ clientPort: 1, flags: TcpFlag.Syn | TcpFlag.Ack }));
    client.announce(CLIENT, 1, TARGET + 1, TARGET_PORT);
    await until(bench.loop, "held", () => received.length === 1);
    server.forward(targetPacket({ clientPort: 1 }));
    await until(bench.loop, "routed", () => received.length === 2);
    client.forget(CLIENT, 1, TARGET + 1, TARGET_PORT);
    await until(bench.loop, "forgotten", () => server.routes === 0);
  });
});
