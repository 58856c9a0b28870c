/** The judge catches what it is there for: rules broken on purpose are found. */

import assert from "node:assert/strict";
import { AcceptableNumbers } from "../../src/session/acceptable_numbers.ts";
import { Admission } from "../../src/session/admission.ts";
import { Rhythm } from "../../src/session/rhythm.ts";
import { judge } from "./judge.ts";
import { makeScenario, type Scenario, type Theme } from "./scenario.ts";
import { play } from "./world.ts";

const SEEDS = 120;

function scenarios(theme: Theme): Scenario[] {
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

Deno.test("clients that are taken at their word are found", () => {
  const attacked = scenarios("hostile");
  assert.equal(attacked.filter((scenario) => judge(play(scenario)).length > 0).length, 0);
  const judgeOpening = Admission.prototype.judgeOpening;
  Admission.prototype.judgeOpening = function (...args) {
    this.evidence = { lookAgain() {}, hasConnection: () => true };
    return judgeOpening.apply(this, args);
  };
  try {
    assert.ok(caught(attacked, /nobody's/) >= SEEDS * 0.9);
  } finally {
    Admission.prototype.judgeOpening = judgeOpening;
  }
});

Deno.test("numbers the server does not accept are found where they count", () => {
  const attacked = scenarios("hostile");
  const accept = AcceptableNumbers.prototype.accept;
  AcceptableNumbers.prototype.accept = () => true;
  try {
    assert.ok(caught(attacked, /script/) >= SEEDS * 0.2);
  } finally {
    AcceptableNumbers.prototype.accept = accept;
  }
});

Deno.test("packets with wrong checksums are found where they count", () => {
  const attacked = scenarios("hostile").map((one) => ({
    ...one,
    config: { ...one.config, checksums: "do not matter" as const },
  }));
  // Somebody has to guess the numbers besides.
  const accept = AcceptableNumbers.prototype.accept;
  AcceptableNumbers.prototype.accept = () => true;
  try {
    assert.ok(caught(attacked, /script/) >= SEEDS * 0.2);
  } finally {
    AcceptableNumbers.prototype.accept = accept;
  }
});
