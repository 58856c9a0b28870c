import assert from "node:assert/strict";
import { PcapDeviceCapture, type PcapDeviceOptions } from "../../src/capture/pcap_device.ts";
import { RawIpInjector } from "../../src/inject/raw_ip.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { isInPartition } from "../../src/wire/partition.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { runElsewhere, unusedPort, writePacket } from "./packets.ts";

const ignore = Deno.uid() !== 0;

/** Sends packets with sequence numbers 0, 1, 2, … to a port of this host. */
function inject(destinationPort: number, count: number, payload = new Uint8Array(0)): void {
  const injector = new RawIpInjector();
  for (let sequence = 0; sequence < count; sequence++) {
    const offset = injector.reserve(2000);
    assert.ok(offset >= 0);
    const packet = { destinationPort, sequence, payload };
    injector.commit(writePacket(injector.bytes, injector.view, offset, packet));
  }
  injector.flush();
  assert.equal(injector.stats().sent, count);
  injector.close();
}

/** Captures what `send` makes appear for a moment; returns the packets' sequence numbers. */
async function sequencesSeen(options: PcapDeviceOptions, send: () => void): Promise<{
  sequences: number[];
  linkType: number;
}> {
  const loop = new EventLoop();
  const capture = new PcapDeviceCapture(options);
  const packet = new Packet();
  const sequences: number[] = [];
  capture.start(loop, (bytes, view, offset, captured, original, timestampUs) => {
    assert.ok(captured <= original);
    assert.ok(Math.abs(timestampUs / 1000 - Date.now()) < 2000);
    const result = packet.parse(capture.linkType, bytes, view, offset, captured);
    assert.equal(result, ParseResult.Tcp);
    sequences.push(packet.sequence);
  });
  send();
  loop.after(40, () => loop.stop());
  await loop.run();
  const stats = capture.stats();
  assert.equal(stats.received, sequences.length);
  assert.equal(stats.droppedByKernel, 0);
  const { linkType } = capture;
  capture.close();
  capture.close();
  loop.close();
  return { sequences, linkType };
}

for (const device of ["lo", "any"]) {
  for (const immediate of [false, true]) {
    Deno.test({
      name: `device ${device}${immediate ? ", immediate" : ""}: every packet once and in order`,
      ignore,
      async fn() {
        const before = openFileCount();
        const [port, other] = [unusedPort(), unusedPort()];
        const options = {
          device,
          immediate,
          filter: `tcp dst port ${port}`,
          snapLength: immediate ? 2048 : undefined,
        };
        const { sequences, linkType } = await sequencesSeen(options, () => {
          inject(other, 10);
          inject(port, 700);
        });
        assert.deepEqual(sequences, Array.from({ length: 700 }, (_, index) => index));
        const expected: readonly number[] = device === "lo"
          ? [LinkType.Ethernet]
          : [LinkType.LinuxSll, LinkType.LinuxSll2];
        assert.ok(expected.includes(linkType));
        assert.equal(openFileCount(), before);
      },
    });
  }
}

Deno.test({
  name: "a snap length cuts the packet and keeps its length",
  ignore,
  async fn() {
    const port = unusedPort();
    const loop = new EventLoop();
    const filter = `tcp dst port ${port}`;
    const capture = new PcapDeviceCapture({ device: "lo", filter, snapLength: 100 });
    const lengths: number[] = [];
    capture.start(loop, (_bytes, _view, _offset, captured, original) => {
      lengths.push(captured, original);
      loop.stop();
    });
    inject(port, 1, new Uint8Array(500));
    loop.after(2000, () => loop.stop());
    await loop.run();
    assert.deepEqual(lengths, [100, 14 + 540]);
    capture.close();
    loop.close();
  },
});

Deno.test({
  name: "packets of the direction not asked for take no room in the kernel's buffer",
  ignore,
  async fn() {
    const port = unusedPort();
    const held = { in: 0, both: 0 };
    for (const direction of ["in", "both"] as const) {
      const loop = new EventLoop();
      const capture = new PcapDeviceCapture({
        device: "lo",
        filter: `tcp dst port ${port}`,
        direction,
        immediate: true,
        snapLength: 2000,
        bufferBytes: 1 << 20,
      });
      inject(port, 2000);
      capture.start(loop, () => held[direction]++);
      loop.after(20, () => loop.stop());
      await loop.run();
      assert.equal(capture.stats().received, held[direction]);
      assert.ok(capture.stats().droppedByKernel > 0);
      capture.close();
      loop.close();
    }
    // Loopback shows each packet twice, once in each direction.
    assert.ok(held.in >= 1.8 * held.both, JSON.stringify(held));
  },
});

Deno.test({
  name: "the handler may close the capture; an error in it ends the loop",
  ignore,
  async fn() {
    const port = unusedPort();
    const loop = new EventLoop();
    const options = { device: "lo", filter: `tcp dst port ${port}` };
    const capture = new PcapDeviceCapture(options);
    let received = 0;
    capture.start(loop, (bytes, _view, offset) => {
      received++;
      capture.close();
      assert.equal(bytes[offset + 14], 0x45);
      loop.after(5, () => loop.stop());
    });
    inject(port, 10);
    await loop.run();
    assert.equal(received, 1);
    const other = new PcapDeviceCapture(options);
    other.start(loop, () => {
      throw new Error("no more");
    });
    inject(port, 1);
    await assert.rejects(loop.run(), /no more/);
    other.close();
    loop.close();
  },
});

