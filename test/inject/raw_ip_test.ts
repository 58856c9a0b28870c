import assert from "node:assert/strict";
import { RawSocketCapture } from "../../src/capture/raw_socket.ts";
import { RawIpInjector, type RawIpInjectorOptions } from "../../src/inject/raw_ip.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import {
  ipv4,
  LOOPBACK,
  makePacket,
  runElsewhere,
  type TestPacket,
  unusedPort,
  writePacket,
} from "../capture/packets.ts";
import { openFileCount } from "../ffi/open_files.ts";

const ignore = Deno.uid() !== 0;

function put(injector: RawIpInjector, packet: TestPacket, reserveBytes = 2000): void {
  const offset = injector.reserve(reserveBytes);
  assert.ok(offset >= 0);
  assert.equal(offset % 16, 0);
  injector.commit(writePacket(injector.bytes, injector.view, offset, packet));
}

/** Injects what `send` puts into the queue and returns the packets that arrive at the port. */
async function arrivals(
  port: number,
  options: RawIpInjectorOptions,
  send: (injector: RawIpInjector, loop: EventLoop) => void,
): Promise<{ packets: Uint8Array[]; stats: ReturnType<RawIpInjector["stats"]> }> {
  const before = openFileCount();
  const loop = new EventLoop();
  const capture = new RawSocketCapture({ pairs: [{ port }] });
  const injector = new RawIpInjector(options);
  const packets: Uint8Array[] = [];
  capture.start(loop, (bytes, _view, offset, length) => {
    packets.push(bytes.slice(offset, offset + length));
  });
  send(injector, loop);
  let seen = -1;
  loop.every(20, () => {
    if (seen === packets.length) loop.stop();
    seen = packets.length;
  });
  await loop.run();
  const stats = injector.stats();
  injector.close();
  injector.close();
  capture.close();
  loop.close();
  assert.equal(openFileCount(), before);
  return { packets, stats };
}

Deno.test({
  name: "packets arrive as written, under the source address written",
  ignore,
  async fn() {
    const port = unusedPort();
    const sent: TestPacket[] = [0, 1, 1459, 60_000].map((length, sequence) => ({
      source: ipv4(`127.0.0.${sequence + 5}`),
      destination: ipv4(`127.1.2.${sequence + 3}`),
      destinationPort: port,
      sequence,
      payload: new Uint8Array(length).fill(sequence + 1),
    }));
    const { packets, stats } = await arrivals(port, {}, (injector) => {
      for (const packet of sent) put(injector, packet, 65_535);
      assert.equal(injector.stats().queued, 4);
      injector.flush();
    });
    assert.deepEqual(packets, sent.map(makePacket));
    assert.deepEqual(stats, { sent: 4, sendCalls: 1, errors: new Map(), full: 0, queued: 0 });
  },
});

Deno.test({
  name: "a queue far smaller than the stream keeps every packet, in order",
  ignore,
  async fn() {
    const port = unusedPort();
    const sizes = Array.from({ length: 3000 }, (_, index) => (index * 7919) % 1400);
    const { packets, stats } = await arrivals(
      port,
      { queuePackets: 37, queueBytes: 65_535 },
      (injector, loop) => {
        for (const [sequence, size] of sizes.entries()) {
          const payload = new Uint8Array(size).fill(sequence);
          put(injector, { destinationPort: port, sequence, payload });
          if (sequence % 50 === 0) injector.flush();
        }
        loop.onTurnEnd(() => injector.flush());
      },
    );
    assert.equal(packets.length, 3000);
    packets.forEach((packet, sequence) => {
      const payload = new Uint8Array(sizes[sequence]).fill(sequence);
      assert.deepEqual(packet, makePacket({ destinationPort: port, sequence, payload }));
    });
    assert.equal(stats.sent, 3000);
    assert.ok(stats.sendCalls < 300, `${stats.sendCalls} calls`);
  },
});

Deno.test({
  name: "a packet that the kernel refuses costs only itself",
  ignore,
  async fn() {
    const port = unusedPort();
    const { packets, stats } = await arrivals(port, {}, (injector) => {
      for (let sequence = 0; sequence < 20; sequence++) {
        // The broadcast address needs a socket option that the injector does not set.
        const destination = sequence % 5 === 0 ? ipv4("255.255.255.255") : LOOPBACK;
        put(injector, { destination, destinationPort: port, sequence });
      }
      // An IP header length that goes beyond the packet.
      const offset = injector.reserve(40);
      const length = writePacket(injector.bytes, injector.view, offset, { destinationPort: port });
      injector.bytes[offset] = 0x4f;
      injector.commit(length);
      put(injector, { destinationPort: port, sequence: 21 });
      injector.flush();
    });
    const sequences = packets.map((packet) => new DataView(packet.buffer).getInt32(24));
    const expected = Array.from({ length: 20 }, (_, index) => index).filter((n) => n % 5 !== 0);
    assert.deepEqual(sequences, [...expected, 21]);
    assert.equal(stats.sent, 17);
    assert.deepEqual(stats.errors, new Map([["EACCES", 4], ["EINVAL", 1]]));
  },
});

