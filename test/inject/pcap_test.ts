import assert from "node:assert/strict";
import { PcapInjector } from "../../src/inject/pcap.ts";
import { runElsewhere } from "../capture/packets.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { FAR_MAC, ON_A_WIRE } from "./wire.ts";

const ignore = Deno.uid() !== 0;

/** Sends packets of many lengths to 198.18.0.2; prints what the other end of the wire saw. */
async function frames(setup: string, options: string, kind = "PcapInjector"): Promise<{
  isSame: boolean;
  macs: string[];
  stats: { sent: number; frames: number; queued: number; errors: unknown[] };
}> {
  const output = await runElsewhere(
    ON_A_WIRE,
    `
    import { LinkInjector } from "./src/inject/link.ts";
    import { PcapInjector } from "./src/inject/pcap.ts";
    import { ipv4, makePacket, writePacket } from "./test/capture/packets.ts";
    import { layWire, Listener, pause, run } from "./test/inject/wire.ts";
    layWire();
    const listener = new Listener();
    run(${JSON.stringify(setup)});
    const mac = (last) => Uint8Array.from([2, 0, 0, 0, 9, last]);
    const injector = new ${kind}({ queuePackets: 37, queueBytes: 70_000, ${options} });
    const expected = [];
    for (let round = 0; round < 500; round++) {
      const payload = new Uint8Array(round * 7919 % 1461).fill(round);
      const packet = { source: ipv4("198.19.0.7"), destination: ipv4("198.18.0.2"),
        destinationPort: 80, sequence: round, payload };
      const at = injector.reserve(40 + payload.length);
      injector.commit(writePacket(injector.bytes, injector.view, at, packet));
      expected.push(makePacket(packet).toHex());
      if (round % 20 === 0) { injector.flush(); await pause(0); }
    }
    injector.flush();
    const seen = await listener.take(500);
    const stats = injector.stats();
    await listener.close();
    injector.close();
    console.log(JSON.stringify({
      isSame: seen.map(({ packet }) => packet).join() === expected.join(),
      macs: [...new Set(seen.map(({ source, destination }) => source + " " + destination))],
      stats: { ...stats, errors: [...stats.errors] },
    }));`,
  );
  return JSON.parse(output);
}

Deno.test({
  name: "frames leave through libpcap as written, in order, to the address looked up",
  ignore,
  async fn() {
    const neighbour = `ip neigh add 198.18.0.2 lladdr ${FAR_MAC} dev left nud permanent`;
    const { isSame, macs, stats } = await frames(neighbour, `deviceName: "left"`);
    assert.equal(isSame, true);
    assert.equal(macs.length, 1);
    assert.match(macs[0], new RegExp(` ${FAR_MAC}$`));
    assert.deepEqual([stats.sent, stats.frames, stats.queued, stats.errors], [500, 500, 0, []]);
  },
});

for (const kind of ["PcapInjector", "LinkInjector"]) {
  Deno.test({
    name: `${kind} uses the hardware addresses that are given, without looking up a route`,
    ignore,
    async fn() {
      const given = `hardwareAddresses:
        new Map([[ipv4("198.18.0.2"), { source: mac(1), destination: mac(2) }]])`;
      const options = kind === "PcapInjector"
        ? `deviceName: "left", ${given}`
        : `device: (await import("./ffi/packet_ring.ts")).deviceIndex("left"), ${given}`;
      const { isSame, macs, stats } = await frames("ip address flush dev left", options, kind);
      assert.equal(isSame, true);
      assert.deepEqual(macs, ["02:00:00:00:09:01 02:00:00:00:09:02"]);
      assert.equal(stats.frames, 500);
    },
  });
}

Deno.test({
  name: "devices that cannot be used are refused, and nothing stays open",
  ignore,
  fn() {
    new PcapInjector({ deviceName: "lo" }).close();
    const before = openFileCount();
    assert.throws(
      () => new PcapInjector({ deviceName: "nothing0" }),
      /Output device "nothing0" does not exist/,
    );
    assert.throws(
      () => new PcapInjector({ deviceName: "lo", libpcapPath: "/nonexistent.so" }),
      /libpcap was not found/,
    );
    assert.equal(openFileCount(), before);
  },
});
