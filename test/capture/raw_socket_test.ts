import assert from "node:assert/strict";
import { RawSocketCapture } from "../../src/capture/raw_socket.ts";
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
  UNPRIVILEGED,
  unusedPort,
  writePacket,
} from "./packets.ts";

const ignore = Deno.uid() !== 0;

/** Writes `count` packets to a port of this host. */
function inject(injector: RawIpInjector, destinationPort: number, count: number): void {
  for (let sequence = 0; sequence < count; sequence++) {
    const offset = injector.reserve(40);
    assert.ok(offset >= 0);
    injector.commit(
      writePacket(injector.bytes, injector.view, offset, { destinationPort, sequence }),
    );
  }
  injector.flush();
}

Deno.test({
  name: "a raw socket sees a connection's packets towards its port, and nothing else",
  ignore,
  async fn() {
    const before = openFileCount();
    const port = unusedPort();
    const loop = new EventLoop();
    const capture = new RawSocketCapture({ pairs: [{ port, address: LOOPBACK }] });
    const packet = new Packet();
    let first = 0;
    let streamBytes = 0;
    let flags = 0;
    let packets = 0;
    let largest = 0;
    const startedUs = Date.now() * 1000;
    capture.start(loop, (bytes, view, offset, captured, original, timestampUs) => {
      assert.equal(captured, original);
      assert.ok(timestampUs >= startedUs && timestampUs <= Date.now() * 1000);
      assert.equal(packet.parse(capture.linkType, bytes, view, offset, captured), ParseResult.Tcp);
      assert.equal(packet.destinationPort, port);
      assert.equal(packet.sourceAddress, LOOPBACK);
      packets++;
      if (packet.flags === TcpFlag.Syn) first = (packet.sequence + 1) | 0;
      // By sequence number: the kernel may send a segment twice.
      const end = seqDiff(packet.sequence, first) + packet.payloadLength;
      if (packet.payloadLength > 0) streamBytes = Math.max(streamBytes, end);
      flags |= packet.flags;
      largest = Math.max(largest, captured);
    });
    const running = loop.run();
    const { received } = await talk(LOOPBACK, new Uint8Array(300_000).fill(7), port);
    await talk(LOOPBACK, new Uint8Array(1000));
    await talk(ipv4("127.0.0.2"), new Uint8Array(1000), port);
    loop.stop();
    await running;
    assert.equal(capture.linkType, LinkType.Raw);
    assert.equal(received, 300_000);
    assert.equal(streamBytes, 300_000);
    assert.equal(flags & (TcpFlag.Syn | TcpFlag.Fin), TcpFlag.Syn | TcpFlag.Fin);
    // Loopback hands segments over unsplit: packets far beyond any MTU must arrive whole.
    assert.ok(largest > 20_000, `largest packet: ${largest}`);
    assert.deepEqual(capture.stats(), { received: packets, droppedByKernel: 0 });
    capture.close();
    capture.close();
    assert.deepEqual(capture.stats(), { received: packets, droppedByKernel: 0 });
    loop.close();
    assert.equal(openFileCount(), before);
  },
});

Deno.test({
  name: "nothing unfiltered is delivered while capture sockets come and go under traffic",
  ignore,
  async fn() {
    const [wanted, unwanted] = [unusedPort(), unusedPort()];
    let flooding = true;
    // Packets must arrive in the midst of the set-up, so another process has to send them.
    const flood = runElsewhere(
      ["env"],
      `import { RawIpInjector } from "./src/inject/raw_ip.ts";
       import { writePacket } from "./test/capture/packets.ts";
       const injector = new RawIpInjector({ queuePackets: 64 });
       for (const endMs = performance.now() + 400; performance.now() < endMs;) {
         const packet = { destinationPort: ${unwanted} };
         injector.commit(writePacket(injector.bytes, injector.view, injector.reserve(40), packet));
       }`,
    ).finally(() => flooding = false);
    const loop = new EventLoop();
    const injector = new RawIpInjector();
    let foreign = 0;
    let received = 0;
    let rounds = 0;
    for (; flooding; rounds++) {
      const captures = Array.from({ length: 20 }, () => {
        const capture = new RawSocketCapture({ pairs: [{ port: wanted }] });
        capture.start(loop, (_bytes, view, offset) => {
          if (view.getUint16(offset + 22) !== wanted) foreign++;
        });
        return capture;
      });
      inject(injector, wanted, 1);
      loop.after(2, () => loop.stop());
      await loop.run();
      for (const capture of captures) {
        // The flood may leave the wanted packet no room on its way, or have it come in the next round.
        received += capture.stats().received;
        capture.close();
      }
    }
    await flood;
    assert.equal(foreign, 0);
    assert.ok(received > 0);
    assert.ok(rounds >= 5, `${rounds} rounds`);
    injector.close();
    loop.close();
  },
});

Deno.test({
  name: "what the kernel had no room for is counted",
  ignore,
  async fn() {
    const port = unusedPort();
    const loop = new EventLoop();
    const capture = new RawSocketCapture({ pairs: [{ port }], receiveBufferBytes: 50_000 });
    assert.equal(capture.receiveBufferBytes, 50_000);
    const injector = new RawIpInjector();
    inject(injector, port, 2000);
    let received = 0;
    capture.start(loop, () => received++);
    loop.after(20, () => loop.stop());
    await loop.run();
    const stats = capture.stats();
    assert.ok(received > 0 && received < 2000, `received: ${received}`);
    assert.equal(stats.received, received);
    assert.ok(stats.droppedByKernel >= 2000 - received, `dropped: ${stats.droppedByKernel}`);
    assert.deepEqual(capture.stats(), stats);
    injector.close();
    capture.close();
    loop.close();
  },
});

