import assert from "node:assert/strict";
import { picture } from "./picture.ts";
import { wrap } from "./screen.ts";
import { percent, type Result, table } from "./table.ts";

function result(name: Result["name"]): Result {
  const latency = { count: 9, p50Us: 314, p99Us: 123_456 };
  return {
    name,
    comparison: {
      requestsOnline: 12_345,
      requestsTarget: 12_344,
      connections: 1000,
      exact: 999,
      problems: [],
    },
    onlineLatency: latency,
    targetLatency: latency,
    lagMs: "0/112",
    tcpcopy: { usPerRequest: 171.4, shareOfCore: 0.27 },
    intercept: { usPerRequest: 81.2, shareOfCore: 0.131 },
  };
}

Deno.test("the table fits a terminal of 80 columns", () => {
  assert.deepEqual(table([result("live"), result("offline")], 80, "µs"), [
    "             requests   byte-   latency p50/p99, ms behind  CPU, µs/req. (core)",
    "        online target   exact     online     target     ms    tcpcopy intercept",
    "live    12,345 12,344  99.9 % 0.31/123.5 0.31/123.5  0/112 171 (27 %) 81 (13 %)",
    "offline 12,345 12,344  99.9 % 0.31/123.5 0.31/123.5  0/112 171 (27 %) 81 (13 %)",
  ]);
});

Deno.test("a narrow terminal gets it upright", () => {
  const lines = table([result("live"), result("offline")], 60, "us");
  assert.equal(lines[3], "byte-exact                      99.9 %      99.9 %");
  assert.ok(lines.every((line) => line.length < 60));
});

Deno.test("100 % is all of it", () => {
  assert.equal(percent(9_999, 10_000), "99.9 %");
  assert.equal(percent(10_000, 10_000), "100 %");
});

Deno.test("nothing is wider than the terminal", () => {
  for (const width of [45, 60, 80]) {
    assert.ok(picture(width).split("\n").every((line) => line.length < width));
    const lines = wrap("some words of a longer sentence ".repeat(9), width, "  ");
    assert.ok(lines.every((line) => line.length < width));
  }
});
