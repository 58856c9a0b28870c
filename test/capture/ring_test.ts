import assert from "node:assert/strict";
import { RingCapture } from "../../src/capture/ring.ts";
import { RawIpInjector } from "../../src/inject/raw_ip.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { isInPartition } from "../../src/wire/partition.ts";
import { seqDiff } from "../../src/wire/sequence.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { openFileCount } from "../ffi/open_files.ts";
import {
  ipv4,
  LOOPBACK,
  runElsewhere,
  talk,
  type TestPacket,
  UNPRIVILEGED,
  unusedPort,
  writePacket,
} from "./packets.ts";

const ignore = Deno.uid() !== 0;

/** Smallest rings: one block each. */
const SMALL = 1 << 20;

/** Writes a packet to this host; `change` may spoil its header. */
function inject(
  injector: RawIpInjector,
  packet: TestPacket,
  change?: (view: DataView, offset: number) => void,
): void {
  const offset = injector.reserve(65_535);
  assert.ok(offset >= 0);
  const length = writePacket(injector.bytes, injector.view, offset, packet);
  change?.(injector.view, offset);
  injector.commit(length);
}

/** Writes `count` packets with sequence numbers 0, 1, 2, … to a port of this host. */
function injectMany(destinationPort: number, count: number, payload = new Uint8Array(0)): void {
  const injector = new RawIpInjector();
  for (let sequence = 0; sequence < count; sequence++) {
    inject(injector, { destinationPort, sequence, payload });
  }
  injector.flush();
  assert.equal(injector.stats().sent, count);
  injector.close();
}

/** How many rings this process has in its memory. */
function mappedRings(): number {
  return Deno.readTextFileSync("/proc/self/maps").split("\n")
    .filter((line) => line.includes("socket:[")).length;
}

/** Runs a capture for a moment while `send` sends; calls back for every packet, parsed. */
async function capturing(
  capture: RingCapture,
  send: () => void | Promise<void>,
  onPacket: (packet: Packet, captured: number, original: number) => void,
): Promise<void> {
  const loop = new EventLoop();
  const packet = new Packet();
  capture.start(loop, (bytes, view, offset, captured, original, timestampUs) => {
    assert.ok(Math.abs(timestampUs / 1000 - Date.now()) < 2000);
    const result = packet.parse(capture.linkType, bytes, view, offset, captured);
    assert.equal(result, ParseResult.Tcp);
    onPacket(packet, captured, original);
  });
  const running = loop.run();
  await send();
  loop.after(20, () => loop.stop());
  await running;
  loop.close();
}

Deno.test({
  name: "a ring sees a connection's packets towards its port, whole, in order, and nothing else",
  ignore,
  async fn() {
    const before = { files: openFileCount(), rings: mappedRings() };
    const port = unusedPort();
    const capture = RingCapture.toDestinations({ pairs: [{ port, address: LOOPBACK }] });
    assert.equal(capture.linkType, LinkType.Raw);
    assert.equal(capture.bufferBytes, 192 << 20);
    let [first, streamBytes, flags, packets, largest, smallest] = [0, 0, 0, 0, 0, Infinity];
    await capturing(capture, async () => {
      const { received } = await talk(LOOPBACK, new Uint8Array(300_000).fill(7), port);
      assert.equal(received, 300_000);
      await talk(LOOPBACK, new Uint8Array(1000));
      await talk(ipv4("127.0.0.2"), new Uint8Array(1000), port);
    }, (packet, captured, original) => {
      assert.equal(captured, original);
      assert.equal(packet.destinationPort, port);
      assert.equal(packet.sourceAddress, LOOPBACK);
      packets++;
      if (packet.flags === TcpFlag.Syn) first = (packet.sequence + 1) | 0;
      const end = seqDiff(packet.sequence, first) + packet.payloadLength;
      if (packet.payloadLength > 0) streamBytes = Math.max(streamBytes, end);
      flags |= packet.flags;
      largest = Math.max(largest, captured);
      smallest = Math.min(smallest, captured);
    });
    assert.equal(streamBytes, 300_000);
    assert.equal(flags & (TcpFlag.Syn | TcpFlag.Fin), TcpFlag.Syn | TcpFlag.Fin);
    // Loopback hands segments over unsplit: packets far beyond any MTU must arrive whole.
    assert.ok(largest > 20_000 && smallest < 100, `packets of ${smallest} to ${largest} bytes`);
    assert.deepEqual(capture.stats(), { received: packets, droppedByKernel: 0 });
    assert.equal(mappedRings(), before.rings + 3);
    capture.close();
    capture.close();
    assert.deepEqual(capture.stats(), { received: packets, droppedByKernel: 0 });
    assert.deepEqual({ files: openFileCount(), rings: mappedRings() }, before);
  },
});

