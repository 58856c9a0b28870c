import assert from "node:assert/strict";
import { RawSocketCapture } from "../../src/capture/raw_socket.ts";
import { LinkInjector } from "../../src/inject/link.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import {
  ipv4,
  makePacket,
  runElsewhere,
  type TestPacket,
  UNPRIVILEGED,
  unusedPort,
  writePacket,
} from "../capture/packets.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { FAR_MAC, LEFT_MAC, ON_A_WIRE } from "./wire.ts";

const ignore = Deno.uid() !== 0;

/** Common to the scripts: `put` queues a packet to a host and returns it as the wire should show it. */
const PROLOGUE = `
  import { LinkInjector } from "./src/inject/link.ts";
  import { ipv4, makePacket, writePacket } from "./test/capture/packets.ts";
  import { layWire, Listener, pause, run } from "./test/inject/wire.ts";
  layWire();
  const listener = new Listener();
  const notices = [];
  const onNotice = (text, isTrouble) => notices.push((isTrouble ? "! " : "") + text);
  let sequence = 0;
  const put = (injector, to, payloadBytes = 10) => {
    const packet = {
      source: ipv4("198.19.0.7"), destination: ipv4(to), destinationPort: 80,
      sequence: ++sequence, payload: new Uint8Array(payloadBytes).fill(sequence),
    };
    const at = injector.reserve(40 + payloadBytes);
    if (at < 0 || at % 16 !== 0) throw new Error("reserve gave " + at);
    injector.commit(writePacket(injector.bytes, injector.view, at, packet));
    return makePacket(packet).toHex();
  };
  const print = (value) => console.log(JSON.stringify(value, (_key, inner) =>
    inner instanceof Map ? [...inner] : inner));
`;

async function onTheWire<T>(script: string): Promise<T[]> {
  const output = await runElsewhere(ON_A_WIRE, PROLOGUE + script);
  return output.trim().split("\n").map((line) => JSON.parse(line));
}

interface Outcome {
  isSame: boolean;
  macs: string[];
  stats: { sent: number; frames: number; sendCalls: number; errors: unknown[]; queued: number };
}

for (const bypassQdisc of [false, true]) {
  Deno.test({
    name: `frames carry packets as written, in order; bypassing the qdisc: ${bypassQdisc}`,
    ignore,
    async fn() {
      const [outcome] = await onTheWire<Outcome>(`
        run("ip neigh add 198.18.0.2 lladdr ${FAR_MAC} dev left nud permanent; " +
          "ip neigh add 198.18.0.3 lladdr 02:00:00:00:00:03 dev left nud permanent; " +
          "ip route add 198.18.5.0/24 via 198.18.0.3");
        const injector = new LinkInjector({ queuePackets: 37, queueBytes: 70_000,
          bypassQdisc: ${bypassQdisc}, onNotice });
        const expected = [];
        for (let round = 0; round < 1500; round++) {
          const to = round % 7 === 0 ? "198.18.5.9" : "198.18.0.2";
          expected.push([to, put(injector, to, round * 7919 % 1461)]);
          if (round % 20 === 0) { injector.flush(); await pause(0); }
        }
        injector.flush();
        const frames = await listener.take(1500);
        print({
          isSame: frames.map(({ packet }) => packet).join() ===
            expected.map(([, packet]) => packet).join(),
          macs: [...new Set(frames.map(({ source, destination }, index) =>
            expected[index][0] + " " + source + " " + destination))],
          stats: injector.stats(),
        });
        injector.close();
        await listener.close();
      `);
      assert.equal(outcome.isSame, true);
      assert.deepEqual(outcome.macs, [
        `198.18.5.9 ${LEFT_MAC} 02:00:00:00:00:03`,
        `198.18.0.2 ${LEFT_MAC} ${FAR_MAC}`,
      ]);
      const { sent, frames, errors, queued, sendCalls } = outcome.stats;
      assert.deepEqual({ sent, frames, errors, queued }, {
        sent: 1500,
        frames: 1500,
        errors: [],
        queued: 0,
      });
      assert.ok(sendCalls < 200, `${sendCalls} calls`);
    },
  });
}

