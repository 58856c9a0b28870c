/**
 * Decides when the next turn of a session may go, and watches the target's answers for it. Pure.
 *
 * The session says what waits and since when; the gate knows how the answer before it stands, how far
 * the session is behind, and what it has spent listening. What it sees goes to the rhythm, from which
 * all sessions of a transfer learn.
 */

import type { Packet } from "../wire/packet.ts";
import { seqDiff, seqLess, seqLessEq } from "../wire/sequence.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { TcpOptions } from "../wire/tcp_options.ts";
import { Answer, Evidence, NEVER_MS, type Question, type Verdict } from "./answer.ts";
import type { SessionConfig } from "./config.ts";
import type { SessionCounters } from "./counters.ts";
import { EndpointState, type TcpEndpoint } from "./endpoint.ts";
import { placeOf, type Rhythm } from "./rhythm.ts";

/** While an answer is absent its time is booked in steps of at most this. */
const ABSENCE_STEP_MS = 100;
/** A session in a hurry waits for answers again when it is behind by only so much of the bound. */
const CAUGHT_UP_SHARE = 0.1;

/** Reused for every decision. */
const question: Question = {
  expected: 0,
  isGreeting: false,
  silentSinceMs: 0,
  onlineMs: 0,
  ownLagMs: 0,
  nowMs: 0,
};
const verdict: Verdict = { evidence: Evidence.None, wholeAtMs: NEVER_MS };

export class TurnGate {
  /** When `decide` must be asked again at the latest, or NEVER_MS. */
  lookAtMs = NEVER_MS;
  /** Whether a turn has gone on this connection; where it begins in our sequence space. */
  hasReleased = false;
  turnStart = 0;
  /** Whether some of the answer to it has come. */
  isAnswered = false;
  /** Turns answered on this connection. */
  answeredHere = 0;
  /** What the target said before it was asked anything, bytes. */
  greetingBytes = 0;

  readonly #endpoint: TcpEndpoint;
  readonly #rhythm: Rhythm;
  readonly #counters: SessionCounters;
  /** The target's answer to the turn released last, or its greeting. */
  readonly #answer = new Answer();
  /** When the turn released last was captured, and when it was released. */
  #capturedAtMs = 0;
  #releasedAtMs = 0;
  /** What it was released by; where the answer before stood then, and since when it was silent. */
  #releasedBy: Evidence = Evidence.None;
  #releasedPlace = 0;
  #releasedSilentSinceMs = 0;
  /** How long the client had read the present answer to be, as far as is known. */
  #expected = 0;
  /** Until when the absence of an answer has been booked, or 0. */
  #absentToMs = 0;
  /** Turns released after which nothing has come yet, and none of which was given up. */
  #owedAnswers = 0;
  /** Of the time by which the session is behind, what it has spent listening for more, ms. */
  #listenedMs = 0;
  /** Since when the present answer has been as long as online, or 0. */
  #longEnoughSinceMs = 0;
  /** Too far behind to wait for answers. */
  #isHurrying = false;
  /** Answers on this connection that were as long as online. */
  #exactHere = 0;
  /** When the connection was opened, or the way back worked again. */
  #openedAtMs = 0;

  constructor(endpoint: TcpEndpoint, rhythm: Rhythm, counters: SessionCounters) {
    this.#endpoint = endpoint;
    this.#rhythm = rhythm;
    this.#counters = counters;
  }

  /** A connection is opened. */
  open(nowMs: number): void {
    this.#openedAtMs = nowMs;
    this.hasReleased = false;
    this.isAnswered = false;
    this.answeredHere = 0;
    this.#exactHere = 0;
    this.#absentToMs = 0;
    this.#owedAnswers = 0;
    this.#releasedBy = Evidence.None;
  }

  /** The way back works again: silences begin anew. */
  kick(nowMs: number): void {
    this.#openedAtMs = nowMs;
    this.#absentToMs = 0;
  }