Deno.test({
  name: "packets of all sizes sent by turns, under way while they are read, keep their order",
  ignore,
  async fn() {
    const port = unusedPort();
    const capture = RingCapture.toDestinations({ pairs: [{ port }] });
    let expected = 0;
    let disordered = 0;
    await capturing(capture, async () => {
      // From another process, for another processor.
      await runElsewhere(
        ["env"],
        `import { RawIpInjector } from "./src/inject/raw_ip.ts";
         import { writePacket } from "./test/capture/packets.ts";
         const injector = new RawIpInjector();
         const payloads = [new Uint8Array(0), new Uint8Array(3000), new Uint8Array(500)];
         for (let sequence = 0; sequence < 20_000; sequence++) {
           // Neither the same number of each, nor always the same distance.
           const payload = payloads[(sequence * sequence >> 3) % 3];
           const packet = { destinationPort: ${port}, sequence, payload };
           injector.commit(writePacket(injector.bytes, injector.view, injector.reserve(4000), packet));
           if (sequence % 16 === 0) injector.flush();
           if (sequence % 256 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
         }
         injector.flush();`,
      );
    }, (packet) => {
      if (packet.sequence !== expected) disordered++;
      expected = packet.sequence + 1;
    });
    assert.deepEqual(capture.stats(), { received: 20_000, droppedByKernel: 0 });
    assert.equal(disordered, 0);
    capture.close();
  },
});

Deno.test({
  name:
    "a capture that begins, or goes on, among packets of all sizes leaves none out between them",
  ignore,
  async fn() {
    const port = unusedPort();
    // A process of its own, which sends all the time, on another processor.
    const sending = runElsewhere(
      ["env"],
      `import { RawIpInjector } from "./src/inject/raw_ip.ts";
       import { writePacket } from "./test/capture/packets.ts";
       const injector = new RawIpInjector();
       const payloads = [new Uint8Array(0), new Uint8Array(3000), new Uint8Array(500)];
       const endMs = Date.now() + 3000;
       for (let sequence = 0; Date.now() < endMs; sequence++) {
         const packet = { destinationPort: ${port}, sequence, payload: payloads[sequence % 3] };
         injector.commit(writePacket(injector.bytes, injector.view, injector.reserve(4000), packet));
         injector.flush();
         // Some 40,000 a second, which the rings have room for.
         for (const at = performance.now(); performance.now() - at < 0.02;);
       }`,
    );
    let isOver = false;
    sending.then(() => isOver = true, () => isOver = true);
    let [beginnings, holes] = [0, 0];
    while (!isOver) {
      const capture = RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: 24 * SMALL });
      const loop = new EventLoop();
      const packet = new Packet();
      let [count, last] = [0, -1];
      capture.start(loop, (bytes, view, offset, length) => {
        packet.parse(capture.linkType, bytes, view, offset, length);
        if (count > 0 && packet.sequence !== last + 1) holes++;
        last = packet.sequence;
        if (++count >= 30) loop.stop();
      });
      // The second time it does not begin, but goes on.
      for (const _beginning of ["start", "resume"]) {
        count = 0;
        loop.after(200, () => loop.stop());
        await loop.run();
        if (count >= 30) beginnings++;
        capture.pause();
        capture.resume();
      }
      loop.close();
      capture.close();
    }
    await sending;
    assert.ok(beginnings > 5, `${beginnings} times only enough was seen`);
    assert.equal(holes, 0);
  },
});