Deno.test({
  name: "more targets than have a place go by raw IP, in order with the frames",
  ignore,
  async fn() {
    const [{ stats, isSame }] = await onTheWire<Outcome>(`
      run("for host in 2 3; do ip neigh add 198.18.0.$host lladdr ${FAR_MAC} dev left; done");
      const injector = new LinkInjector({ onNotice });
      const expected = [put(injector, "198.18.0.2")];
      for (let host = 1; host <= 255; host++) put(injector, "127.0.1." + host);
      for (let round = 0; round < 300; round++) {
        expected.push(put(injector, round % 3 === 0 ? "198.18.0.3" : "198.18.0.2"));
      }
      injector.flush();
      const frames = await listener.take(301);
      print({ isSame: frames.map(({ packet }) => packet).join() === expected.join(),
        stats: injector.stats() });
      injector.close();
      await listener.close();
    `);
    assert.equal(isSame, true);
    assert.equal(stats.sent, 301 + 255);
    assert.equal(stats.frames, 201);
  },
});

Deno.test({
  name: "an unknown neighbour gets raw packets, then frames; a new address counts at once",
  ignore,
  async fn() {
    const steps = await onTheWire<[number, string[], string[]]>(`
      const injector = new LinkInjector({ onNotice });
      const send = async (count) => {
        const before = injector.stats().frames;
        const expected = Array.from({ length: count }, () => put(injector, "198.18.0.2"));
        injector.flush();
        const frames = await listener.take(count);
        if (frames.map(({ packet }) => packet).join() !== expected.join()) {
          throw new Error("expected " + expected + ", came " + JSON.stringify(frames));
        }
        print([injector.stats().frames - before,
          [...new Set(frames.map(({ destination }) => destination))], notices.splice(0)]);
      };
      const replace = "ip neigh replace 198.18.0.2 dev left ";
      await send(3); // the kernel asks for the address, and holds three packets meanwhile
      await pause(30);
      await send(3);
      run(replace + "lladdr 02:00:00:00:00:09 nud permanent");
      await pause(500);
      await send(3);
      run(replace + "lladdr ${FAR_MAC} nud stale");
      await pause(500);
      await send(3); // the kernel is made to confirm the address
      await pause(30);
      await send(3);
      injector.close();
      await listener.close();
    `);
    assert.deepEqual(steps, [
      [0, [FAR_MAC], []],
      [3, [FAR_MAC], [`frames to 198.18.0.2 leave by left to ${FAR_MAC}`]],
      [3, ["02:00:00:00:00:09"], []],
      [0, [FAR_MAC], []],
      [3, [FAR_MAC], []],
    ]);
  },
});

Deno.test({
  name: "a neighbour that falls silent is told of once, and once when it is back",
  ignore,
  async fn() {
    const [result] = await onTheWire<{ quiet: number; frames: number; notices: string[] }>(`
      run("echo 1 > /proc/sys/net/ipv4/neigh/left/mcast_solicit");
      const injector = new LinkInjector({ onNotice });
      const talk = async (rounds) => {
        for (let round = 0; round < rounds; round++) {
          put(injector, "198.18.0.2");
          injector.flush();
          await pause(10);
        }
        await listener.take(0);
      };
      await talk(5);
      run("ip -n far link set eth0 arp off; ip neigh del 198.18.0.2 dev left");
      await pause(500);
      const before = injector.stats().frames;
      await talk(300);
      const quiet = injector.stats().frames - before;
      run("ip -n far link set eth0 arp on");
      await talk(150);
      print({ quiet, frames: injector.stats().frames, notices });
      injector.close();
      await listener.close();
    `);
    assert.equal(result.quiet, 0);
    assert.ok(result.frames > 20);
    const found = `frames to 198.18.0.2 leave by left to ${FAR_MAC}`;
    assert.equal(result.notices.length, 3, result.notices.join("\n"));
    assert.equal(result.notices[0], found);
    assert.match(
      result.notices[1],
      /^! no frames to 198\.18\.0\.2: neighbour .*; its packets leave by raw IP$/,
    );
    assert.equal(result.notices[2], found);
  },
});