Deno.test({
  name: "wrong use is refused",
  ignore,
  fn() {
    assert.throws(() => new RawIpInjector({ queueBytes: 1000 }), RangeError);
    assert.throws(() => new RawIpInjector({ queuePackets: 0 }), RangeError);
    const injector = new RawIpInjector();
    assert.throws(() => injector.reserve(19), RangeError);
    assert.throws(() => injector.reserve(65_536), RangeError);
    assert.throws(() => injector.commit(40), /without room reserved/);
    injector.reserve(100);
    assert.throws(() => injector.commit(101), /101 bytes was committed; room was reserved for/);
    assert.throws(() => injector.commit(19), RangeError);
    // Room that was reserved and not used is simply given again.
    assert.equal(injector.reserve(100), injector.reserve(200));
    injector.close();
    injector.flush();
  },
});

/** A link of 16 Mbit/s behind a send buffer of a few packets, and more than it can take. */
const SLOW_LINK = `
  import { RawIpInjector } from "./src/inject/raw_ip.ts";
  import { PcapDeviceCapture } from "./src/capture/pcap_device.ts";
  import { EventLoop } from "./src/loop/event_loop.ts";
  import { ipv4, makePacket, writePacket } from "./test/capture/packets.ts";
  const run = (command, ...args) => {
    const { success, stderr } = new Deno.Command(command, { args }).outputSync();
    if (!success) throw new Error(command + ": " + new TextDecoder().decode(stderr));
  };
  run("ip", "link", "add", "left", "type", "veth", "peer", "name", "right");
  run("ip", "link", "set", "left", "up");
  run("ip", "link", "set", "right", "up");
  run("ip", "addr", "add", "198.18.0.1/24", "dev", "left");
  run("ip", "neigh", "add", "198.18.0.2", "lladdr", "02:00:00:00:00:02", "dev", "left");
  run("tc", "qdisc", "add", "dev", "left", "root", "tbf",
    "rate", "16mbit", "burst", "10k", "limit", "10m");
  const packet = (sequence) => ({
    destination: ipv4("198.18.0.2"), destinationPort: 80, sequence,
    payload: new Uint8Array(400 + sequence * 7919 % 1000).fill(sequence),
  });
  const hex = (bytes) => bytes.subarray(12).toHex();
  for (const limits of [{ queuePackets: 20 }, { queueBytes: 65535 }]) {
    const loop = new EventLoop();
    const capture = new PcapDeviceCapture({ device: "right", filter: "tcp dst port 80",
      promiscuous: true });
    const arrived = [];
    capture.start(loop, (bytes, _view, offset, length) =>
      arrived.push(hex(bytes.slice(offset + 14, offset + length))));
    const injector = new RawIpInjector({ loop, sendBufferBytes: 5000, ...limits });
    const accepted = [];
    let sequence = 0;
    let most = 0;
    const timer = loop.every(2, () => {
      for (let count = 0; count < 10; count++, sequence++) {
        const offset = injector.reserve(1440);
        if (offset < 0) continue;
        injector.commit(writePacket(injector.bytes, injector.view, offset, packet(sequence)));
        accepted.push(hex(makePacket(packet(sequence))));
      }
      injector.flush();
      most = Math.max(most, injector.stats().queued);
      if (sequence >= 600) loop.clear(timer);
    });
    let before = -1;
    loop.every(100, () => {
      if (before === arrived.length) loop.stop();
      before = arrived.length;
    });
    await loop.run();
    const { sent, full, queued, errors } = injector.stats();
    console.log(JSON.stringify({ accepted: accepted.length, most, sent, full, queued,
      errors: errors.size, same: arrived.join() === accepted.join() }));
    injector.close(); capture.close(); loop.close();
  }`;

Deno.test({
  name: "what a slow link cannot take is kept, refused when the queue is full, and sent later",
  ignore,
  async fn() {
    const output = await runElsewhere(["unshare", "-n"], SLOW_LINK);
    const results = output.trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(results.length, 2);
    for (const result of results) {
      assert.ok(result.accepted > 100 && result.accepted < 600, output);
      assert.equal(result.full, 600 - result.accepted);
      assert.deepEqual(
        [result.sent, result.queued, result.errors, result.same],
        [result.accepted, 0, 0, true],
        output,
      );
    }
    assert.ok(results[0].most > 10 && results[0].most <= 20, output);
    assert.ok(results[1].most > 40 && results[1].most < 150, output);
  },
});
