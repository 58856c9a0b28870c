import assert from "node:assert/strict";
import type { Logger } from "@logtape/logtape";
import { RareWarnings } from "../../src/trafficdump/rare_warnings.ts";

Deno.test("a kind of warning is a line now and then, which counts those left out", () => {
  const lines: string[] = [];
  const log = { warn: (text: string) => lines.push(text) } as unknown as Logger;
  let nowMs = 0;
  const warnings = new RareWarnings(log, "proxy", () => nowMs);
  for (; nowMs < 20_000; nowMs += 10) warnings.warn("full", "no room");
  warnings.warn("accept", "no descriptor");
  assert.deepEqual(lines, [
    "proxy: no room",
    "proxy: no room (and 999 times more since this was last said)",
    "proxy: no descriptor",
  ]);
});
