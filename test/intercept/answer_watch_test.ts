import assert from "node:assert/strict";
import { AnswerWatch } from "../../src/intercept/answer_watch.ts";
import type { Sighting } from "../../src/intercept/scout.ts";
import type { AnnouncedConnection } from "../../src/tunnel/latest_announcements.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";

const connection: AnnouncedConnection = {
  client: parseIpv4("198.19.0.7")!,
  clientPort: 50_001,
  target: parseIpv4("198.18.0.2")!,
  targetPort: 8080,
};

function sighting(device: string, isOutgoing = false): Sighting {
  return { device, isOutgoing, connection };
}

/** An intercept on eth0 and eth1 whose counters are set by hand, and half a second a step. */
class Bench {
  readonly said: string[] = [];
  announced = 0;
  records = 0;
  sightings: Sighting[] = [];
  isLooking = false;
  nowMs = 0;
  readonly #watch: AnswerWatch;

  constructor(devices = ["eth0", "eth1"], hasScout = true) {
    const scout = {
      lookFor: (connections: readonly AnnouncedConnection[]) => {
        this.isLooking = connections.length > 0;
      },
      sightings: () => this.sightings,
    };
    this.#watch = new AnswerWatch(
      { devices, filter: "tcp src port 80" },
      hasScout ? scout : undefined,
      (text) => this.said.push(text),
    );
  }

  wait(seconds: number): void {
    for (let step = 0; step < 2 * seconds; step++) {
      const { announced, records } = this;
      const lastAnnounced = [{ ...connection, clientPort: 50_000 + announced % 1000 }];
      this.#watch.look({ announced, records, lastAnnounced }, this.nowMs += 500);
    }
  }
}

Deno.test("while answers come, and while nothing is announced, nothing is said or looked for", () => {
  const bench = new Bench();
  bench.wait(60);
  for (let count = 0; count < 100; count++) {
    bench.announced += 3;
    bench.wait(0.5);
    assert.equal(bench.isLooking, false);
    bench.records += 2;
    bench.wait(0.5);
  }
  bench.wait(60);
  assert.deepEqual(bench.said, []);
});

Deno.test("nothing comes here: the route, within 5 s, once until there is more to tell", () => {
  const bench = new Bench();
  bench.wait(100);
  bench.announced = 1234;
  bench.wait(4.5);
  assert.equal(bench.said.length, 1);
  assert.match(bench.said[0], /^1,234 connections announced, no answer captured: the route on the/);
  assert.match(bench.said[0], /no packet from 198\.18\.0\.2:8080 to 198\.19\.0\.7:50234 passes/);
  assert.match(bench.said[0], /"ip route get 198\.19\.0\.7"/);
  bench.wait(120);
  assert.equal(bench.said.length, 1);
  // The same again with the next connections, but not every few seconds.
  for (let second = 0; second < 60; second++) {
    bench.announced++;
    bench.wait(1);
  }
  assert.equal(bench.said.length, 2);
  bench.records++;
  bench.wait(1);
  assert.deepEqual(bench.said.slice(2), ["answers are captured now"]);
  assert.equal(bench.isLooking, false);
});

Deno.test("the filter rejects them: told apart by what is seen past it", () => {
  for (const seen of [[sighting("eth1")], [sighting("eth0", true)]]) {
    const bench = new Bench();
    bench.announced = 1;
    bench.sightings = seen;
    bench.wait(4.5);
    assert.equal(bench.said.length, 1);
    assert.match(
      bench.said[0],
      /^1 connection announced, no answer captured: -F "tcp src port 80"/,
    );
    assert.match(bench.said[0], /:8080 to 198\.19\.0\.7:50001 on eth[01]$/);
  }
});

Deno.test("they pass another device than those of -i, or come in by it and leave by one of those", () => {
  for (
    const seen of [[sighting("docker0")], [sighting("eth1", true), sighting("docker0")], [
      sighting("docker0", true),
    ]]
  ) {
    const bench = new Bench();
    bench.announced = 1;
    bench.sightings = seen;
    bench.wait(4.5);
    assert.match(bench.said[0], /: they pass docker0, which -i eth0,eth1 does not name/);
    const all = new Bench(["any"]);
    all.announced = 1;
    all.sightings = seen;
    all.wait(4.5);
    assert.match(all.said[0], /: -F "tcp src port 80" does not let them through/);
  }
});

Deno.test("what was wrong first, and what is wrong then, are both said", () => {
  const bench = new Bench();
  bench.announced = 1;
  bench.wait(4.5);
  bench.announced = 2;
  bench.sightings = [sighting("eth0")];
  bench.wait(4.5);
  assert.deepEqual(bench.said.map((text) => /captured: (\S+)/.exec(text)?.[1]), ["the", "-F"]);
});

Deno.test("without a look past the filter, both are named", () => {
  const bench = new Bench(["eth0"], false);
  bench.announced = 2;
  bench.wait(4.5);
  assert.match(bench.said[0], /: the route on the target, or -F "tcp src port 80"$/);
});