Deno.test({
  name: "what cannot be captured is refused with one sentence, and nothing stays open",
  ignore,
  fn() {
    const before = openFileCount();
    assert.throws(
      () => new PcapDeviceCapture({ device: "nonexistent0" }),
      /^Error: Capture device "nonexistent0" does not exist \(.+\): choose one of .*\blo\b.*\.$/,
    );
    assert.throws(
      () => new PcapDeviceCapture({ device: "lo", filter: "tcp port port" }),
      /^Error: The capture filter "tcp port port" does not compile \(.+\): expected a pcap-filter/,
    );
    assert.throws(
      () => new PcapDeviceCapture({ device: "lo", libpcapPath: "/nonexistent.so" }),
      /^Error: libpcap was not found \(tried \/nonexistent\.so\)/,
    );
    assert.throws(() => new PcapDeviceCapture({ device: "l\0o" }), TypeError);
    assert.equal(openFileCount(), before);
  },
});

Deno.test({
  name: "only the direction asked for; a device that is down or goes away is reported",
  ignore,
  async fn() {
    const output = await runElsewhere(
      ["unshare", "-n"],
      `import { PcapDeviceCapture } from "./src/capture/pcap_device.ts";
       import { EventLoop } from "./src/loop/event_loop.ts";
       import { RawIpInjector } from "./src/inject/raw_ip.ts";
       import { ipv4, writePacket } from "./test/capture/packets.ts";
       const ip = (...args) => new Deno.Command("ip", { args }).outputSync();
       const attempt = async (work) => {
         try { console.log(await work()); } catch (error) { console.log(String(error)); }
       };
       ip("link", "add", "left", "type", "veth", "peer", "name", "right");
       await attempt(() => new PcapDeviceCapture({ device: "left" }));
       ip("link", "set", "left", "up");
       ip("link", "set", "right", "up");
       ip("addr", "add", "198.18.0.1/24", "dev", "left");
       ip("neigh", "add", "198.18.0.2", "lladdr", "02:00:00:00:00:02", "dev", "left");
       const filter = "tcp dst port 80";
       const loop = new EventLoop();
       const counts = {};
       for (const [device, direction] of
         [["left", "in"], ["left", "out"], ["left", "both"], ["right", "in"], ["right", "out"],
          ["any", "in"], ["any", "out"]]) {
         const name = device + " " + direction;
         counts[name] = 0;
         new PcapDeviceCapture({ device, direction, filter, promiscuous: true })
           .start(loop, () => counts[name]++);
       }
       const injector = new RawIpInjector();
       for (let index = 0; index < 5; index++) {
         const packet = { destination: ipv4("198.18.0.2"), destinationPort: 80 };
         injector.commit(writePacket(injector.bytes, injector.view, injector.reserve(40), packet));
       }
       injector.flush();
       loop.after(50, () => loop.stop());
       await loop.run();
       console.log(JSON.stringify(counts));
       const gone = new EventLoop();
       new PcapDeviceCapture({ device: "right" }).start(gone, () => {});
       gone.after(5, () => ip("link", "del", "right"));
       gone.after(2000, () => gone.stop());
       await attempt(() => gone.run());
       Deno.exit(0);`,
    );
    const [down, counts, gone] = output.trim().split("\n");
    assert.match(down, /^Error: Capture device "left" is down .*`ip link set left up`\.$/);
    assert.deepEqual(JSON.parse(counts), {
      "left in": 0,
      "left out": 5,
      "left both": 5,
      "right in": 5,
      "right out": 0,
      "any in": 5,
      "any out": 5,
    });
    assert.match(gone, /^Error: Capture from device "right" failed: .+\.$/);
  },
});

Deno.test({
  name: "captures side by side share the packets by the client's port",
  ignore,
  async fn() {
    const port = unusedPort();
    const count = 3;
    for (const device of ["lo", "any"]) {
      const loop = new EventLoop();
      const packet = new Packet();
      const seen = new Set<number>();
      const captures = [0, 1, 2].map((index) => {
        const partition = { index, count };
        const filter = `tcp src port ${port}`;
        const capture = new PcapDeviceCapture({ device, filter, immediate: true, partition });
        capture.start(loop, (bytes, view, offset, length) => {
          const result = packet.parse(capture.linkType, bytes, view, offset, length);
          assert.equal(result, ParseResult.Tcp);
          assert.ok(isInPartition(packet.destinationPort, partition), `${packet.destinationPort}`);
          seen.add(packet.destinationPort);
          if (seen.size === 300) loop.stop();
        });
        return capture;
      });
      const injector = new RawIpInjector();
      for (let client = 1001; client <= 1300; client++) {
        const offset = injector.reserve(40);
        const ports = { destinationPort: client, sourcePort: port };
        injector.commit(writePacket(injector.bytes, injector.view, offset, ports));
      }
      injector.flush();
      injector.close();
      loop.after(5000, () => loop.stop());
      await loop.run();
      for (const capture of captures) {
        assert.ok(capture.stats().received > 70, `${capture.stats().received} packets`);
        capture.close();
      }
      loop.close();
      assert.equal(seen.size, 300);
    }
  },
});