Deno.test({
  name: "packets of every length up to 65,535 bytes arrive whole",
  ignore,
  async fn() {
    const port = unusedPort();
    const capture = RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: 16 << 20 });
    // The limits between the rings are among them.
    const lengths = [
      40,
      175,
      176,
      177,
      178,
      1500,
      1711,
      1712,
      1713,
      1714,
      9000,
      40_000,
      65_534,
      65_535,
    ];
    const seen: number[] = [];
    const payload = new Uint8Array(65_535).map((_, index) => index * 7);
    await capturing(capture, () => {
      const injector = new RawIpInjector();
      for (const length of lengths) {
        inject(injector, { destinationPort: port, payload: payload.subarray(0, length - 40) });
      }
      injector.flush();
      assert.equal(injector.stats().sent, lengths.length);
      injector.close();
    }, (packet, captured) => {
      seen.push(captured);
      const { bytes, payloadOffset, capturedPayloadLength } = packet;
      const body = bytes.subarray(payloadOffset, payloadOffset + capturedPayloadLength);
      assert.deepEqual(body, payload.subarray(0, captured - 40));
    });
    assert.deepEqual(seen, lengths);
    capture.close();
  },
});

Deno.test({
  name: "of what is no whole TCP packet only first fragments are delivered, to be counted",
  ignore,
  async fn() {
    const port = unusedPort();
    const capture = RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: SMALL });
    const loop = new EventLoop();
    const packet = new Packet();
    const results: ParseResult[] = [];
    capture.start(loop, (bytes, view, offset, captured) => {
      results.push(packet.parse(capture.linkType, bytes, view, offset, captured));
    });
    const injector = new RawIpInjector();
    const to = { destinationPort: port };
    inject(injector, to, (view, offset) => view.setUint16(offset + 6, 0x2000));
    inject(injector, to, (view, offset) => view.setUint16(offset + 6, 0x2001));
    inject(injector, to, (view, offset) => view.setUint16(offset + 6, 0x0001));
    inject(injector, to, (view, offset) => view.setUint8(offset + 9, 17));
    inject(injector, to);
    injector.flush();
    loop.after(20, () => loop.stop());
    await loop.run();
    assert.deepEqual(results, [ParseResult.Fragment, ParseResult.Tcp]);
    injector.close();
    capture.close();
    loop.close();
  },
});

Deno.test({
  name: "what found no room in its ring is counted, what did is delivered",
  ignore,
  async fn() {
    const port = unusedPort();
    const capture = RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: SMALL });
    assert.equal(capture.bufferBytes, 3 * SMALL);
    injectMany(port, 5000);
    // A full Ethernet packet in VXLAN has this length.
    injectMany(port, 1000, new Uint8Array(1550 - 40));
    injectMany(port, 100, new Uint8Array(2000));
    injectMany(unusedPort(), 100);
    const counts = [0, 0, 0];
    await capturing(
      capture,
      () => {},
      (packet) => counts[Math.ceil(packet.payloadLength / 1600)]++,
    );
    // A block of 1 MiB has so many frames.
    assert.deepEqual(counts, [4096, 585, 15]);
    const received = 4096 + 585 + 15;
    const expected = { received, droppedByKernel: 6100 - received };
    assert.deepEqual(capture.stats(), expected);
    assert.deepEqual(capture.stats(), expected);
    capture.close();
    assert.deepEqual(capture.stats(), expected);
  },
});

Deno.test({
  name: "the ring goes round: many times its size arrives, a bounded number in each turn",
  ignore,
  async fn() {
    const port = unusedPort();
    const loop = new EventLoop();
    const capture = RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: SMALL });
    let received = 0;
    let most = 0;
    let beforeTurn = 0;
    capture.start(loop, (_bytes, view, offset) => {
      assert.equal(view.getInt32(offset + 24), received % 500);
      received++;
    });
    loop.onTurnEnd(() => {
      most = Math.max(most, received - beforeTurn);
      beforeTurn = received;
      if (received % 500 !== 0) return;
      if (received === 12_000) loop.stop();
      else injectMany(port, 500, new Uint8Array(200));
    });
    loop.after(5000, () => loop.stop());
    loop.wake();
    await loop.run();
    assert.deepEqual(capture.stats(), { received: 12_000, droppedByKernel: 0 });
    assert.ok(most <= 512, `${most} packets in one turn`);
    capture.close();
    loop.close();
  },
});

