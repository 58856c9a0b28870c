import assert from "node:assert/strict";
import { Answer, type AnswerSource, Evidence, NEVER_MS, Word } from "../../src/session/answer.ts";
import { Rhythm } from "../../src/session/rhythm.ts";

const BASE = 0x7ffffff0; // answers cross the wrap of int32
const TIMEOUT_MS = 3000;
const SILENT_SINCE_MS = 10_000;

interface State extends Partial<AnswerSource> {
  got: number;
  pieces?: number;
  expected: number;
  silentMs?: number;
  onlineMs?: number;
  word?: Word;
  rhythm?: Rhythm;
}

/** What is decided in a state: the evidence, and when silence alone would do. */
function decide(state: State): { evidence: Evidence; inMs: number } {
  const answer = new Answer();
  answer.start(BASE | 0);
  answer.pieces = state.pieces ?? 1;
  answer.word = state.word ?? Word.Unknown;
  const source: AnswerSource = {
    rcvNxt: (BASE + state.got) | 0,
    answerPushed: true,
    answerHasHole: false,
    allAcknowledged: true,
    peerFin: false,
    roundTripMs: 1,
    ...state,
  };
  const nowMs = SILENT_SINCE_MS + (state.silentMs ?? 0);
  const question = {
    expected: state.expected,
    isGreeting: false,
    silentSinceMs: SILENT_SINCE_MS,
    onlineMs: state.onlineMs ?? 0,
    ownLagMs: 0,
    nowMs,
  };
  const verdict = { evidence: Evidence.None as Evidence, wholeAtMs: 0 };
  const before = JSON.stringify(answer);
  for (let i = 0; i < 3; i++) {
    answer.judge(source, question, state.rhythm ?? new Rhythm(), TIMEOUT_MS, verdict);
  }
  assert.equal(JSON.stringify(answer), before, "asking changes nothing");
  const { wholeAtMs } = verdict;
  return {
    evidence: verdict.evidence,
    inMs: wholeAtMs === NEVER_MS ? Infinity : wholeAtMs - SILENT_SINCE_MS,
  };
}

Deno.test("nothing to wait for, and the length read online", () => {
  assert.equal(decide({ got: 0, expected: 0 }).evidence, Evidence.NotAwaited);
  assert.equal(decide({ got: 100, expected: 100 }).evidence, Evidence.Length);
  assert.equal(
    decide({ got: 100, expected: 100, answerPushed: false, allAcknowledged: false }).evidence,
    Evidence.Length,
  );
});

Deno.test("another length is whole after a silence, whether shorter or longer", () => {
  for (const got of [93, 107, 5, 5000]) {
    const early = decide({ got, expected: 100 });
    assert.equal(early.evidence, Evidence.None);
    assert.ok(early.inMs > 0 && early.inMs < 200, `${early.inMs} ms`);
    assert.equal(
      decide({ got, expected: 100, silentMs: early.inMs }).evidence,
      Evidence.Silence,
    );
  }
});

Deno.test("what is not pushed takes longer, a hole as long as a missing answer", () => {
  const pushed = decide({ got: 93, expected: 100 }).inMs;
  const unpushed = decide({ got: 93, expected: 100, answerPushed: false }).inMs;
  const withHole = decide({ got: 93, expected: 100, answerHasHole: true }).inMs;
  assert.ok(pushed < unpushed && unpushed < withHole);
  assert.equal(withHole, TIMEOUT_MS);
});

Deno.test("while the request is on its way, or when the target has closed, silence says nothing", () => {
  assert.equal(decide({ got: 93, expected: 100, allAcknowledged: false }).inMs, Infinity);
  assert.equal(decide({ got: 93, expected: 100, peerFin: true }).inMs, Infinity);
});

Deno.test("an answer that does not begin is absent, beyond the time it took online", () => {
  assert.equal(decide({ got: 0, expected: 100, onlineMs: 700 }).inMs, TIMEOUT_MS + 700);
  assert.equal(
    decide({ got: 0, expected: 100, onlineMs: 700, silentMs: TIMEOUT_MS + 700 }).evidence,
    Evidence.Absent,
  );
});

Deno.test("a far target's rest may wait for an acknowledgement: a round trip more", () => {
  const near = decide({ got: 93, expected: 100 }).inMs;
  assert.equal(decide({ got: 93, expected: 100, roundTripMs: 120 }).inMs, near + 120);
});

Deno.test("a module's word counts, either way", () => {
  assert.equal(decide({ got: 5, expected: 100, word: Word.Whole }).evidence, Evidence.Module);
  const unfinished = decide({ got: 100, expected: 100, word: Word.Unfinished });
  assert.deepEqual(unfinished, { evidence: Evidence.None, inMs: TIMEOUT_MS });
});

Deno.test("where lengths agree, answers to earlier requests count, if something new has come", () => {
  const rhythm = new Rhythm();
  for (let i = 0; i < 50; i++) rhythm.noteSurplus(0);
  assert.equal(decide({ got: 150, expected: 100, rhythm }).evidence, Evidence.Length);
  assert.equal(decide({ got: 90, expected: 100, rhythm }).evidence, Evidence.None);
  assert.equal(
    decide({ got: 150, expected: 100, rhythm, answerPushed: false }).evidence,
    Evidence.None,
  );
});

Deno.test("a target about to close is given the time, even when the length is right", () => {
  const rhythm = new Rhythm();
  for (let i = 0; i < 50; i++) rhythm.noteClosing(true);
  const { evidence, inMs } = decide({ got: 100, expected: 100, rhythm });
  assert.equal(evidence, Evidence.None);
  assert.equal(inMs, rhythm.closingMs);
  assert.equal(
    decide({ got: 100, expected: 100, rhythm, silentMs: inMs }).evidence,
    Evidence.Length,
  );
});

Deno.test("each turn's answer begins where the one before ended", () => {
  const answer = new Answer();
  answer.start(10);
  const source = { rcvNxt: 60 } as AnswerSource;
  answer.pieces = 4;
  answer.next(source, 40, 40);
  assert.deepEqual([answer.base, answer.usedTo, answer.readTo, answer.pieces], [60, 50, 50, 0]);
  answer.next(source, 100, 100); // more than there is
  assert.deepEqual([answer.usedTo, answer.readTo], [60, 150]);
});