Deno.test({
  name: "a device that is down, or gets smaller, costs only the packets of that time",
  ignore,
  async fn() {
    const steps = await onTheWire<[sent: number, frames: number, errors: [string, number][]]>(`
      run("ip neigh add 198.18.0.2 lladdr ${FAR_MAC} dev left nud permanent");
      const injector = new LinkInjector({ onNotice });
      const send = (...sizes) => {
        for (const size of sizes) put(injector, "198.18.0.2", size);
        injector.flush();
        const { sent, frames, errors } = injector.stats();
        print([sent, frames, errors]);
      };
      send(10, 10);
      run("ip link set left down"); // its route and neighbours go with it
      send(10, 10);
      run("ip link set left up; " +
        "ip neigh replace 198.18.0.2 lladdr ${FAR_MAC} dev left nud permanent");
      await pause(500);
      send(10, 10);
      send(1460, 1461, 10);
      run("ip link set left mtu 1000");
      send(960, 961, 10); // refused as a frame first: the answer of the last look is old
      await pause(500);
      send(960, 961, 10);
      injector.close();
      await listener.close();
    `);
    assert.deepEqual(steps, [
      [2, 2, []],
      [2, 2, [["ENETUNREACH", 2]]],
      [4, 4, [["ENETUNREACH", 2]]],
      [6, 6, [["ENETUNREACH", 2], ["EMSGSIZE", 1]]],
      [8, 8, [["ENETUNREACH", 2], ["EMSGSIZE", 2]]],
      [10, 10, [["ENETUNREACH", 2], ["EMSGSIZE", 3]]],
    ]);
  },
});

Deno.test({
  name: "packets to this host go by raw IP, and that is said once",
  ignore,
  async fn() {
    const before = openFileCount();
    const port = unusedPort();
    const loop = new EventLoop();
    const capture = new RawSocketCapture({ pairs: [{ port }] });
    const notices: string[] = [];
    const injector = new LinkInjector({ loop, onNotice: (text) => notices.push(text) });
    const packets: Uint8Array[] = [];
    capture.start(loop, (bytes, _view, offset, length) => {
      packets.push(bytes.slice(offset, offset + length));
    });
    const sent: TestPacket[] = [0, 1, 1459, 60_000].map((length, sequence) => ({
      source: ipv4(`127.0.0.${sequence + 5}`),
      destination: ipv4("127.1.2.3"),
      destinationPort: port,
      sequence,
      payload: new Uint8Array(length).fill(sequence + 1),
    }));
    for (const packet of sent) {
      const at = injector.reserve(65_535);
      injector.commit(writePacket(injector.bytes, injector.view, at, packet));
      injector.flush();
    }
    loop.after(50, () => loop.stop());
    await loop.run();
    assert.deepEqual(packets, sent.map(makePacket));
    assert.deepEqual(injector.stats(), {
      sent: 4,
      frames: 0,
      sendCalls: 4,
      errors: new Map(),
      full: 0,
      queued: 0,
    });
    assert.deepEqual(notices, [
      "no frames to 127.1.2.3: it is an address of this host; its packets leave by raw IP",
    ]);
    injector.close();
    injector.close();
    capture.close();
    loop.close();
    assert.equal(openFileCount(), before);
  },
});

Deno.test({
  name: "without the privilege nothing is left open",
  ignore,
  async fn() {
    const output = await runElsewhere(
      UNPRIVILEGED,
      `import { LinkInjector } from "./src/inject/link.ts";
       import { openFileCount } from "./test/ffi/open_files.ts";
       const before = openFileCount();
       try {
         new LinkInjector();
       } catch (error) {
         console.log(error.message, openFileCount() - before);
       }`,
    );
    assert.match(output, /packet injection: socket failed: EPERM .*CAP_NET_RAW 0$/m);
  },
});
