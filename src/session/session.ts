/**
 * One captured connection and the simulated client that repeats it. Pure.
 *
 * The captured side puts the client's bytes in order and marks the turns; the endpoint is the TCP
 * connection to the target. The session stands between them: it lets a turn go when the target has
 * answered what the client had read by then, passes the ending on, and opens a fresh connection when
 * the target gave the old one up. It ends in exactly one outcome.
 */

import type { Packet } from "../wire/packet.ts";
import { seqDiff, seqLess, seqLessEq } from "../wire/sequence.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { TcpOptions } from "../wire/tcp_options.ts";
import { CapturedEnd, CapturedSide, type SegmentReceiver } from "./captured_side.ts";
import type { SessionConfig } from "./config.ts";
import { type EndpointContext, EndpointEvent, EndpointState, TcpEndpoint } from "./endpoint.ts";
import type { HandshakeOptions } from "./handshake.ts";
import { Outcome } from "./ledger.ts";
import type { Patience } from "./patience.ts";
import { NONE, SegmentFlag } from "./segment_store.ts";

/** What a session needs from the table it lives in. */
export interface SessionHost {
  readonly config: SessionConfig;
  readonly context: EndpointContext;
  readonly patience: Patience;
  /** Whether the targets' answers can reach us: some intercept is connected. */
  readonly wayBackWorks: boolean;
  /** Gives the session a free source address and port and announces its route. */
  connect(session: Session, nowMs: number): boolean;
  /** The session's present connection is over; its port may be reused later. */
  disconnect(session: Session, nowMs: number): void;
  /** Initial sequence number for the session's four-tuple, int32. */
  initialSequence(session: Session, nowMs: number): number;
  /** The session has ended. */
  ended(session: Session, outcome: Outcome, nowMs: number): void;
}