  /** Bytes of the present answer. */
  get got(): number {
    return this.#answer.got(this.#endpoint);
  }

  /** When the target was heard last, or could have been for the first time. */
  get silentSinceMs(): number {
    const { answeredAtMs, progressAtMs } = this.#endpoint;
    return Math.max(answeredAtMs, progressAtMs, this.#openedAtMs);
  }

  // ---------------------------------------------------------------------- the target's segments

  /**
   * Takes a segment of the target, for the endpoint and for itself.
   *
   * @param wantedAtMs when the client went on to the turn that waits now, or the present time
   */
  onSegment(packet: Packet, options: TcpOptions, wantedAtMs: number, nowMs: number): void {
    const endpoint = this.#endpoint;
    const answer = this.#answer;
    const before = endpoint.rcvNxt;
    const wasPushed = endpoint.answerPushed;
    const wasAnsweredAtMs = endpoint.answeredAtMs;
    const wasEstablished = endpoint.state === EndpointState.Established;
    endpoint.onSegment(packet, options, nowMs);
    if (!wasEstablished) {
      if (endpoint.state === EndpointState.Established) answer.start(endpoint.rcvNxt);
      return;
    }
    if (packet.payloadLength === 0) return;
    const right = (packet.sequence + packet.payloadLength) | 0;
    if (seqLessEq(right, before)) return; // sent again, as a probe or because it was lost
    if (endpoint.answerHasHole) this.#rhythm.noteLoss(nowMs);
    if (this.hasReleased && seqLessEq(packet.acknowledgment, this.turnStart)) {
      // Sent before the target had seen the turn: the end of an earlier answer.
      if (seqLess(answer.base, right)) answer.base = right;
      this.#noteTooEarly(nowMs);
      return;
    }
    if (endpoint.rcvNxt !== before) {
      const got = seqDiff(before, answer.base);
      if (got > 0) {
        const place = placeOf(answer.pieces, wasPushed, got, this.#expected);
        this.#rhythm.noteContinued(place, nowMs - wasAnsweredAtMs);
        // Two answers: the one that was given up for absent may be among them, only late.
        if (this.#releasedBy === Evidence.Absent) {
          this.#rhythm.noteAnswered(nowMs - this.#releasedAtMs + this.absenceFloorMs, nowMs);
        }
      } else this.#onAnswerBegins(wantedAtMs, nowMs);
    }
    if (packet.flags & TcpFlag.Psh) answer.pieces++;
  }

  /** The turn released last went before the answer before it was whole. */
  #noteTooEarly(nowMs: number): void {
    const silenceMs = nowMs - this.#releasedSilentSinceMs;
    if (this.#releasedBy === Evidence.Absent) this.#rhythm.noteAnswered(silenceMs, nowMs);
    else if (this.#releasedBy !== Evidence.Silence) return;
    else this.#rhythm.noteContinued(this.#releasedPlace, silenceMs);
    this.#counters.early++;
    this.#releasedBy = Evidence.None; // counted once
  }

  #onAnswerBegins(wantedAtMs: number, nowMs: number): void {
    this.#absentToMs = 0;
    if (!this.hasReleased) {
      this.#rhythm.noteAnswered(nowMs - this.#openedAtMs, nowMs);
      return;
    }
    this.#endpoint.stream.dropKept();
    // Those that were sent without waiting are answered in order: none before was left out.
    this.#counters.answeredTurns += this.#owedAnswers;
    this.#owedAnswers = 0;
    this.answeredHere++;
    this.isAnswered = true;
    const tookMs = nowMs - this.#releasedAtMs;
    this.#rhythm.noteAnswered(tookMs - this.#onlineMs(wantedAtMs), nowMs);
  }

  // ------------------------------------------------------------------------------- the decision

  /**
   * Finds out whether the target has answered as much as the client had read; if not, `lookAtMs` says
   * when to ask again.
   *
   * @param wantedAtMs when the client went on: everything after that is lag
   * @returns Evidence.None while the answer is waited for
   */
  decide(expected: number, wantedAtMs: number, config: SessionConfig, nowMs: number): Evidence {
    this.#expected = expected;
    const lagMs = (nowMs - wantedAtMs) | 0; // a stored time has 32 bits
    if (!config.waitForAnswers || this.#mustHurry(lagMs, config)) return Evidence.NotAwaited;
    if (this.#longEnoughSinceMs === 0 && this.got >= expected) this.#longEnoughSinceMs = nowMs;
    const ownLagMs = Math.min(lagMs, this.#listenedMs + this.#listeningMs(lagMs, nowMs));
    question.expected = expected;
    question.isGreeting = !this.hasReleased;
    question.silentSinceMs = this.silentSinceMs;
    question.onlineMs = this.#onlineMs(wantedAtMs);
    question.ownLagMs = ownLagMs;
    question.nowMs = nowMs;
    this.#answer.judge(this.#endpoint, question, this.#rhythm, config.answerTimeoutMs, verdict);
    if (verdict.evidence !== Evidence.None) return verdict.evidence;
    this.lookAt(verdict.wholeAtMs, nowMs);
    if (config.maxLagMs > 0) this.lookAt(nowMs - lagMs + config.maxLagMs, nowMs);
    const shorterFromMs = this.#rhythm.shorterFromMs(ownLagMs);
    if (shorterFromMs > 0) this.lookAt(nowMs + shorterFromMs - ownLagMs, nowMs);
    this.#bookAbsence(wantedAtMs, nowMs);
    return Evidence.None;
  }

  /** Wants to be asked again at a time, if that is still to come. */
  lookAt(atMs: number, nowMs: number): void {
    if (atMs > nowMs && atMs < this.lookAtMs) this.lookAtMs = atMs;
  }

  /**
   * For how long the client's next request has waited although the answer may have been whole, ms:
   * in silence, or while a target that had said enough said more.
   */
  #listeningMs(lagMs: number, nowMs: number): number {
    const sinceMs = this.#longEnoughSinceMs === 0 ? this.silentSinceMs : this.#longEnoughSinceMs;
    return Math.max(0, Math.min(lagMs, nowMs - sinceMs));
  }

  /**
   * Whether the session is too far behind to wait, until it has caught up. Where the target closes
   * connections it waits all the same: requests sent ahead would be lost with them.
   */
  #mustHurry(lagMs: number, { maxLagMs }: SessionConfig): boolean {
    if (maxLagMs === 0 || this.#rhythm.mayClose) this.#isHurrying = false;
    else if (lagMs >= maxLagMs) this.#isHurrying = true;
    else if (lagMs <= maxLagMs * CAUGHT_UP_SHARE) this.#isHurrying = false;
    return this.#isHurrying;
  }

  /** How long the online server may have taken for the present answer: the client went on then. */
  #onlineMs(wantedAtMs: number): number {
    return this.hasReleased ? Math.max(0, (wantedAtMs - this.#capturedAtMs) | 0) : 0;
  }

  /** Tells the rhythm for how long an answer has been absent beyond what is usual. */
  #bookAbsence(wantedAtMs: number, nowMs: number): void {
    if (this.got > 0 || !this.#endpoint.allAcknowledged) {
      this.#absentToMs = 0;
      return;
    }
    const fromMs = this.silentSinceMs + this.#onlineMs(wantedAtMs) + this.#rhythm.absenceFloorMs;
    if (nowMs < fromMs) {
      this.lookAt(fromMs, nowMs);
      return;
    }
    this.#rhythm.noteAbsent(Math.max(fromMs, this.#absentToMs), nowMs);
    this.#absentToMs = nowMs;
    this.lookAt(nowMs + ABSENCE_STEP_MS, nowMs);
  }

  // ------------------------------------------------------------------------------ the turn goes

  /**
   * A turn goes: what the target says from here on is the answer to it.
   *
   * @param expected what it was decided for, as in `decide`
   * @param turnStart where the turn begins in our sequence space
   * @returns how far it is behind its capture, ms
   */
  release(
    evidence: Evidence,
    expected: number,
    turnStart: number,
    capturedAtMs: number,
    nowMs: number,
  ): number {
    const endpoint = this.#endpoint;
    const lagMs = Math.max(0, (nowMs - capturedAtMs) | 0);
    if (evidence === Evidence.Silence) this.#listenedMs += this.#listeningMs(lagMs, nowMs);
    if (this.#listenedMs > lagMs) this.#listenedMs = lagMs;
    this.#learn(evidence, expected, nowMs);
    this.#owedAnswers = evidence === Evidence.Absent ? 1 : this.#owedAnswers + 1;
    if (!this.hasReleased) this.greetingBytes = seqDiff(endpoint.rcvNxt, endpoint.irs) - 1;
    this.hasReleased = true;
    this.isAnswered = false;
    this.turnStart = turnStart;
    this.#capturedAtMs = capturedAtMs;
    this.#releasedAtMs = nowMs;
    this.#releasedBy = evidence;
    this.#expected = 0;
    this.#longEnoughSinceMs = 0;
    this.#absentToMs = 0;
    return lagMs;
  }

  /** Learns from what ended an answer, and turns to the next. */
  #learn(evidence: Evidence, expected: number, nowMs: number): void {
    const endpoint = this.#endpoint;
    const counters = this.#counters;
    const answer = this.#answer;
    const rhythm = this.#rhythm;
    const { got } = this;
    counters.turns++;
    this.#releasedPlace = answer.place(endpoint, expected);
    this.#releasedSilentSinceMs = this.silentSinceMs;
    if (this.isAnswered) rhythm.noteClosing(false);
    if (got > 0) rhythm.noteEnded(this.#releasedPlace, nowMs - endpoint.answeredAtMs);
    // Of greetings, which are all alike, nothing is learned.
    if (this.hasReleased && expected > 0) {
      if (got === expected) this.#exactHere++;
      rhythm.noteSurplus(seqDiff(endpoint.rcvNxt, (answer.readTo + expected) | 0));
    }
    if (evidence === Evidence.Silence) counters.otherLengths++;
    else if (evidence === Evidence.Absent) counters.unanswered++;
    else if (evidence === Evidence.NotAwaited && this.#isHurrying) counters.unwaited++;
    const unused = seqDiff(endpoint.rcvNxt, answer.usedTo);
    const hasSurplus = evidence === Evidence.Length && rhythm.lengthsAgree;
    answer.next(endpoint, expected, hasSurplus ? expected : unused);
  }

  /**
   * The connection is over: whether it was of use. One that answered nothing was not, and where the
   * target speaks first it must have answered more than its first turn, or that as online did: a
   * refused login is an answer, too.
   *
   * @param expected how long the client had read the last answer to be
   */
  close(expected: number): boolean {
    if (this.isAnswered) this.#rhythm.noteClosing(true);
    if (this.greetingBytes === 0) return this.answeredHere > 0;
    const got = this.got - (this.#endpoint.peerFin ? 1 : 0);
    return this.answeredHere > 1 || this.#exactHere > 0 || (this.isAnswered && got === expected);
  }

  /**
   * Whether the target may hold more of the present answer back for want of an acknowledgement, while
   * nothing waits for it.
   *
   * @param expected what the client is known to have read of it
   */
  mayGoOn(expected: number, nowMs: number): boolean {
    const { got } = this;
    if (got >= expected) return false;
    if (got <= 0 || this.#endpoint.answerHasHole) return true;
    // Shorter than online: only a target that goes on at such places may be waiting for an ACK.
    return this.#rhythm.waitMs(this.#answer.place(this.#endpoint, expected), 0, nowMs) > 0;
  }

  /** How long is waited for what may never come, ms. */
  get absenceFloorMs(): number {
    return this.#rhythm.absenceFloorMs;
  }
}
