/**
 * One captured connection and the simulated client that repeats it. Pure.
 *
 * The captured side puts the client's bytes in order and marks the turns; the endpoint is the TCP
 * connection to the target. The session stands between them: it lets a turn go when the target has
 * answered what the client had read by then, passes the ending on, and opens a fresh connection when
 * the target gave the old one up. It ends in exactly one outcome.
 */

import type { Packet } from "../wire/packet.ts";
import { looksEncrypted } from "../wire/tls.ts";
import { seqDiff, seqLess } from "../wire/sequence.ts";
import type { TcpOptions } from "../wire/tcp_options.ts";
import type { Opening } from "./admission.ts";
import { Evidence, NEVER_MS } from "./answer.ts";
import { CapturedEnd, CapturedSide, type SegmentReceiver } from "./captured_side.ts";
import type { SessionConfig } from "./config.ts";
import type { Delays } from "./delays.ts";
import { type EndpointContext, EndpointEvent, EndpointState, TcpEndpoint } from "./endpoint.ts";
import type { HandshakeOptions } from "./handshake.ts";
import { Outcome } from "./ledger.ts";
import type { Rhythm } from "./rhythm.ts";
import { NONE, SegmentFlag } from "./segment_store.ts";
import { TurnGate } from "./turn_gate.ts";

/** What a session needs from the table it lives in. */
export interface SessionHost {
  readonly config: SessionConfig;
  readonly context: EndpointContext;
  /** How far released turns were behind their capture. */
  readonly delays: Delays;
  /** What is known of how a transfer's target answers. */
  rhythmOf(transfer: number): Rhythm;
  /** Whether connections of a transfer are expected to begin with TLS. */
  expectsTls(transfer: number): boolean;
  /** A session begins, or does not, with TLS. */
  noteBeginning(session: Session, isEncrypted: boolean): void;
  /** When a connection may be opened again after one that came to nothing, at the earliest. */
  retryAtMs(session: Session, wantedMs: number): number;
  /** Whether the targets' answers can reach us: some intercept is connected. */
  readonly wayBackWorks: boolean;
  /** Gives the session a free source address and port and announces its route. */
  connect(session: Session, nowMs: number): boolean;
  /** Nothing is heard on the session's connection: its route may have got lost. */
  announceAgain(session: Session, nowMs: number): void;
  /** The session's present connection is over; its port may be reused later. */
  disconnect(session: Session, nowMs: number): void;
  /** Initial sequence number for the session's four-tuple, int32. */
  initialSequence(session: Session, nowMs: number): number;
  /** The session has ended. */
  ended(session: Session, outcome: Outcome, nowMs: number): void;
}

/** Answers of this size may be nothing but the online server's FIN. */
const FIN_ONLY = 1;
/** After such a silence of a target that is waited for its route is announced again; it doubles. */
const DOUBT_ROUTE_MS = 1000;

export class Session implements SegmentReceiver {
  readonly captured: CapturedSide;
  readonly endpoint: TcpEndpoint;
  /** Number of the session in its table. */
  readonly slot: number;
  /** Key of the captured flow. */
  readonly clientAddress: number;
  readonly clientWord: number;
  /** Number of the transfer and of the copy. */
  readonly transfer: number;
  readonly copy: number;
  /** The silence in which the route was doubted last, by its beginning, and when it is again. */
  #doubtedSilenceMs = 0;
  #doubtAfterMs = DOUBT_ROUTE_MS;
  /** Whether captured packets still lead here; false once the four-tuple was taken over. */
  attached = true;
  /** The captured SYN's sequence number; of a joined connection, its first packet's. */
  readonly initialSequence: number;
  /** Whether a SYN of another connection with this four-tuple came. */
  contested = false;
  /** Whether the table has put the session on its list of those to be served. */
  touched = false;
  ended = false;

