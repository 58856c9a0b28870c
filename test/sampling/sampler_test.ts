import assert from "node:assert/strict";
import { Sampler } from "../../src/sampling/sampler.ts";
import { parseStrategyDocument } from "../../src/sampling/strategy_document.ts";

const strategy = { switch: "ON", interval: 30, duration: 10, cpu_max_rate: 80, mem_max_rate: 70 };
const idle = { cpuPercent: 5, memPercent: 5 };
const hog = { cpuPercent: 99, memPercent: 5 };

/** A sampler in virtual time, with what it told in order. */
class Bench {
  readonly told: string[] = [];
  rates: typeof idle | undefined = idle;
  nowMs = 0;
  #windows = 0;
  readonly sampler = new Sampler({
    newWindow: () => `w${++this.#windows}`,
    events: {
      onOpen: (window) => this.told.push(`${this.nowMs / 1000} open ${window}`),
      onClose: (window) => this.told.push(`${this.nowMs / 1000} close ${window}`),
      onSkip: (reason) => this.told.push(`${this.nowMs / 1000} skip ${reason}`),
      onFuse: (reason) => this.told.push(`${this.nowMs / 1000} fuse ${reason}`),
    },
  });

  runTo(seconds: number): void {
    for (; this.nowMs < seconds * 1000; this.nowMs += 250) {
      this.sampler.noteRates(this.rates, this.nowMs);
      this.sampler.advance(this.nowMs);
    }
  }
}

Deno.test("windows open after each interval, for the duration", () => {
  const bench = new Bench();
  bench.sampler.update("app", strategy, 0);
  bench.runTo(100);
  assert.deepEqual(bench.told, [
    ...["30 open w1", "40 close w1", "70 open w2", "80 close w2"],
  ]);
});

Deno.test("a busy system has no window, and gets one when it has recovered", () => {
  const bench = new Bench();
  bench.sampler.update("app", strategy, 0);
  bench.rates = hog;
  bench.runTo(50);
  bench.rates = idle;
  bench.runTo(61);
  assert.deepEqual(bench.told, [
    "30 skip CPU at 99.0 %, the maximum is 80 %",
    "60 open w1",
  ]);
  assert.equal(bench.sampler.skipped, 1);
});

Deno.test("the fuse stops an open window and lets it go on", () => {
  const bench = new Bench();
  bench.sampler.update("app", strategy, 0);
  bench.runTo(31);
  assert.equal(bench.sampler.writable, "w1");
  bench.rates = { cpuPercent: 5, memPercent: 70 };
  bench.runTo(32);
  assert.equal(bench.sampler.writable, undefined);
  assert.equal(bench.sampler.window, "w1");
  assert.match(bench.sampler.report("RPC", 32_000) as string, /memory at 70.0 %/);
  bench.rates = idle;
  bench.runTo(34);
  assert.equal(bench.sampler.writable, "w1");
  assert.equal(bench.sampler.fuseTrips, 1);
});