Deno.test({
  name: "the packet handler may close the capture; an error in it ends the loop",
  ignore,
  async fn() {
    const rings = mappedRings();
    const port = unusedPort();
    const loop = new EventLoop();
    const capture = RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: SMALL });
    let received = 0;
    let kept = new Uint8Array(0);
    capture.start(loop, (bytes, _view, offset) => {
      received++;
      capture.close();
      // The packet stays readable until the handler returns.
      assert.equal(bytes[offset], 0x45);
      kept = bytes as Uint8Array<ArrayBuffer>;
      loop.after(2, () => loop.stop());
    });
    injectMany(port, 10);
    await loop.run();
    assert.equal(received, 1);
    // Late access finds nothing, instead of memory that is gone.
    assert.equal(kept.length, 0);
    assert.equal(mappedRings(), rings);
    assert.equal(capture.stats().received, 1);
    assert.throws(() => capture.start(loop, () => {}), /started once, before it is closed/);

    const other = RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: SMALL });
    other.start(loop, (_bytes, view, offset) => {
      received++;
      if (view.getInt32(offset + 24) === 0) throw new Error("no more");
      loop.stop();
    });
    assert.throws(() => other.start(loop, () => {}), /started once/);
    injectMany(port, 2);
    await assert.rejects(loop.run(), /no more/);
    // The packet that caused it does not come again.
    await loop.run();
    assert.equal(received, 3);
    other.close();
    loop.close();
  },
});

Deno.test({
  name: "a device's ring keeps the headers of what the filter wants, of what comes in",
  ignore,
  async fn() {
    for (const device of ["lo", "any"]) {
      const [port, other] = [unusedPort(), unusedPort()];
      const capture = RingCapture.onDevice({
        device,
        filter: `tcp and dst port ${port}`,
        snapLength: 100,
        bufferBytes: SMALL,
      });
      const linkBytes = device === "lo" ? 14 : 0;
      assert.equal(capture.linkType, device === "lo" ? LinkType.Ethernet : LinkType.Raw);
      assert.equal(capture.bufferBytes, SMALL);
      const sequences: number[] = [];
      await capturing(capture, () => {
        injectMany(other, 10);
        injectMany(port, 500, new Uint8Array(500));
      }, (packet, captured, original) => {
        sequences.push(packet.sequence);
        assert.deepEqual([captured, original], [100, 540 + linkBytes]);
        assert.equal(packet.payloadLength, 500);
      });
      // Loopback shows a device's captors each packet twice: once as sent.
      assert.deepEqual(sequences, Array.from({ length: 500 }, (_, index) => index));
      assert.deepEqual(capture.stats(), { received: 500, droppedByKernel: 0 });
      capture.close();
    }
  },
});

Deno.test({
  name: "a device's ring without a snap length has large packets whole",
  ignore,
  async fn() {
    const port = unusedPort();
    const filter = `tcp dst port ${port}`;
    const capture = RingCapture.onDevice({ device: "lo", filter, bufferBytes: SMALL });
    let largest = 0;
    await capturing(
      capture,
      async () => void await talk(LOOPBACK, new Uint8Array(200_000), port),
      (_packet, captured, original) => {
        assert.equal(captured, original);
        largest = Math.max(largest, captured);
      },
    );
    assert.ok(largest > 20_000, `largest packet: ${largest}`);
    capture.close();
  },
});

