import assert from "node:assert/strict";
import { EventLoop } from "../../src/loop/event_loop.ts";
import { TunnelClient } from "../../src/tunnel/client.ts";
import { encodeVersion, REQUEST_BYTES } from "../../src/tunnel/codec.ts";
import { DEFAULT_TUNNEL_FORM } from "../../src/tunnel/form.ts";
import { TunnelListener } from "../../src/tunnel/listener.ts";
import { TunnelServer } from "../../src/tunnel/server.ts";
import { SplitConnection } from "../../src/tunnel/splitter.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { partitionOf } from "../../src/wire/partition.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { CLIENT, TARGET, TARGET_PORT, targetPacket } from "./packets.ts";

const LOOPBACK = 0x7f000001;
const WORKERS = 3;
const GIVE_UP_MS = 10_000;

/** The servers of several workers behind one listener, all on one loop. */
class Bench {
  readonly loop = new EventLoop();
  readonly ends: string[] = [];
  greeted = 0;
  readonly servers: TunnelServer[];
  readonly #listener: TunnelListener;
  readonly #splits: SplitConnection[] = [];

  constructor(outputBytes?: number, greetingTimeoutMs = GIVE_UP_MS) {
    const { loop } = this;
    this.servers = Array.from(
      { length: WORKERS },
      () => new TunnelServer({ loop, address: LOOPBACK, port: 0, outputBytes }),
    );
    this.#listener = new TunnelListener(loop, LOOPBACK, 0, (fd, peer) => {
      const split = new SplitConnection(
        {
          loop,
          workers: WORKERS,
          form: DEFAULT_TUNNEL_FORM,
          greetingTimeoutMs,
          hand: (worker, branch) => this.servers[worker].adopt(branch, peer),
          onGreeted: () => this.greeted++,
          onEnd: (_, reason) => this.ends.push(reason),
        },
        fd,
        peer,
      );
      this.#splits.push(split);
      split.start();
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Looks at the condition from within the loop until it holds. */
  async until(what: string, condition: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = this.loop.every(1, () => condition() && resolve());
    const giveUp = this.loop.after(GIVE_UP_MS, () => reject(new Error(`waited in vain: ${what}`)));
    await promise.finally(() => {
      this.loop.clear(timer);
      this.loop.clear(giveUp);
    });
  }

  close(): void {
    this.#listener.close();
    for (const each of [...this.#splits, ...this.servers]) each.close();
  }
}

async function onBench(bench: Bench, work: () => Promise<void>): Promise<void> {
  const running = bench.loop.run();
  try {
    await Promise.race([work(), running]);
  } finally {
    bench.close();
    bench.loop.stop();
    await running;
    bench.loop.close();
  }
}

Deno.test("each worker serves the connections of its client ports over one tunnel", async () => {
  const before = openFileCount();
  const bench = new Bench();
  await onBench(bench, async () => {
    const ports = Array.from({ length: 3000 }, (_, i) => 32_768 + 2 * i);
    const received: [number, number][] = [];
    const packet = new Packet();
    const client = new TunnelClient({
      ...{ loop: bench.loop, host: LOOPBACK, port: bench.port, connections: 1 },
      onRecord: (bytes, view, offset, length) => {
        assert.equal(packet.parseIp(bytes, view, offset, length), ParseResult.Tcp);
        received.push([packet.destinationPort, packet.sequence]);
      },
      // More than is read at a time.
      routes: (_, announce) => {
        for (const port of ports) assert.ok(announce(CLIENT, port, TARGET, TARGET_PORT));
      },
    });
    client.connect();
    const announced = () => bench.servers.reduce((sum, server) => sum + server.stats.announced, 0);
    await bench.until("announcements", () => announced() === ports.length);
    assert.ok(bench.servers.every((server) => server.routes > 900));
    for (const sequence of [1, 2]) {
      for (const clientPort of ports) {
        bench.servers[partitionOf(clientPort, WORKERS)].forward(
          targetPacket({ clientPort, sequence }),
        );
      }
    }
    await bench.until("records", () => received.length === 2 * ports.length);
    for (const port of ports) {
      const sequences = received.filter(([of]) => of === port).map(([, sequence]) => sequence);
      assert.deepEqual(sequences, [1, 2]);
    }
    for (const port of ports) client.forget(CLIENT, port, TARGET, TARGET_PORT);
    await bench.until("routes gone", () => bench.servers.every((server) => server.routes === 0));
    client.close();
    await bench.until("the end", () => bench.ends.length === 1);
    assert.deepEqual(bench.ends, ["closed by the peer"]);
    await bench.until("its branches' end", () => bench.servers.every((s) => s.connections === 0));
  });
  assert.equal(openFileCount(), before);
});

Deno.test("frames stay whole when tcpcopy reads slowly; what has no room is dropped", async () => {
  const bench = new Bench(64 << 10);
  await onBench(bench, async () => {
    using slow = await Deno.connect({ hostname: "127.0.0.1", port: bench.port });
    const greeting = new Uint8Array(REQUEST_BYTES * 4);
    const view = new DataView(greeting.buffer);
    encodeVersion(view, 0);
    const ports = [0, 1, 2].map((part) => {
      let port = 40_000;
      while (partitionOf(port, WORKERS) !== part) port++;
      return port;
    });
    ports.forEach((port, i) => {
      const at = REQUEST_BYTES * (i + 1);
      view.setInt32(at, CLIENT);
      view.setUint16(at + 4, port);
      view.setUint16(at + 6, 1);
      view.setInt32(at + 8, TARGET);
      view.setUint16(at + 12, TARGET_PORT);
    });
    // In pieces that are no whole requests.
    for (let at = 0; at < greeting.length; at += 5) await slow.write(greeting.slice(at, at + 5));
    await bench.until("routes", () => bench.servers.every((server) => server.routes === 1));
    const records = () => bench.servers.reduce((sum, { stats }) => sum + stats.records, 0);
    const dropped = () => bench.servers.reduce((sum, { stats }) => sum + stats.dropped, 0);
    const burst = bench.loop.every(1, () => {
      for (let i = 0; i < 600; i++) {
        const clientPort = ports[i % 3];
        bench.servers[i % 3].forward(targetPacket({ clientPort, sequence: i }));
      }
    });
    await bench.until("drops", () => dropped() > 1000);
    bench.loop.clear(burst);
    const sent = records();
    const stream = new Uint8Array(sent * 66);
    let length = 0;
    let count = 0;
    for (let at = 0; count < sent;) {
      const got = await slow.read(stream.subarray(length));
      assert.ok(got !== null && got > 0);
      length += got;
      const all = new DataView(stream.buffer, 0, length);
      while (at + 2 <= length && at + 2 + 64 * all.getUint16(at) <= length) {
        const inFrame = all.getUint16(at);
        assert.ok(inFrame >= 1 && inFrame <= 16, `${inFrame} records`);
        for (let i = 0; i < inFrame; i++) assert.equal(all.getUint8(at + 2 + 64 * i), 0x45);
        count += inFrame;
        at += 2 + 64 * inFrame;
      }
    }
    assert.equal(count, sent);
  });
});

Deno.test("a peer that does not speak the protocol is sent away, the others stay", async () => {
  const bench = new Bench();
  await onBench(bench, async () => {
    using good = await Deno.connect({ hostname: "127.0.0.1", port: bench.port });
    const version = new Uint8Array(REQUEST_BYTES);
    encodeVersion(new DataView(version.buffer), 0);
    await good.write(version);
    await good.write(new Uint8Array(1)); // the beginning of a request
    using bad = await Deno.connect({ hostname: "127.0.0.1", port: bench.port });
    await bad.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
    assert.equal(await bad.read(new Uint8Array(1)).catch(() => null), null);
    assert.match(
      bench.ends.join(),
      /^expected the version message first, got type \d+ for [\d.:]+$/,
    );
    await bench.until("one is left", () => bench.servers.every((s) => s.connections === 1));
    // One that says hello and then something else is found out by a worker.
    using worse = await Deno.connect({ hostname: "127.0.0.1", port: bench.port });
    await worse.write(version);
    await worse.write(new Uint8Array(REQUEST_BYTES).fill(9));
    assert.equal(await worse.read(new Uint8Array(1)).catch(() => null), null);
    assert.equal(bench.ends[1], "what it sent is not the protocol");
    await bench.until("one is left again", () => bench.servers.every((s) => s.connections === 1));
    assert.equal(bench.greeted, 2);
  });
});

Deno.test("the workers never hear of a peer that says nothing, or only hello", async () => {
  const bench = new Bench(undefined, 30);
  await onBench(bench, async () => {
    using silent = await Deno.connect({ hostname: "127.0.0.1", port: bench.port });
    await silent.write(new Uint8Array(REQUEST_BYTES - 1));
    assert.equal(await silent.read(new Uint8Array(1)).catch(() => null), null);
    assert.deepEqual(bench.ends, ["no version message came within 30 ms"]);
    assert.equal(bench.greeted, 0);
    using idle = await Deno.connect({ hostname: "127.0.0.1", port: bench.port });
    const version = new Uint8Array(REQUEST_BYTES);
    encodeVersion(new DataView(version.buffer), 0);
    await idle.write(version);
    await bench.until("hello", () => bench.greeted === 1);
    assert.ok(bench.servers.every((server) => server.connections + server.stats.closed === 0));
  });
});
