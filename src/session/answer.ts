/**
 * The target's answer to the turn that was released last, and the decision whether it is whole. Pure;
 * asking changes nothing.
 *
 * What says that it is, strongest first: a protocol module's word; the length the client had read
 * online; or that nothing is missing and the silence is longer than the silences this target is known
 * to make at such a place. An answer that has not begun is waited for until it is overdue.
 */

import { seqDiff, seqLess } from "../wire/sequence.ts";
import { placeOf, type Rhythm } from "./rhythm.ts";

/** What says that an answer is whole. */
export const Evidence = {
  /** Nothing yet. */
  None: 0,
  /** The client had read nothing, or answers are not waited for. */
  NotAwaited: 1,
  /** A protocol module knows. */
  Module: 2,
  /** It is as long as what the client had read. */
  Length: 3,
  /** The target has said something, and is silent. */
  Silence: 4,
  /** The target has said nothing where the online server did. */
  Absent: 5,
} as const;
export type Evidence = typeof Evidence[keyof typeof Evidence];

/** A protocol module's word about an answer. */
export const Word = { Unknown: 0, Unfinished: 1, Whole: 2 } as const;
export type Word = typeof Word[keyof typeof Word];

/** Later than any time. */
export const NEVER_MS = 0x7fffffff;

/** What the connection knows; TcpEndpoint is one. */
export interface AnswerSource {
  /** Next sequence number expected of the target. */
  readonly rcvNxt: number;
  /** Whether what was received in order ends with a push. */
  readonly answerPushed: boolean;
  /** Whether something is missing before what was received. */
  readonly answerHasHole: boolean;
  /** Whether the target has acknowledged all that was released. */
  readonly allAcknowledged: boolean;
  /** Whether the target has closed. */
  readonly peerFin: boolean;
  /** Smoothed round-trip time, ms; -1 before it is known. */
  readonly roundTripMs: number;
}

/** A round trip below this is covered by the margin of every wait. */
const LONG_TRIP_MS = 10;

/** What is asked about an answer. */
export interface Question {
  /** Bytes of answer the client had read online; 0: none. */
  expected: number;
  /** Whether it is what the target says before it is asked anything. */
  isGreeting: boolean;
  /** Since when the target has said nothing new, or could have said something for the first time. */
  silentSinceMs: number;
  /** How long the online server may have taken before it answered, ms. */
  onlineMs: number;
  /** How far the session is behind the capture because it has waited in silences, ms. */
  ownLagMs: number;
  nowMs: number;
}

/** What comes out. */
export interface Verdict {
  evidence: Evidence;
  /** Without evidence: when silence alone will be enough, if nothing comes before; or NEVER_MS. */
  wholeAtMs: number;
}

export class Answer {
  /** Where it begins, in the target's sequence space. */
  base = 0;
  /** Behind the answers that turns have waited for so far, in the same space. */
  usedTo = 0;
  /** Behind what the client had read online in all, as if the answers were as long here. */
  readTo = 0;
  /** Pushed segments it has come in so far. */
  pieces = 0;
  /** Set by a protocol module that reads the answers. */
  word: Word = Word.Unknown;

  /** A connection begins; the target's first byte will have this sequence number. */
  start(sequence: number): void {
    this.base = sequence;
    this.usedTo = sequence;
    this.readTo = sequence;
    this.pieces = 0;
    this.word = Word.Unknown;
  }

  /**
   * The next turn goes: what the target says from here on is the answer to it.
   *
   * @param expected how much the client had read since the turn before
   * @param used how much of the answers that uses up
   */
  next({ rcvNxt }: AnswerSource, expected: number, used: number): void {
    this.readTo = (this.readTo + expected) | 0;
    this.usedTo = (this.usedTo + used) | 0;
    if (seqLess(rcvNxt, this.usedTo)) this.usedTo = rcvNxt;
    if (seqLess(this.base, rcvNxt)) this.base = rcvNxt;
    this.pieces = 0;
    this.word = Word.Unknown;
  }

  /** Bytes received in order so far. */
  got({ rcvNxt }: AnswerSource): number {
    return seqDiff(rcvNxt, this.base);
  }

  /** Where in the answer the target is; see `placeOf`. */
  place(source: AnswerSource, expected: number): number {
    return placeOf(this.pieces, source.answerPushed, this.got(source), expected);
  }

  /**
   * Decides whether the answer is whole; the reason, or when to ask again, is left in `verdict`.
   *
   * A client that does not wait for all of its answers had read some to earlier turns, and what came
   * before the last turn counts too. Lengths tell the two apart, while they agree.
   */
  judge(
    source: AnswerSource,
    question: Question,
    rhythm: Rhythm,
    answerTimeoutMs: number,
    verdict: Verdict,
  ): void {
    const { expected, silentSinceMs, nowMs } = question;
    verdict.wholeAtMs = NEVER_MS;
    verdict.evidence = this.#certainty(source, expected, rhythm);
    const closingMs = question.isGreeting ? 0 : rhythm.closingMs;
    if (verdict.evidence > Evidence.NotAwaited && nowMs < silentSinceMs + closingMs) {
      verdict.evidence = Evidence.None;
      verdict.wholeAtMs = silentSinceMs + closingMs;
      return;
    }
    // Where bytes of the request are on their way, or the answers are, something will still come.
    if (verdict.evidence !== Evidence.None || !source.allAcknowledged) return;
    if (source.peerFin) return; // nothing more will come
    if (this.got(source) <= 0) {
      const unused = seqDiff(source.rcvNxt, this.usedTo);
      const absenceMs = unused >= expected && rhythm.lengthsAgree
        ? rhythm.absenceFloorMs
        : rhythm.absenceMs(answerTimeoutMs);
      verdict.wholeAtMs = silentSinceMs + question.onlineMs + absenceMs;
      if (verdict.wholeAtMs <= nowMs) verdict.evidence = Evidence.Absent;
      return;
    }
    const isUnfinished = this.word === Word.Unfinished || source.answerHasHole;
    const waitMs = isUnfinished
      ? answerTimeoutMs
      : Math.max(closingMs, this.#listenMs(source, question, rhythm));
    verdict.wholeAtMs = silentSinceMs + Math.min(answerTimeoutMs, waitMs);
    if (verdict.wholeAtMs <= nowMs) verdict.evidence = Evidence.Silence;
  }

  /** How long a silence must be to end the answer, ms. */
  #listenMs(source: AnswerSource, { expected, ownLagMs, nowMs }: Question, rhythm: Rhythm): number {
    const learnedMs = rhythm.waitMs(this.place(source, expected), ownLagMs, nowMs);
    const shortfallMs = this.got(source) < expected ? rhythm.shortfallMs(nowMs) : 0;
    const waitMs = Math.max(learnedMs, shortfallMs);
    // The rest may be waiting for our acknowledgement (Nagle): that takes a round trip.
    return waitMs > 0 && source.roundTripMs >= LONG_TRIP_MS ? waitMs + source.roundTripMs : waitMs;
  }

  #certainty(source: AnswerSource, expected: number, rhythm: Rhythm): Evidence {
    if (expected <= 0) return Evidence.NotAwaited;
    if (this.word !== Word.Unknown) {
      return this.word === Word.Whole ? Evidence.Module : Evidence.None;
    }
    const got = this.got(source);
    if (got === expected) return Evidence.Length;
    const unused = seqDiff(source.rcvNxt, this.usedTo);
    const isCovered = got > 0 && unused >= expected && source.answerPushed && rhythm.lengthsAgree;
    return isCovered ? Evidence.Length : Evidence.None;
  }
}