Deno.test({
  name: "partitions: each connection is in the one its client's port belongs to",
  ignore,
  async fn() {
    const port = unusedPort();
    const count = 3;
    const shared = { bufferBytes: SMALL };
    const open = [
      (index: number) =>
        RingCapture.toDestinations({ pairs: [{ port }], ...shared, partition: { index, count } }),
      (index: number) =>
        RingCapture.onDevice({
          ...{ device: "lo", filter: `src port ${port}`, snapLength: 100 },
          ...shared,
          partition: { index, count },
        }),
    ];
    for (const [way, openPart] of open.entries()) {
      const captures = [0, 1, 2].map(openPart);
      const injector = new RawIpInjector();
      for (let client = 1; client <= 300; client++) {
        const ports = { destinationPort: port, sourcePort: client };
        inject(injector, way === 0 ? ports : { destinationPort: client, sourcePort: port });
      }
      injector.flush();
      injector.close();
      let received = 0;
      for (const [index, capture] of captures.entries()) {
        await capturing(capture, () => {}, ({ sourcePort, destinationPort }) => {
          const client = way === 0 ? sourcePort : destinationPort;
          assert.ok(isInPartition(client, { index, count }), `port ${client} in part ${index}`);
        });
        assert.ok(capture.stats().received > 70, `${capture.stats().received} packets`);
        received += capture.stats().received;
        capture.close();
      }
      assert.equal(received, 300);
    }
  },
});

Deno.test({
  name: "fan-out: each connection is in one capture of the group, with all its packets",
  ignore,
  async fn() {
    const port = unusedPort();
    const fanout = { group: Deno.pid & 0xfffe, mode: "hash" as const };
    const captures = [0, 1].map(() =>
      RingCapture.toDestinations({ pairs: [{ port }], bufferBytes: SMALL, fanout })
    );
    const injector = new RawIpInjector();
    for (let sourcePort = 1; sourcePort <= 15; sourcePort++) {
      inject(injector, { destinationPort: port, sourcePort });
      inject(injector, { destinationPort: port, sourcePort, payload: new Uint8Array(5000) });
      inject(injector, { destinationPort: port, sourcePort });
    }
    injector.flush();
    injector.close();
    const packetsOf = new Map<number, number>();
    for (const capture of captures) {
      const here = new Set<number>();
      await capturing(capture, () => {}, ({ sourcePort }) => {
        here.add(sourcePort);
        packetsOf.set(sourcePort, (packetsOf.get(sourcePort) ?? 0) + 1);
      });
      assert.ok(here.size > 0 && here.size < 15, `${here.size} connections`);
      assert.equal(capture.stats().received, 3 * here.size);
      capture.close();
    }
    assert.deepEqual([...packetsOf.values()], Array(15).fill(3));
  },
});

/** Two cables, v0 to v1 and v2 to v3, the latter plugged into a bridge, in a network of their own. */
const VETH = [
  "unshare",
  "-n",
  "sh",
  "-ec",
  `echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
   ip link set lo up
   ip link add v0 type veth peer name v1 address 02:00:00:00:00:11
   ip link add v2 type veth peer name v3 address 02:00:00:00:00:13
   ip link add br0 type bridge
   ip link set v3 master br0
   for device in v0 v1 v2 v3 br0; do ip link set $device up; done
   ip address add 198.18.0.1/24 dev v0
   ip address add 198.18.5.1/24 dev v2
   ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:11 dev v0
   ip neigh add 198.18.0.3 lladdr 02:00:00:00:00:99 dev v0
   ip neigh add 198.18.5.2 lladdr 02:00:00:00:00:13 dev v2
   exec "$0" "$@"`,
] as const;