  readonly #host: SessionHost;
  /** The first segment of the turn that waits for its answer, or NONE. */
  #pendingTurn = NONE;
  /** Decides when that turn may go. */
  readonly #gate: TurnGate;
  /** Whether the next turn was sent before, on another connection; and the turn released last. */
  #repeats = false;
  #isRepetition = false;
  #opened = false;
  #fruitless = 0;
  /** Not connected again before this time. */
  #retryAtMs = 0;
  /** Whether the client's ending was passed on without the answer before it. */
  #endsUnanswered = false;
  #isJoined = false;
  #isContinued = false;
  #isEncrypted = false;
  #hasBegun = false;
  #lostBytes = 0;
  /** When the connection was opened, or the way back worked again. */
  #openedAtMs = 0;
  #connectWanted = false;

  constructor(
    host: SessionHost,
    slot: number,
    clientAddress: number,
    clientWord: number,
    transfer: number,
    copy: number,
    initialSequence: number,
    options: HandshakeOptions,
    pieceBytes: number,
  ) {
    this.#host = host;
    this.slot = slot;
    this.clientAddress = clientAddress;
    this.clientWord = clientWord;
    this.transfer = transfer;
    this.copy = copy;
    this.initialSequence = initialSequence;
    this.captured = new CapturedSide(host.context, pieceBytes);
    this.endpoint = new TcpEndpoint(host.context, options);
    this.#gate = new TurnGate(this.endpoint, host.rhythmOf(transfer), host.context.counters);
  }

  /** Whether there is a connection to the target, or one in the making. */
  get connected(): boolean {
    return this.endpoint.state !== EndpointState.Closed;
  }

