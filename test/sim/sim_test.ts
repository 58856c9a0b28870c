/**
 * Thousands of seeded simulations. A failing seed is printed with the command that plays it again.
 * `SIM_SEEDS` sets how many, `SIM_FROM` where to begin.
 */

import assert from "node:assert/strict";
import { replayCommand, runSeed } from "./run.ts";
import { THEMES } from "./scenario.ts";

const SEEDS = Number(Deno.env.get("SIM_SEEDS") ?? 6000);
const FROM = Number(Deno.env.get("SIM_FROM") ?? 1);
const MAX_SHOWN = 5;

Deno.test(`simulation: ${SEEDS} seeds from ${FROM} on`, () => {
  const failures: string[] = [];
  const played = new Set<string>();
  for (let seed = FROM; seed < FROM + SEEDS && failures.length < MAX_SHOWN; seed++) {
    let faults: string[];
    try {
      const run = runSeed(seed);
      played.add(run.result.scenario.theme);
      faults = run.faults;
    } catch (error) {
      faults = [`threw ${error instanceof Error ? error.stack : error}`];
    }
    if (faults.length > 0) {
      failures.push(`seed ${seed}: ${faults[0]}\n    ${replayCommand(seed)}`);
    }
  }
  assert.equal(failures.length, 0, failures.join("\n"));
  if (SEEDS >= 2000) assert.deepEqual([...played].sort(), THEMES.map(([name]) => name).sort());
});
