import assert from "node:assert/strict";
import {
  DEFAULT_STRATEGY,
  effectiveStrategy,
  parseStrategy,
  strategyJson,
} from "../../src/sampling/strategy.ts";

const good = { switch: "ON", interval: 30, duration: 10, cpu_max_rate: 80, mem_max_rate: 80 };

Deno.test("a strategy is taken as it stands, and written back the same", () => {
  const strategy = parseStrategy(good, "app");
  assert.deepEqual(strategyJson(strategy), good);
  assert.deepEqual(parseStrategy({ SWITCH: "ON" }, "app"), {
    ...DEFAULT_STRATEGY,
    switch: "ON",
  });
});

for (
  const [what, change, level, pattern] of [
    ["an unknown switch", { switch: "on" }, "app", /switch: expected "ON" or "OFF", came "on"/],
    ["FORCE_OFF of an application", { switch: "FORCE_OFF" }, "app", /switch/],
    ["no switch", { switch: undefined }, "global", /came nothing/],
    [
      "a short interval",
      { interval: 29 },
      "app",
      /30 to 3600 seconds \(--min-interval allows shorter ones\), came 29/,
    ],
    ["a long interval", { interval: 3601 }, "app", /interval/],
    ["half a second", { interval: 30.5 }, "app", /whole number/],
    ["an interval as text", { interval: "30" }, "app", /whole number of seconds, came "30"/],
    ["no duration", { duration: 0 }, "app", /duration/],
    ["a duration of the interval", { duration: 30 }, "app", /less than the interval of 30/],
    ["a CPU rate of 0", { cpu_max_rate: 0 }, "app", /cpu_max_rate: expected a percentage above 0/],
    ["a memory rate of 100", { mem_max_rate: 100 }, "global", /mem_max_rate.*below 100, came 100/],
    ["null for a number", { interval: null }, "app", /whole number of seconds, came null/],
    ["null for a rate", { cpu_max_rate: null }, "app", /cpu_max_rate: .*came null/],
    ["a misspelt name", { intervall: 60 }, "app", /key "intervall"; did you mean "interval"\?/],
    ["a name like no other", { x: 1 }, "app", /unknown key "x"; expected switch, interval,/],
  ] as const
) {
  Deno.test(`${what} is refused with the reason`, () => {
    assert.throws(() => parseStrategy({ ...good, ...change }, level), pattern);
  });
}

Deno.test("what is no object is refused", () => {
  for (const value of [null, 1, "ON", [good]]) {
    assert.throws(() => parseStrategy(value, "app"), /expected an object/);
  }
});

Deno.test("the lower bound of the interval can be lifted, never raised", () => {
  assert.equal(
    parseStrategy({ ...good, interval: 2, duration: 1 }, "app", { minIntervalS: 1 }).intervalS,
    2,
  );
  assert.throws(
    () => parseStrategy({ ...good, interval: 1, duration: 1 }, "app", { minIntervalS: 1 }),
    /duration/,
  );
  assert.equal(parseStrategy(good, "app", { minIntervalS: 60 }).intervalS, 30);
});

Deno.test("where Layotto takes what is missing for 0, nothing may be left out", () => {
  for (const name of Object.keys(good)) {
    const less = Object.fromEntries(Object.entries(good).filter(([other]) => other !== name));
    assert.throws(
      () => parseStrategy(less, "app", { needsAll: true }),
      new RegExp(`^StrategyError: ${name}: expected .*, came nothing$`),
    );
  }
  assert.deepEqual(strategyJson(parseStrategy(good, "app", { needsAll: true })), good);
});

Deno.test("FORCE_OFF wins, ON has its own values, OFF follows the global strategy", () => {
  const app = (state: string) => parseStrategy({ ...good, switch: state }, "app");
  const global = (state: string) =>
    parseStrategy({ ...good, switch: state, interval: 60, mem_max_rate: 50 }, "global");
  const table = [
    ["ON", "ON", true, 30],
    ["ON", "OFF", true, 30],
    ["ON", "FORCE_OFF", false, 3600],
    ["OFF", "ON", true, 60],
    ["OFF", "OFF", false, 60],
    ["OFF", "FORCE_OFF", false, 3600],
  ] as const;
  for (const [a, g, isOn, intervalS] of table) {
    const effective = effectiveStrategy(app(a), global(g));
    assert.deepEqual([effective.isOn, effective.intervalS], [isOn, intervalS], `${a} ${g}`);
  }
  assert.equal(effectiveStrategy(app("OFF"), global("ON")).memMaxPercent, 50);
});