Deno.test({
  name: "a flood does not keep timers from firing, and arrives in order",
  ignore,
  async fn() {
    const port = unusedPort();
    const loop = new EventLoop();
    const capture = new RawSocketCapture({ pairs: [{ port }] });
    const injector = new RawIpInjector();
    inject(injector, port, 3000);
    const turns: number[] = [];
    let received = 0;
    capture.start(loop, (_bytes, view, offset) => {
      assert.equal(view.getInt32(offset + 24), received);
      received++;
    });
    loop.onTurnEnd(() => {
      turns.push(received);
      if (received === 3000) loop.stop();
    });
    loop.after(4000, () => loop.stop());
    await loop.run();
    assert.equal(received, 3000);
    assert.ok(turns.length >= 3000 / 256, `${turns.length} turns`);
    injector.close();
    capture.close();
    loop.close();
  },
});

Deno.test({
  name: "the packet handler may close the capture; an error in it ends the loop",
  ignore,
  async fn() {
    const port = unusedPort();
    const loop = new EventLoop();
    const injector = new RawIpInjector();
    const capture = new RawSocketCapture({ pairs: [{ port }] });
    let received = 0;
    capture.start(loop, (bytes, _view, offset) => {
      received++;
      capture.close();
      // The packet stays readable until the handler returns.
      assert.equal(bytes[offset], 0x45);
      loop.after(2, () => loop.stop());
    });
    inject(injector, port, 10);
    await loop.run();
    assert.equal(received, 1);
    assert.equal(capture.stats().received, 1);

    const other = new RawSocketCapture({ pairs: [{ port }] });
    other.start(loop, () => {
      throw new Error("no more");
    });
    assert.throws(() => other.start(loop, () => {}), /started once/);
    inject(injector, port, 1);
    await assert.rejects(loop.run(), /no more/);
    other.close();
    injector.close();
    loop.close();
  },
});

Deno.test({
  name: "a smaller buffer than asked for is told, with what helps",
  ignore,
  async fn() {
    const output = await runElsewhere(
      ["setpriv", "--bounding-set=-net_admin"],
      `import { RawSocketCapture } from "./src/capture/raw_socket.ts";
       for (const receiveBufferBytes of [64_000, 1_000_000_000]) {
         const pairs = [{ port: 80 }];
         const capture = new RawSocketCapture({ pairs, receiveBufferBytes });
         console.log(capture.warning);
         capture.close();
       }`,
    );
    assert.match(
      output,
      /^undefined\nthe kernel grants .* \d+\.\d MB instead of 953\.7: .*CAP_NET_ADMIN.* to 1000000000\n$/,
    );
  },
});

Deno.test({
  name: "without CAP_NET_RAW the error says what is missing",
  ignore,
  async fn() {
    const output = await runElsewhere(
      UNPRIVILEGED,
      `import { RawSocketCapture } from "./src/capture/raw_socket.ts";
       import { RawIpInjector } from "./src/inject/raw_ip.ts";
       import { PcapDeviceCapture } from "./src/capture/pcap_device.ts";
       const tries = [
         () => new RawSocketCapture({ pairs: [{ port: 80 }] }),
         () => new RawIpInjector(),
         () => new PcapDeviceCapture({ device: "lo" }),
       ];
       for (const attempt of tries) {
         try { attempt(); console.log("worked"); } catch (error) { console.log(String(error)); }
       }`,
    );
    const [raw, injector, device] = output.trim().split("\n");
    const refused = "socket failed: EPERM (Operation not permitted): needs root or CAP_NET_RAW";
    assert.equal(raw, `SystemError: raw socket capture: ${refused}`);
    assert.equal(injector, `SystemError: packet injection: ${refused}`);
    assert.match(device, /^Error: Capture device "lo" may not be opened .*CAP_NET_RAW\.$/);
  },
});

Deno.test({
  name: "raw sockets side by side share the packets by the client's port",
  ignore,
  async fn() {
    const port = unusedPort();
    const count = 2;
    const loop = new EventLoop();
    const seen: number[][] = [[], []];
    const packet = new Packet();
    const captures = seen.map((ports, index) => {
      const partition = { index, count };
      const capture = new RawSocketCapture({ pairs: [{ port }], partition });
      capture.start(loop, (bytes, view, offset, length) => {
        assert.equal(packet.parseIp(bytes, view, offset, length), ParseResult.Tcp);
        assert.ok(isInPartition(packet.sourcePort, partition), `port ${packet.sourcePort}`);
        ports.push(packet.sourcePort);
        if (seen[0].length + seen[1].length === 300) loop.stop();
      });
      return capture;
    });
    const injector = new RawIpInjector();
    for (let sourcePort = 32_768; sourcePort < 33_368; sourcePort += 2) {
      const offset = injector.reserve(40);
      injector.commit(
        writePacket(injector.bytes, injector.view, offset, { destinationPort: port, sourcePort }),
      );
    }
    injector.flush();
    injector.close();
    const giveUp = loop.after(5000, () => loop.stop());
    await loop.run();
    loop.clear(giveUp);
    for (const capture of captures) capture.close();
    loop.close();
    assert.equal(new Set(seen.flat()).size, 300);
    for (const ports of seen) assert.ok(ports.length > 120, `${ports.length} packets`);
  },
});