  /** Whether the client's connection was still open when it was heard last. */
  get clientMayGoOn(): boolean {
    const { end } = this.captured;
    if (this.#isEncrypted) return false;
    return end === CapturedEnd.Open || end === CapturedEnd.Gap;
  }

  /** The last segment held; a new one may share its block. */
  get tail(): number {
    return this.endpoint.stream.tail;
  }

  // --------------------------------------------------------------------------- captured packets

  /** Begins after the client's handshake; its SYN is given if it had the first bytes (RFC 7413). */
  beginAccepted(opening: Opening, syn: Packet | undefined, nowMs: number): void {
    this.captured.startAccepted(opening, nowMs);
    // Where TLS is expected the first bytes are looked at before the target hears of the client.
    this.#connectWanted = !this.#host.expectsTls(this.transfer);
    if (syn !== undefined) this.onCaptured(syn, nowMs);
  }

  /** Begins in mid-stream, with a packet known to begin a request. */
  beginAtTurn(packet: Packet, nowMs: number): void {
    this.#isJoined = true;
    this.#host.context.counters.joined++;
    this.captured.startAt(packet.sequence, packet.acknowledgment, nowMs);
    this.#connectWanted = true;
    this.onCaptured(packet, nowMs);
  }

  /** Takes a captured packet of the client. */
  onCaptured(packet: Packet, nowMs: number): void {
    if (!this.captured.accept(packet, nowMs, this)) this.abort(Outcome.Shed, nowMs);
  }

  /** Takes the next segment in order from the captured side. */
  append(segment: number): void {
    const store = this.#host.context.store;
    const stream = this.endpoint.stream;
    if (!this.#hasBegun) this.#lookAtBeginning(segment);
    stream.push(segment);
    if (this.#pendingTurn !== NONE) return;
    if ((store.flags[segment] & SegmentFlag.TurnStart) !== 0) this.#pendingTurn = segment;
    else if (this.connected || this.endpoint.events !== 0) {
      // Also while the end of the connection is still to be looked at: it decides about the turn.
      this.endpoint.releaseTo = stream.end;
    } else {
      // The rest of a turn whose beginning went down with the connection is of no use to anyone.
      this.#lose(store.length[segment]);
      stream.clear();
    }
  }

  #lookAtBeginning(segment: number): void {
    this.#hasBegun = true;
    if (this.#host.config.replaysTls) return;
    const { store } = this.#host.context;
    this.#isEncrypted = looksEncrypted(
      store.length[segment],
      (at) => store.byteAt(segment, at),
      !this.#isJoined,
    );
    this.#host.noteBeginning(this, this.#isEncrypted);
    if (!this.connected) this.#connectWanted = true;
  }

  /** The four-tuple belongs to a new connection. */
  detach(): void {
    this.attached = false;
    this.captured.declareReset();
  }

  /** No more packets will be captured. */
  stopCapture(): void {
    this.captured.declareStopped();
  }

  // ---------------------------------------------------------------------- the target's segments

  onResponse(packet: Packet, options: TcpOptions, nowMs: number): void {
    const turn = this.#pendingTurn;
    const wantedAtMs = turn === NONE ? nowMs : this.#host.context.store.capturedAtMs[turn];
    this.#gate.onSegment(packet, options, wantedAtMs, nowMs);
  }

  /** The tunnel works again. Returns whether something is sent earlier for it: at `atMs`. */
  kick(atMs: number, nowMs: number): boolean {
    this.#openedAtMs = nowMs;
    this.#gate.kick(nowMs);
    return this.endpoint.kick(atMs, nowMs);
  }

  // --------------------------------------------------------------------------------------- time

  /** When `serve` must be called at the latest. */
  deadlineMs(): number {
    const { config } = this.#host;
    const { captured, endpoint } = this;
    let deadline = Math.max(captured.heardAtMs, endpoint.answeredAtMs, endpoint.progressAtMs) +
      this.#timeoutMs();
    deadline = endpoint.deadlineBefore(deadline);
    if (captured.gapSinceMs !== 0) {
      deadline = Math.min(deadline, captured.gapSinceMs + config.gapTimeoutMs);
    }
    if (endpoint.state === EndpointState.SynSent) {
      // While answers cannot reach us the time-out is not due: `kick` starts it anew.
      if (this.#host.wayBackWorks) {
        deadline = Math.min(deadline, this.#openedAtMs + config.connectTimeoutMs);
      }
    } else if (endpoint.state === EndpointState.Closed && endpoint.stream.bytes > 0) {
      deadline = Math.min(deadline, this.#retryAtMs);
    }
    return Math.min(deadline, this.#gate.lookAtMs);
  }

  /** Does what is due: time-outs, reconnection, releasing turns, sending. */
  serve(nowMs: number): void {
    this.#gate.lookAtMs = NEVER_MS;
    if (this.#isEncrypted) {
      this.abort(Outcome.Encrypted, nowMs);
      return;
    }
    const { captured, endpoint } = this;
    if (endpoint.deadlineBefore(nowMs + 1) <= nowMs) endpoint.onTimer(nowMs);
    if (
      captured.gapSinceMs !== 0 && nowMs - captured.gapSinceMs >= this.#host.config.gapTimeoutMs
    ) {
      captured.declareGap();
    }
    if (endpoint.events !== 0 && !this.#onEvents(nowMs)) return;
    if (!this.connected && !this.#serveDisconnected(nowMs)) return;
    if (this.#isOverdue(nowMs)) return;
    if (endpoint.state === EndpointState.Established) {
      if (this.#hasClosedEarly()) {
        endpoint.abandon(nowMs);
        this.#resume(false, nowMs);
        if (this.ended || !this.connected) return;
      } else {
        this.#releaseTurns(nowMs);
        if (this.#pendingTurn === NONE && captured.end !== CapturedEnd.Open) {
          if (!this.#serveEnd(nowMs)) return;
        }
      }
      if (this.#pendingTurn !== NONE || captured.end !== CapturedEnd.Open) this.#doubtRoute(nowMs);
      endpoint.quickAck = this.#answerIsDue(nowMs);
    }
    endpoint.output(nowMs);
    if (endpoint.finAcknowledged && endpoint.peerFin) this.#complete(nowMs);
  }

  /** Ends the session at once; the target's connection is reset. */
  abort(outcome: Outcome, nowMs: number): void {
    this.endpoint.abort(nowMs);
    this.#end(outcome, nowMs);
  }

  // ------------------------------------------------------------------------------------ private

  /** Returns false when the session has ended. */
  #onEvents(nowMs: number): boolean {
    const { endpoint } = this;
    const events = endpoint.events;
    endpoint.events = 0;
    if (events & EndpointEvent.Established) this.#opened = true;
    if (events & EndpointEvent.Unheard) this.#host.announceAgain(this, nowMs);
    if (events & EndpointEvent.Refused) {
      this.#end(this.#opened ? Outcome.ResetByTarget : Outcome.Refused, nowMs);
      return false;
    }
    if (events & EndpointEvent.Reset) {
      this.#host.context.counters.resets++;
      if (endpoint.finSent && endpoint.stream.bytes === 0) {
        this.#complete(nowMs);
        return false;
      }
      this.#resume(true, nowMs);
    }
    return !this.ended;
  }

  /** Returns false when there is nothing more to do now. */
  #serveDisconnected(nowMs: number): boolean {
    if (this.#connectWanted) {
      this.#connectWanted = false;
      this.#connect(nowMs);
      return !this.ended;
    }
    if (this.endpoint.stream.bytes > 0) {
      if (nowMs < this.#retryAtMs) return false;
      this.#connect(nowMs);
      return !this.ended;
    }
    if (this.captured.end === CapturedEnd.Open) return true;
    if (this.captured.end === CapturedEnd.Gap) this.#end(Outcome.CaptureGap, nowMs);
    else this.#complete(nowMs);
    return false;
  }

  #connect(nowMs: number): void {
    const { endpoint } = this;
    if (!this.#host.connect(this, nowMs)) {
      this.#end(Outcome.Shed, nowMs);
      return;
    }
    endpoint.stream.startAt((this.#host.initialSequence(this, nowMs) + 1) | 0);
    this.#isContinued = this.#opened;
    if (this.#opened && this.#pendingTurn !== NONE) {
      // Nothing on the fresh connection answers what went before; but who spoke first will again.
      this.#host.context.store.answer[this.#pendingTurn] = this.#gate.greetingBytes;
    }
    this.#openedAtMs = nowMs;
    this.#retryAtMs = 0;
    this.#gate.open(nowMs);
    endpoint.open(nowMs);
  }

  /**
   * After the connection is gone: keeps what can be sent whole over a fresh one.
   *
   * @param wasReset a target that closes while a request arrives resets what its application never
   * read. So, as HTTP clients do (RFC 9110 section 9.2.2), a request to which not a byte of an answer
   * came, on a connection that had served others, is sent again, once.
   */
  #resume(wasReset: boolean, nowMs: number): void {
    const { endpoint } = this;
    const { stream } = endpoint;
    const { store, counters } = this.#host.context;
    this.#host.disconnect(this, nowMs);
    const { hasReleased, turnStart, answeredHere, isAnswered } = this.#gate;
    const mayRepeat = wasReset && stream.keeps && !this.#isRepetition && hasReleased &&
      answeredHere > 0 && !isAnswered;
    let from = endpoint.sndUna;
    if (mayRepeat && seqLess(turnStart, from)) {
      const acknowledgedTo = seqLess(from, stream.end) ? from : stream.end;
      stream.restoreKept();
      counters.acknowledgedBytes -= seqDiff(acknowledgedTo, turnStart);
      from = turnStart;
    }
    stream.dropKept();
    let first = stream.head;
    while (
      first !== NONE && ((store.flags[first] & SegmentFlag.TurnStart) === 0 ||
        seqLess(store.sequence[first], from))
    ) first = store.next[first];
    const resumeAt = first === NONE ? stream.end : store.sequence[first];
    const lost = seqDiff(resumeAt, from);
    if (lost > 0) this.#lose(lost);
    stream.releaseTo(resumeAt);
    this.#repeats = hasReleased && first !== NONE && resumeAt === turnStart;
    if (this.#repeats) counters.repeatedTurns++;
    this.#pendingTurn = first;
    this.#noteConnectionEnd(nowMs);
    if (this.#fruitless > this.#host.config.maxFruitless) {
      this.#end(this.#opened ? Outcome.Rejected : Outcome.ResetByTarget, nowMs);
      return;
    }
    if (first === NONE) return;
    counters.reconnects++;
    if (this.#retryAtMs <= nowMs) this.#connect(nowMs);
  }

  /** Takes stock of the connection that is over, and pauses after one that came to nothing. */
  #noteConnectionEnd(nowMs: number): void {
    const { config, context } = this.#host;
    const turn = this.#pendingTurn;
    const expected = turn === NONE ? this.captured.answerRead : context.store.answer[turn];
    if (this.#gate.close(expected)) {
      this.#fruitless = 0;
      this.#retryAtMs = 0;
      return;
    }
    context.counters.fruitless++;
    const backoffMs = config.firstBackoffMs << this.#fruitless++;
    // Sessions that failed together come back at different times.
    const jitterMs = (this.slot * 7919) % (backoffMs >> 1);
    this.#retryAtMs = this.#host.retryAtMs(this, nowMs + backoffMs + jitterMs);
  }

  #lose(bytes: number): void {
    this.#lostBytes += bytes;
    this.#host.context.counters.lostBytes += bytes;
  }

  /** How long nothing may happen: longer while the connection merely rests between two requests. */
  #timeoutMs(): number {
    const { sessionTimeoutMs, keepAliveTimeoutMs } = this.#host.config;
    const rests = this.endpoint.state === EndpointState.Established &&
      this.endpoint.stream.bytes === 0 && this.captured.end === CapturedEnd.Open &&
      (this.captured.answerRead === 0 || this.#gate.got > 0);
    return rests ? Math.max(sessionTimeoutMs, keepAliveTimeoutMs) : sessionTimeoutMs;
  }

  #isOverdue(nowMs: number): boolean {
    const { config } = this.#host;
    const { endpoint } = this;
    if (
      endpoint.state === EndpointState.SynSent && this.#host.wayBackWorks &&
      nowMs - this.#openedAtMs >= config.connectTimeoutMs
    ) {
      this.abort(Outcome.NoAnswer, nowMs);
      return true;
    }
    const active = Math.max(
      this.captured.heardAtMs,
      endpoint.answeredAtMs,
      endpoint.progressAtMs,
    );
    if (nowMs - active < this.#timeoutMs()) return false;
    this.abort(
      this.captured.isMissingBeforeEnd ? Outcome.CaptureGap : Outcome.TimedOut,
      nowMs,
    );
    return true;
  }

  /**
   * Whether the target has closed and a turn is left for which there must be a fresh connection.
   * The client that had read the online server's FIN, too, when it sent the turn does not need one.
   */
  #hasClosedEarly(): boolean {
    const { endpoint } = this;
    const turn = this.#pendingTurn;
    if (!endpoint.peerFin || turn === NONE || !endpoint.allAcknowledged) return false;
    const expected = this.#host.context.store.answer[turn];
    return expected === 0 || this.#gate.got !== expected;
  }

  #releaseTurns(nowMs: number): void {
    const { config, context } = this.#host;
    const { store } = context;
    // When the way back works again the session is served.
    if (!this.#host.wayBackWorks && config.waitForAnswers) return;
    while (this.#pendingTurn !== NONE) {
      const turn = this.#pendingTurn;
      const capturedAtMs = store.capturedAtMs[turn];
      const evidence = this.#gate.decide(store.answer[turn], capturedAtMs, config, nowMs);
      if (evidence === Evidence.None) return;
      this.#release(turn, evidence, capturedAtMs, nowMs);
    }
  }

  /**
   * The target is waited for and says nothing: it may be slow, or what it says may not find its way.
   * Where something is sent again in vain the endpoint notices; here nothing is.
   */
  #doubtRoute(nowMs: number): void {
    const { silentSinceMs } = this.#gate;
    if (silentSinceMs !== this.#doubtedSilenceMs) {
      this.#doubtedSilenceMs = silentSinceMs;
      this.#doubtAfterMs = DOUBT_ROUTE_MS;
    }
    if (nowMs - silentSinceMs >= this.#doubtAfterMs) {
      this.#doubtAfterMs *= 2;
      this.#host.announceAgain(this, nowMs);
    }
    this.#gate.lookAt(silentSinceMs + this.#doubtAfterMs, nowMs);
  }

  /** Lets a turn go, and everything that belongs to it. */
  #release(turn: number, evidence: Evidence, capturedAtMs: number, nowMs: number): void {
    const { stream } = this.endpoint;
    const { store } = this.#host.context;
    const turnStart = store.sequence[turn];
    this.#host.delays.note(
      this.#gate.release(evidence, store.answer[turn], turnStart, capturedAtMs, nowMs),
    );
    let next = store.next[turn];
    while (next !== NONE && (store.flags[next] & SegmentFlag.TurnStart) === 0) {
      next = store.next[next];
    }
    this.#pendingTurn = next;
    this.#isRepetition = this.#repeats;
    this.#repeats = false;
    stream.keepFrom(turnStart);
    this.endpoint.releaseTo = next === NONE ? stream.end : store.sequence[next];
  }

  /** Whether more of an answer is expected that the target may hold back for want of an ACK. */
  #answerIsDue(nowMs: number): boolean {
    const { captured } = this;
    if (this.#pendingTurn !== NONE) {
      return this.#gate.got !== this.#host.context.store.answer[this.#pendingTurn];
    }
    if (captured.end !== CapturedEnd.Open) return this.#gate.got !== captured.endAnswer;
    return this.#gate.mayGoOn(captured.answerRead, nowMs);
  }

  /** Passes the captured ending on. Returns false when the session has ended. */
  #serveEnd(nowMs: number): boolean {
    const { captured, endpoint } = this;
    if (captured.end === CapturedEnd.Fin) {
      if (!endpoint.finSent && this.#mayEnd(nowMs)) endpoint.finReleased = true;
      if (captured.resetAfterFin && endpoint.finAcknowledged) {
        endpoint.abort(nowMs);
        this.#complete(nowMs);
        return false;
      }
      return true;
    }
    if (endpoint.stream.bytes > 0 || !this.#mayEnd(nowMs)) return true;
    if (captured.end === CapturedEnd.Stopped) {
      endpoint.finReleased = true;
      return true;
    }
    endpoint.abort(nowMs);
    if (captured.end === CapturedEnd.Gap) this.#end(Outcome.CaptureGap, nowMs);
    else this.#complete(nowMs);
    return false;
  }

  /** Whether the target has answered what the client had read when it ended the connection. */
  #mayEnd(nowMs: number): boolean {
    const { captured } = this;
    const { config, context, wayBackWorks } = this.#host;
    const gate = this.#gate;
    if (this.endpoint.peerFin) return true;
    if (!wayBackWorks && config.waitForAnswers) return false;
    const stopped = captured.end === CapturedEnd.Stopped;
    // The answer to the last request may not have been captured any more: it is still waited for.
    const expected = stopped && gate.hasReleased
      ? Math.max(1, captured.endAnswer)
      : captured.endAnswer;
    const evidence = gate.decide(expected, captured.heardAtMs, config, nowMs);
    if (evidence === Evidence.Absent && !this.#endsUnanswered) {
      this.#endsUnanswered = true;
      if (expected > FIN_ONLY) context.counters.unanswered++;
    }
    if (evidence !== Evidence.None) return true;
    if (captured.end !== CapturedEnd.Fin || expected > FIN_ONLY) return false;
    // The client had read nothing but the online server's FIN, which may come later here.
    const endAtMs = gate.silentSinceMs + gate.absenceFloorMs;
    gate.lookAt(endAtMs, nowMs);
    return nowMs >= endAtMs;
  }

  #complete(nowMs: number): void {
    const outcome = this.#lostBytes > 0
      ? Outcome.ResetByTarget
      : this.captured.end === CapturedEnd.Gap
      ? Outcome.CaptureGap
      : this.#isContinued
      ? Outcome.Continued
      : Outcome.Complete;
    this.#end(outcome, nowMs);
  }

  #end(outcome: Outcome, nowMs: number): void {
    if (this.ended) return;
    this.ended = true;
    this.#host.disconnect(this, nowMs);
    this.endpoint.close();
    const { counters } = this.#host.context;
    counters.lostBytes += this.endpoint.unacknowledgedBytes;
    counters.unreplayedBytes += this.captured.missingBytes;
    this.endpoint.stream.clear();
    this.captured.clear();
    this.#pendingTurn = NONE;
    this.#host.ended(this, outcome, nowMs);
  }
}
