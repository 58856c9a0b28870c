import assert from "node:assert/strict";
import { placeOf, Rhythm } from "../../src/session/rhythm.ts";

const NOW = 1000;

Deno.test("places tell pieces and shares apart", () => {
  const places = [
    placeOf(3, false, 10, 100),
    placeOf(1, true, 10, 100),
    placeOf(2, true, 10, 100),
    placeOf(2, true, 60, 100),
    placeOf(2, true, 150, 100),
    placeOf(2, true, 250, 100),
    placeOf(2, true, 250, 0),
  ];
  assert.equal(new Set(places).size, places.length);
  assert.equal(placeOf(7, true, 10, 100), placeOf(70, true, 10, 100));
  assert.equal(placeOf(1, false, 10, 100), placeOf(5, false, 10, 100));
});

Deno.test("three pieces: waited for after the first two, not after the third", () => {
  const rhythm = new Rhythm();
  const [first, second, third] = [1, 2, 3].map((n) => placeOf(n, true, 30 * n, 100));
  for (let turn = 0; turn < 100; turn++) {
    rhythm.noteContinued(first, 5);
    rhythm.noteContinued(second, 5);
    rhythm.noteEnded(third, 30);
  }
  assert.ok(rhythm.waitMs(first, 0, NOW) >= 8);
  assert.ok(rhythm.waitMs(second, 0, NOW) >= 8);
  assert.equal(rhythm.waitMs(third, 0, NOW), 0);
});

Deno.test("what is known of a target's silences bounds the caution at other places", () => {
  const rhythm = new Rhythm();
  const elsewhere = placeOf(5, true, 10, 100);
  const atFirst = rhythm.waitMs(elsewhere, 0, NOW);
  for (let i = 0; i < 100; i++) rhythm.noteContinued(placeOf(1, true, 10, 100), 1);
  rhythm.noteEnded(elsewhere, 0);
  for (let i = 0; i < 7; i++) rhythm.noteEnded(elsewhere, 0); // worked out anew
  assert.ok(atFirst > 50 && rhythm.waitMs(elsewhere, 0, NOW) <= 6);
});

Deno.test("who has waited much waits less, and loss makes patient", () => {
  const rhythm = new Rhythm();
  const place = placeOf(1, true, 10, 100);
  for (let i = 0; i < 500; i++) {
    if (i % 20 === 0) rhythm.noteContinued(place, 30);
    else rhythm.noteEnded(place, 100);
  }
  const waits = [0, 150, 400, 5000].map((lagMs) => rhythm.waitMs(place, lagMs, NOW));
  assert.deepEqual(waits, [...waits].sort((a, b) => b - a));
  assert.equal(waits[3], 0);
  rhythm.noteLoss(NOW);
  assert.ok(rhythm.waitMs(place, 0, NOW) > waits[0]);
  assert.equal(rhythm.waitMs(place, 0, NOW + 60_000), waits[0]);
  assert.ok(rhythm.shorterFromMs(0) > 0);
  assert.equal(rhythm.shorterFromMs(100_000), 0);
});

Deno.test("absent answers: full patience until the target is known to leave requests unanswered", () => {
  const rhythm = new Rhythm();
  rhythm.noteAnswered(0, NOW);
  assert.equal(rhythm.absenceMs(5000), 5000);
  // Ten sessions wait 300 ms each, while others are answered.
  for (let i = 0; i < 10; i++) {
    rhythm.noteAnswered(0, NOW + 300);
    rhythm.noteAbsent(NOW, NOW + 300);
  }
  assert.equal(rhythm.absenceMs(5000), rhythm.absenceFloorMs);
  assert.equal(rhythm.absenceMs(100), 100);
  // A late answer shows that waiting is worth while.
  rhythm.noteAnswered(700, NOW + 400);
  assert.equal(rhythm.absenceMs(5000), 5000);
});

Deno.test("a target that is silent towards everyone hangs: nobody is hurried for that", () => {
  const rhythm = new Rhythm();
  rhythm.noteAnswered(0, NOW);
  for (let ms = 200; ms <= 3000; ms += 100) {
    for (let session = 0; session < 50; session++) rhythm.noteAbsent(NOW + ms - 100, NOW + ms);
  }
  assert.equal(rhythm.absenceMs(5000), 5000);
});

Deno.test("a target that closes after most of its answers is given the time to do so", () => {
  const rhythm = new Rhythm();
  for (let i = 0; i < 100; i++) rhythm.noteClosing(i % 50 === 0);
  assert.equal(rhythm.closingMs, 0);
  for (let i = 0; i < 300; i++) rhythm.noteClosing(true);
  assert.ok(rhythm.closingMs > 0);
  for (let i = 0; i < 1000; i++) rhythm.noteClosing(false);
  assert.equal(rhythm.closingMs, 0);
});

Deno.test("lengths agree when sums are the same again and again", () => {
  const equal = new Rhythm();
  const ahead = new Rhythm(); // clients that read some answers later
  const longer = new Rhythm();
  const mixed = new Rhythm();
  assert.equal(equal.lengthsAgree, false);
  for (let i = 0; i < 200; i++) {
    equal.noteSurplus(0);
    ahead.noteSurplus(i % 4 === 0 ? 0 : 10);
    longer.noteSurplus(7 * i + 7);
    mixed.noteSurplus(i % 3 === 0 ? 0 : i % 3 === 1 ? 7 : -7);
  }
  assert.deepEqual(
    [equal, ahead, longer, mixed].map((one) => one.lengthsAgree),
    [true, true, false, false],
  );
});

Deno.test("where lengths agree and packets are lost, a shorter answer is given long", () => {
  const rhythm = new Rhythm();
  for (let i = 0; i < 50; i++) rhythm.noteSurplus(0);
  assert.equal(rhythm.shortfallMs(NOW), 0);
  rhythm.noteLoss(NOW);
  assert.ok(rhythm.shortfallMs(NOW) > 1000);
  for (let i = 0; i < 5; i++) rhythm.noteSurplus(-7);
  assert.equal(rhythm.shortfallMs(NOW), 0);
});
