/** The judge catches what it is there for: rules broken on purpose are found. */

import assert from "node:assert/strict";
import { Rhythm } from "../../src/session/rhythm.ts";
import { judge } from "./judge.ts";
import { makeScenario, type Scenario } from "./scenario.ts";
import { play } from "./world.ts";

const SEEDS = 120;

function scenarios(theme: "another version" | "lags behind"): Scenario[] {
  return Array.from({ length: SEEDS }, (_, seed) => makeScenario(seed + 1, theme));
}

/** How many of the scenarios the judge finds fault with, in these words. */
function caught(played: readonly Scenario[], words: RegExp): number {
  return played.filter((scenario) => judge(play(scenario)).some((fault) => words.test(fault)))
    .length;
}

Deno.test("requests that do not wait for silences are found to be too early", () => {
  // Where a request is there before the target goes on.
  const inPieces = scenarios("another version").filter(({ app, there, back, tcp, turnMs }) =>
    app.parts > 1 && app.unaskedMs === 0 && !tcp.nagle && turnMs === 1 &&
    there.delayMs + back.delayMs < app.pauseMs
  );
  assert.ok(inPieces.length >= 5);
  assert.equal(caught(inPieces, /came before the answers/), 0);
  const waitMs = Rhythm.prototype.waitMs;
  Rhythm.prototype.waitMs = () => 0;
  try {
    assert.ok(caught(inPieces, /came before the answers/) >= inPieces.length * 0.7);
  } finally {
    Rhythm.prototype.waitMs = waitMs;
  }
});

Deno.test("sessions that lag without bound are found", () => {
  const played = scenarios("lags behind");
  assert.equal(caught(played, /behind its capture/), 0);
  const broken = played.map((one) => ({ ...one, config: { ...one.config, maxLagMs: 0 } }));
  assert.ok(caught(broken, /behind its capture/) >= SEEDS * 0.5);
});