Deno.test("without rates nothing opens and nothing is written", () => {
  const bench = new Bench();
  bench.sampler.update("app", strategy, 0);
  bench.runTo(32);
  bench.rates = undefined;
  bench.runTo(38);
  assert.equal(bench.sampler.writable, undefined);
  bench.runTo(75);
  assert.match(bench.told[bench.told.length - 1], /72 skip the system's CPU and memory rates/);
});

Deno.test("switching: OFF closes, ON begins a new interval, FORCE_OFF wins", () => {
  const bench = new Bench();
  bench.sampler.update("app", strategy, 0);
  bench.runTo(31);
  bench.sampler.update("app", { ...strategy, switch: "OFF" }, bench.nowMs);
  bench.runTo(100);
  bench.sampler.update("app", strategy, bench.nowMs);
  bench.runTo(132);
  bench.sampler.update("global", { ...strategy, switch: "FORCE_OFF" }, bench.nowMs);
  bench.runTo(300);
  bench.sampler.update("global", { ...strategy, switch: "OFF" }, bench.nowMs);
  bench.runTo(331);
  assert.deepEqual(bench.told, [
    ...["30 open w1", "31 close w1", "130 open w2", "132 close w2", "330 open w3"],
  ]);
});

Deno.test("new values hold at once; what cannot be used changes nothing", () => {
  const bench = new Bench();
  bench.sampler.update("app", { ...strategy, interval: 3600 }, 0);
  bench.runTo(100);
  assert.throws(() => bench.sampler.update("app", { ...strategy, interval: 5 }, 100_000));
  assert.equal(bench.sampler.app.intervalS, 3600);
  bench.sampler.update("app", strategy, bench.nowMs);
  bench.sampler.update("app", { ...strategy, duration: 20 }, bench.nowMs);
  bench.runTo(125);
  assert.deepEqual(bench.told, ["100 open w1", "120 close w1"]);
});

Deno.test("a window that is overdue waits for a look at the system, and is not skipped", () => {
  const bench = new Bench();
  bench.sampler.update("app", { ...strategy, interval: 3600 }, 0);
  // Nobody looks at the system while no window is near.
  bench.nowMs = 100_000;
  bench.sampler.update("app", strategy, bench.nowMs);
  assert.ok(bench.sampler.nextDeadlineMs() > bench.nowMs, "who waits does not spin");
  bench.runTo(105);
  assert.deepEqual(bench.told, ["100 open w1"]);
  assert.equal(bench.sampler.skipped, 0);
});

Deno.test("each source takes back what it said, and FORCE_OFF of one wins over all", () => {
  const { sampler } = new Bench();
  const say = (source: string, state: string, interval = 30) =>
    sampler.update("global", { ...strategy, switch: state, interval }, 0, source);
  say("file", "ON", 40);
  say("endpoint", "FORCE_OFF");
  say("file", "ON", 50);
  assert.deepEqual([sampler.effective.isOn, sampler.forcedOffBy], [false, "endpoint"]);
  say("endpoint", "ON", 60);
  assert.deepEqual([sampler.effective.isOn, sampler.effective.intervalS], [true, 60]);
  assert.equal(sampler.forcedOffBy, undefined);
  say("file", "FORCE_OFF");
  say("endpoint", "ON");
  assert.equal(sampler.effective.isOn, false);
});

Deno.test("of a document read again only its news count, unless all of it is restated", () => {
  const { sampler } = new Bench();
  const document = (app: number, global: number) =>
    parseStrategyDocument(JSON.stringify({
      app: { ...strategy, switch: "OFF", interval: app },
      global: { ...strategy, interval: global },
    }));
  const intervals = () => [sampler.app.intervalS, sampler.global.intervalS];
  sampler.take(document(31, 41), 0, "file");
  sampler.update("app", { ...strategy, switch: "OFF", interval: 88 }, 0, "endpoint");
  sampler.update("global", { ...strategy, interval: 99 }, 0, "endpoint");
  sampler.take(document(31, 41), 0, "file", false);
  assert.deepEqual(intervals(), [88, 99]);
  sampler.take(document(32, 41), 0, "file", false);
  assert.deepEqual(intervals(), [32, 99]);
  sampler.take(document(32, 42), 0, "file", false);
  assert.deepEqual(intervals(), [32, 42]);
  sampler.update("global", { ...strategy, interval: 99 }, 0, "endpoint");
  sampler.take(document(32, 42), 0, "file");
  assert.deepEqual(intervals(), [32, 42]);
  // What it no longer says, others may still say.
  sampler.take({ app: undefined, global: undefined }, 0, "file", false);
  assert.deepEqual(intervals(), [88, 99]);
});

Deno.test("a business type reports once per window", () => {
  const bench = new Bench();
  const { sampler } = bench;
  assert.equal(sampler.report("RPC", 0), "sampling is switched off");
  sampler.update("app", strategy, 0);
  assert.equal(sampler.report("RPC", 0), "no sampling window is open");
  bench.runTo(31);
  assert.equal(sampler.report("RPC", bench.nowMs), undefined);
  assert.equal(sampler.report("mine", bench.nowMs), undefined);
  assert.equal(sampler.report("RPC", bench.nowMs), "RPC has already reported in this window");
  bench.runTo(71);
  assert.equal(sampler.report("RPC", bench.nowMs), undefined);
});