/** Answers of this size may be nothing but the online server's FIN. */
const FIN_ONLY = 1;

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
  /** Whether captured packets still lead here; false once the four-tuple was taken over. */
  attached = true;
  /** The captured SYN's sequence number; meaningful unless joining. */
  readonly initialSequence: number;
  /** Waits for a boundary between requests to begin at. */
  joining = false;
  /** Whether the table has put the session on its list of those to be served. */
  touched = false;
  ended = false;

  readonly #host: SessionHost;
  #joinNext = 0;
  #joinAck = 0;
  /** The first segment of the turn that waits for its answer, or NONE. */
  #pendingTurn = NONE;
  /** Where the turn released last begins. */
  #turnStart = 0;
  #turnReleased = false;
  /** Where in the target's sequence space the answer to the last turn begins. */
  #answerBase = 0;
  /** Behind the answers that turns have waited for so far, in the same space. */
  #usedTo = 0;
  #opened = false;
  #fruitlessReconnects = 0;
  #acknowledgedSinceOpen = false;
  #lostBytes = 0;
  /** When the connection was opened, or the way back worked again. */
  #openedAtMs = 0;
  #connectWanted = false;
  #servedAtMs = 0;

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
    this.captured = new CapturedSide(host.context.store, host.context.counters, pieceBytes);
    this.endpoint = new TcpEndpoint(host.context, options);
  }

  /** Whether there is a connection to the target, or one in the making. */
  get connected(): boolean {
    return this.endpoint.state !== EndpointState.Closed;
  }

  /** Whether the client's connection was still open when it was heard last. */
  get clientMayGoOn(): boolean {
    const { end } = this.captured;
    if (this.joining) return false;
    return end === CapturedEnd.Open || end === CapturedEnd.Gap;
  }

  /** The last segment held; a new one may share its block. */
  get tail(): number {
    return this.endpoint.stream.tail;
  }

  // --------------------------------------------------------------------------- captured packets

  /** Begins with the client's SYN, which may carry the first bytes (RFC 7413). */
  beginWithSyn(packet: Packet, nowMs: number): void {
    this.captured.startAfterSyn(packet.sequence, nowMs);
    this.#connectWanted = true;
    if (packet.payloadLength > 0) this.onCaptured(packet, nowMs);
  }

  /** Begins in mid-stream, with a packet that may lie in the middle of a request. */
  beginJoining(packet: Packet, nowMs: number): void {
    this.joining = true;
    this.captured.heardAtMs = nowMs;
    this.#joinNext = (packet.sequence + packet.payloadLength) | 0;
    this.#joinAck = packet.acknowledgment;
  }

  /** Begins in mid-stream, with a packet known to begin a request. */
  beginAtTurn(packet: Packet, nowMs: number): void {
    this.#host.context.counters.joined++;
    this.captured.startAt(packet.sequence, packet.acknowledgment, nowMs);
    this.#connectWanted = true;
    this.onCaptured(packet, nowMs);
  }

  /** Takes a captured packet of the client. */
  onCaptured(packet: Packet, nowMs: number): void {
    if (this.joining && !this.#findBoundary(packet, nowMs)) return;
    if (!this.captured.accept(packet, nowMs, this)) this.abort(Outcome.Shed, nowMs);
  }

  /**
   * A request begins with the first bytes the client sent after having read more of the answer. Both
   * sides of that boundary must have been seen: what came before it, and that nothing lies between.
   */
  #findBoundary(packet: Packet, nowMs: number): boolean {
    this.captured.heardAtMs = nowMs;
    if (packet.flags & (TcpFlag.Fin | TcpFlag.Rst)) {
      this.#end(Outcome.NotJoined, nowMs);
      return false;
    }
    if (packet.payloadLength === 0 || (packet.flags & TcpFlag.Ack) === 0) return false;
    if (packet.sequence === this.#joinNext && seqLess(this.#joinAck, packet.acknowledgment)) {
      this.joining = false;
      this.#host.context.counters.joined++;
      this.captured.startAt(packet.sequence, packet.acknowledgment, nowMs);
      this.#connectWanted = true;
      return true;
    }
    const right = (packet.sequence + packet.payloadLength) | 0;
    if (seqLess(this.#joinNext, right)) {
      this.#joinNext = right;
      this.#joinAck = packet.acknowledgment;
    }
    return false;
  }

  /** Takes the next segment in order from the captured side. */
  append(segment: number): void {
    const store = this.#host.context.store;
    const stream = this.endpoint.stream;
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

  /** The four-tuple belongs to a new connection. */
  detach(): void {
    this.attached = false;
    this.captured.declareReset();
  }

  /** No more packets will be captured. */
  stopCapture(nowMs: number): void {
    if (this.joining) {
      this.#end(Outcome.NotJoined, nowMs);
      return;
    }
    this.captured.declareStopped();
  }

  // ---------------------------------------------------------------------- the target's segments

  onResponse(packet: Packet, options: TcpOptions, nowMs: number): void {
    const endpoint = this.endpoint;
    endpoint.onSegment(packet, options, nowMs);
    if (this.#turnReleased && seqLessEq(packet.acknowledgment, this.#turnStart)) {
      // Sent before the target had seen the turn: the end of an earlier answer.
      const right = (packet.sequence + packet.payloadLength) | 0;
      if (seqLess(this.#answerBase, right)) this.#answerBase = right;
    }
  }

  /** The tunnel works again. */
  kick(nowMs: number): void {
    this.#openedAtMs = nowMs;
    this.endpoint.kick(nowMs);
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
    } else if (endpoint.state === EndpointState.Established) {
      const ending = captured.end !== CapturedEnd.Open && !endpoint.finSent;
      if (this.#pendingTurn !== NONE || ending) {
        // Each of these moments is waited for once; what it did not decide, an event will.
        const sinceMs = this.#silentSinceMs;
        const quietAtMs = sinceMs + this.#host.patience.quietMs;
        const endAtMs = sinceMs + config.endWaitMs;
        if (quietAtMs > this.#servedAtMs) deadline = Math.min(deadline, quietAtMs);
        else if (endAtMs > this.#servedAtMs) deadline = Math.min(deadline, endAtMs);
      }
    }
    return deadline;
  }

  /** Does what is due: time-outs, reconnection, releasing turns, sending. */
  serve(nowMs: number): void {
    this.#servedAtMs = nowMs;
    if (this.joining) {
      if (nowMs - this.captured.heardAtMs >= this.#host.config.sessionTimeoutMs) {
        this.#end(Outcome.NotJoined, nowMs);
      }
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
        this.#resume(nowMs);
        if (this.ended || !this.connected) return;
      } else {
        this.#releaseTurns(nowMs);
        if (this.#pendingTurn === NONE && captured.end !== CapturedEnd.Open) {
          if (!this.#serveEnd(nowMs)) return;
        }
      }
      endpoint.quickAck = this.#answerIsDue();
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
    if (events & EndpointEvent.Established) {
      this.#answerBase = (endpoint.irs + 1) | 0;
      this.#usedTo = this.#answerBase;
    }
    if (events & EndpointEvent.Acknowledged) this.#acknowledgedSinceOpen = true;
    if (events & EndpointEvent.Refused) {
      this.#end(this.#opened ? Outcome.ResetByTarget : Outcome.Refused, nowMs);
      return false;
    }
    if (events & EndpointEvent.Established) this.#opened = true;
    if (events & EndpointEvent.Reset) {
      this.#host.context.counters.resets++;
      if (endpoint.finSent && endpoint.stream.bytes === 0) {
        this.#complete(nowMs);
        return false;
      }
      this.#resume(nowMs);
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
    if (this.#opened && this.#pendingTurn !== NONE) {
      // Nothing on the fresh connection answers what went before.
      this.#host.context.store.answer[this.#pendingTurn] = 0;
    }
    this.#openedAtMs = nowMs;
    this.#acknowledgedSinceOpen = false;
    this.#turnReleased = false;
    endpoint.open(nowMs);
  }

  /** After the connection is gone: keeps what can be sent whole over a fresh one. */
  #resume(nowMs: number): void {
    const { stream } = this.endpoint;
    const { store } = this.#host.context;
    this.#host.disconnect(this, nowMs);
    let first = stream.head;
    while (
      first !== NONE && ((store.flags[first] & SegmentFlag.TurnStart) === 0 ||
        seqLess(store.sequence[first], this.endpoint.sndUna))
    ) first = store.next[first];
    const resumeAt = first === NONE ? stream.end : store.sequence[first];
    const lost = seqDiff(resumeAt, this.endpoint.sndUna);
    if (lost > 0) this.#lose(lost);
    stream.releaseTo(resumeAt);
    this.#pendingTurn = first;
    this.#fruitlessReconnects = this.#acknowledgedSinceOpen ? 0 : this.#fruitlessReconnects + 1;
    if (this.#fruitlessReconnects > this.#host.config.maxFruitlessReconnects) {
      this.#end(Outcome.ResetByTarget, nowMs);
      return;
    }
    if (first !== NONE) {
      this.#host.context.counters.reconnects++;
      this.#connect(nowMs);
    }
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
      !this.#answerIsDue();
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
    this.abort(Outcome.TimedOut, nowMs);
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
    return expected === 0 || seqDiff(endpoint.rcvNxt, this.#answerBase) !== expected;
  }

  #releaseTurns(nowMs: number): void {
    const { endpoint } = this;
    const { store } = this.#host.context;
    while (this.#pendingTurn !== NONE) {
      const turn = this.#pendingTurn;
      const expected = store.answer[turn];
      if (!this.#isAnswered(expected, nowMs)) return;
      this.#usedTo = (this.#usedTo + expected) | 0;
      if (seqLess(endpoint.rcvNxt, this.#usedTo)) this.#usedTo = endpoint.rcvNxt;
      let next = store.next[turn];
      while (next !== NONE && (store.flags[next] & SegmentFlag.TurnStart) === 0) {
        next = store.next[next];
      }
      this.#pendingTurn = next;
      this.#turnStart = store.sequence[turn];
      this.#turnReleased = true;
      if (seqLess(this.#answerBase, endpoint.rcvNxt)) this.#answerBase = endpoint.rcvNxt;
      endpoint.releaseTo = next === NONE ? endpoint.stream.end : store.sequence[next];
    }
  }

  /**
   * Whether the target has answered as much as the client had read since its last turn.
   *
   * Usually those are answers to the last turn. A client that does not wait for all of its answers
   * reads some to earlier turns, and what had come before the last turn counts too. The lengths tell
   * the two apart; an answer longer than the online server's must not pass for the next one.
   */
  #isAnswered(expected: number, nowMs: number): boolean {
    const { config } = this.#host;
    const { endpoint } = this;
    if (expected <= 0 || !config.waitForAnswers) return true;
    const got = seqDiff(endpoint.rcvNxt, this.#answerBase);
    const unused = seqDiff(endpoint.rcvNxt, this.#usedTo);
    if (got === expected) {
      this.#host.patience.noteTurn(false);
      return true;
    }
    if (endpoint.answerHasHole) return false;
    // An answer that does not end with a push is probably still on its way.
    const isWhole = endpoint.answerPushed;
    const silenceMs = this.#silenceMs(nowMs);
    const isQuiet = silenceMs >= (isWhole ? this.#host.patience.quietMs : config.endWaitMs);
    if (got > expected) return isWhole || endpoint.peerFin || isQuiet;
    if (unused >= expected && isWhole && (got > 0 || silenceMs >= config.endWaitMs)) return true;
    if (got <= 0 || !isQuiet || !endpoint.allAcknowledged) return false;
    if (endpoint.peerFin) return false; // it will not answer here any more
    this.#host.patience.noteTurn(true);
    this.#host.context.counters.shortAnswers++;
    return true;
  }

  /** When the target was heard last, or could have been for the first time. */
  get #silentSinceMs(): number {
    const { endpoint } = this;
    return Math.max(endpoint.answeredAtMs, endpoint.progressAtMs, this.#openedAtMs);
  }

  /** For how long the target has said nothing new; none while its answers cannot reach us. */
  #silenceMs(nowMs: number): number {
    return this.#host.wayBackWorks ? nowMs - this.#silentSinceMs : 0;
  }

  /** Whether more of an answer is expected that the target may hold back for want of an ACK. */
  #answerIsDue(): boolean {
    const { endpoint, captured } = this;
    const { store } = this.#host.context;
    const expected = this.#pendingTurn !== NONE
      ? store.answer[this.#pendingTurn]
      : captured.end !== CapturedEnd.Open
      ? captured.endAnswer
      : captured.answerRead;
    return seqDiff(endpoint.rcvNxt, this.#answerBase) < expected;
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
    const { captured, endpoint } = this;
    const { config } = this.#host;
    if (endpoint.peerFin) return true;
    const stopped = captured.end === CapturedEnd.Stopped;
    // The answer to the last request may not have been captured any more: it is still waited for.
    const expected = stopped && this.#turnReleased
      ? Math.max(1, captured.endAnswer)
      : captured.endAnswer;
    if (this.#isAnswered(expected, nowMs)) return true;
    if (seqDiff(endpoint.rcvNxt, this.#answerBase) > 0) return false;
    const silenceMs = this.#silenceMs(nowMs);
    if (captured.end === CapturedEnd.Fin) {
      return expected <= FIN_ONLY && silenceMs >= this.#host.patience.quietMs;
    }
    return silenceMs >= config.endWaitMs;
  }

  #complete(nowMs: number): void {
    const outcome = this.#lostBytes > 0
      ? Outcome.ResetByTarget
      : this.captured.end === CapturedEnd.Gap
      ? Outcome.CaptureGap
      : Outcome.Complete;
    this.#end(outcome, nowMs);
  }

  #end(outcome: Outcome, nowMs: number): void {
    if (this.ended) return;
    this.ended = true;
    this.#host.disconnect(this, nowMs);
    this.endpoint.close();
    this.#host.context.counters.lostBytes += this.endpoint.unacknowledgedBytes;
    this.endpoint.stream.clear();
    this.captured.clear();
    this.#pendingTurn = NONE;
    this.#host.ended(this, outcome, nowMs);
  }
}