Deno.test({
  name: "on cables: once per packet, also with a bridge; not what was sent, not what is for others",
  ignore,
  async fn() {
    const output = await runElsewhere(
      VETH,
      `import { RingCapture } from "./src/capture/ring.ts";
       import { EventLoop } from "./src/loop/event_loop.ts";
       import { RawIpInjector } from "./src/inject/raw_ip.ts";
       import { Packet } from "./src/wire/packet.ts";
       import { formatIpv4 } from "./src/wire/ipv4.ts";
       import { ipv4, writePacket } from "./test/capture/packets.ts";
       const filter = "tcp dst port 80";
       const bufferBytes = 1 << 20;
       const captures = {
         all: RingCapture.toDestinations({ pairs: [{ port: 80 }], bufferBytes }),
         v0: RingCapture.onDevice({ device: "v0", filter, bufferBytes }),
         v1: RingCapture.onDevice({ device: "v1", filter, bufferBytes }),
         any: RingCapture.onDevice({ device: "any", filter, bufferBytes }),
       };
       const loop = new EventLoop();
       const packet = new Packet();
       const seen: Record<string, string[]> = {};
       for (const [name, capture] of Object.entries(captures)) {
         const list: string[] = seen[name] = [];
         capture.start(loop, (bytes, view, offset, length) => {
           packet.parse(capture.linkType, bytes, view, offset, length);
           list.push(formatIpv4(packet.destinationAddress));
         });
       }
       const injector = new RawIpInjector();
       for (const to of ["198.18.0.2", "198.18.0.3", "198.18.5.2"]) {
         const offset = injector.reserve(40);
         const packet = { source: ipv4("198.18.0.1"), destination: ipv4(to), destinationPort: 80 };
         injector.commit(writePacket(injector.bytes, injector.view, offset, packet));
       }
       injector.flush();
       loop.after(50, () => loop.stop());
       await loop.run();
       console.log(JSON.stringify(seen));
       await new Deno.Command("ip", { args: ["link", "set", "v1", "down"] }).output();
       loop.after(1000, () => loop.stop());
       try { await loop.run(); } catch (error) { console.log(String(error)); }`,
    );
    const [seen, error] = output.trim().split("\n");
    assert.deepEqual(JSON.parse(seen), {
      all: ["198.18.0.2", "198.18.5.2"],
      v0: [],
      v1: ["198.18.0.2", "198.18.0.3"],
      any: ["198.18.0.2", "198.18.0.3", "198.18.5.2"],
    });
    assert.match(error, /^SystemError: capture device "v1": receive failed: ENETDOWN/);
  },
});

Deno.test({
  name: "what cannot be captured is refused with one sentence, and nothing stays open",
  ignore,
  fn() {
    const before = { files: openFileCount(), rings: mappedRings() };
    assert.throws(
      () => RingCapture.onDevice({ device: "nonexistent0" }),
      /^Error: Capture device "nonexistent0" does not exist/,
    );
    assert.throws(
      () => RingCapture.onDevice({ device: "lo", filter: "tcp port port" }),
      /^Error: The capture filter "tcp port port" does not compile \(.+\): expected a pcap-filter/,
    );
    assert.throws(
      () => RingCapture.onDevice({ device: "lo", filter: "vlan 5 and tcp" }),
      /^Error: The capture filter "vlan 5 and tcp" does not compile \(VLAN tags cannot/,
    );
    assert.throws(
      () => RingCapture.onDevice({ device: "lo", libpcapPath: "/nonexistent.so" }),
      /^Error: libpcap was not found \(tried \/nonexistent\.so\)/,
    );
    assert.throws(() => RingCapture.toDestinations({ pairs: [] }), /^RangeError/);
    assert.deepEqual({ files: openFileCount(), rings: mappedRings() }, before);
  },
});

Deno.test({
  name: "without CAP_NET_RAW the error of a ring says what is missing",
  ignore,
  async fn() {
    const output = await runElsewhere(
      UNPRIVILEGED,
      `import { RingCapture } from "./src/capture/ring.ts";
       const tries = [
         () => RingCapture.toDestinations({ pairs: [{ port: 80 }] }),
         () => RingCapture.onDevice({ device: "lo" }),
       ];
       for (const attempt of tries) {
         try { attempt(); console.log("worked"); } catch (error) { console.log(String(error)); }
       }`,
    );
    const refused = "socket failed: EPERM (Operation not permitted): needs root or CAP_NET_RAW";
    assert.deepEqual(output.trim().split("\n"), [
      `SystemError: packet ring capture: ${refused}`,
      `SystemError: capture device "lo": ${refused}`,
    ]);
  },
});
