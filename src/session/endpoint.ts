/**
 * One TCP connection to the target, from the client's end (RFC 9293). Pure: segments and time come
 * in, packets go out through a PacketSink.
 *
 * The endpoint knows TCP and nothing of replaying. Its owner appends bytes to the stream and says
 * with `releaseTo`, `finReleased` how far it may go; the endpoint gets them across: hand-shake,
 * retransmission (RFC 6298, fast retransmit, SACK, tail probes), congestion control (RFC 5681),
 * zero-window probes, acknowledgements. What the owner must react to is left in `events`.
 */

import { seqDiff, seqLess, seqLessEq, seqMax } from "../wire/sequence.ts";
import type { Packet } from "../wire/packet.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { TcpOptions } from "../wire/tcp_options.ts";
import type { CaptureContext } from "./captured_side.ts";
import {
  type HandshakeOptions,
  offeredScale,
  offersSack,
  offersTimestamps,
  packHandshake,
} from "./handshake.ts";
import { RangeSet } from "./range_set.ts";
import { RttEstimator } from "./rtt.ts";
import { NONE, SegmentFlag } from "./segment_store.ts";
import { SegmentWriter } from "./segment_writer.ts";
import { SendStream } from "./send_stream.ts";

/** States of the connection, as far as the endpoint distinguishes them. */
export const EndpointState = { Closed: 0, SynSent: 1, Established: 2 } as const;
export type EndpointState = typeof EndpointState[keyof typeof EndpointState];

/** What happened to an endpoint since its owner looked last; bits. */
export const EndpointEvent = {
  /** The hand-shake is done. */
  Established: 1,
  /** The target answered the SYN with RST. */
  Refused: 2,
  /** The target reset the connection. */
  Reset: 4,
  /** The target acknowledged something new. */
  Acknowledged: 8,
  /** Bytes of the answer arrived in order. */
  Answered: 16,
  /** The target's FIN arrived in order. */
  PeerFin: 32,
  /** Sent again time and again, and no answer: perhaps answers do not find their way. */
  Unheard: 64,
} as const;

/** What all endpoints of a table share. */
export interface EndpointContext extends CaptureContext {
  readonly writer: SegmentWriter;
  /** Largest IP packet to send, bytes. */
  readonly mtuBytes: number;
}

const TimerKind = { None: 0, Syn: 1, Retransmit: 2, TailProbe: 3, Persist: 4 } as const;
const AckNeed = { None: 0, Delayed: 1, Now: 2 } as const;

const DELAYED_ACK_MS = 40; // RFC 1122 section 4.2.3.2 allows up to 500
const DEFAULT_PEER_MSS = 536; // RFC 9293 section 3.7.1
const INITIAL_WINDOW_SEGMENTS = 10; // RFC 6928
/** Slow start counts at most so many segments of an acknowledgement (RFC 3465 section 2.2)… */
const SLOW_START_SEGMENTS = 2;
/** …and of those that follow a time-out, which may cover what had arrived before (section 2.3). */
const SLOW_START_SEGMENTS_AFTER_TIMEOUT = 1;
const DUPLICATE_ACK_THRESHOLD = 3; // RFC 5681
/** SYNs sent again at once because the target still held an older connection. */
const MAX_CHALLENGES = 3;
const MAX_PERSIST_MS = 10_000;
/** What cannot be this connection's peer is answered with an ACK, at most once in this time. */
const CHALLENGE_EVERY_MS = 100;
/** Time-outs in a row from which on answers may be getting lost, not packets. */
const UNHEARD_TIMEOUTS = 2;
/** A connection that hears nothing is hurried once in this time, however often the way back comes. */
const KICK_EVERY_MS = 15_000;
/** Offered with every packet: the replay never throttles the target. */
const ADVERTISED_WINDOW = 65535;

/** A simulated client's connection. */
export class TcpEndpoint {
  state: EndpointState = EndpointState.Closed;
  /** EndpointEvent bits; the owner clears them. */
  events = 0;
  localAddress = 0;
  localPort = 0;
  remoteAddress = 0;
  remotePort = 0;

  /** Bytes owed to the target; appended to by the owner. */
  readonly stream: SendStream;
  /** The owner lets bytes before this sequence number go. */
  releaseTo = 0;
  /** The owner lets the FIN go, which follows the last byte of the stream. */
  finReleased = false;

  /** Oldest sequence number not acknowledged. */
  sndUna = 0;
  /** Next sequence number to send; behind `sndMax` while sending again. */
  sndNxt = 0;
  /** Highest sequence number sent. */
  sndMax = 0;
  /** Next sequence number expected from the target; counts its FIN. */
  rcvNxt = 0;
  /** The target's initial sequence number. */
  irs = 0;
  /** Whether the target's FIN has arrived in order. */
  peerFin = false;
  /** When answer bytes arrived last. */
  answeredAtMs = 0;
  /** When the target acknowledged something new last, or the connection was opened. */
  progressAtMs = 0;
  /** Acknowledge answers at once: the target may be waiting for it before it goes on. */
  quickAck = false;

  readonly #context: EndpointContext;
  /** The client's HandshakeOptions, packed. */
  readonly #offer: number;
  #synDue = false;
  #challenges = 0;
  #timestamps = false;
  #sack = false;
  #sendScale = 0;
  #peerWindow = 0;
  #windowUpdateSeq = 0;
  #windowUpdateAck = 0;
  #mss = DEFAULT_PEER_MSS;
  #congestionWindow = 0;
  #slowStartThreshold = 0x7fffffff;
  /** Bytes acknowledged since the window grew last in congestion avoidance. */
  #countedBytes = 0;
  /** Whether a time-out came since slow start was left last. */
  #hadTimeout = false;
  #duplicateAcks = 0;
  #inRecovery = false;
  #recover = 0;
  #retransmitNext = 0;
  #retransmitBudget = 0;
  #sacked: RangeSet | null = null;
  #cursor = NONE;
  #finSequence = 0;
  #finSent = false;

  #received: RangeSet | null = null;
  #newestRange = -1;
  /** Where the newest segment with PSH ends. */
  #pushedTo = 0;
  #peerFinSequence = 0;
  #peerFinSeen = false;
  #lastAckSent = 0;
  #ackNeed: number = AckNeed.None;
  #ackAtMs = 0;
  #challengedAtMs = -CHALLENGE_EVERY_MS;
  #kickedAtMs = -KICK_EVERY_MS;
  #recentTimestamp = 0;

  readonly #rtt = new RttEstimator();
  /** Time-outs since something new was acknowledged last. */
  #timeouts = 0;
  /** The segment that is timed where there are no time stamps, and since when; -1: none. */
  #timedSequence = 0;
  #timedAtMs = -1;
  #timerKind: number = TimerKind.None;
  #timerAtMs = 0;
  #probeSent = false;
  #persistMs = 0;

  constructor(context: EndpointContext, options: HandshakeOptions) {
    this.#context = context;
    this.#offer = packHandshake(options);
    this.stream = new SendStream(context.store);
  }

  /**
   * Starts the hand-shake. The first byte of the stream follows the SYN, so the initial sequence
   * number is one less than where the stream begins. The SYN leaves with the next `output`.
   */
  open(nowMs: number): void {
    const first = this.stream.start;
    this.state = EndpointState.SynSent;
    this.events = 0;
    this.sndUna = (first - 1) | 0;
    this.sndNxt = this.sndUna;
    this.sndMax = this.sndUna;
    this.releaseTo = first;
    this.finReleased = false;
    this.peerFin = false;
    this.progressAtMs = nowMs;
    this.quickAck = false;
    this.#synDue = true;
    this.#challenges = 0;
    this.#cursor = NONE;
    this.#finSent = false;
    this.#peerFinSeen = false;
    this.#duplicateAcks = 0;
    this.#inRecovery = false;
    this.#sacked?.clear();
    this.#received?.clear();
    this.#ackNeed = AckNeed.None;
    this.#ackAtMs = 0;
    this.#probeSent = false;
    this.#persistMs = 0;
    this.#timedAtMs = -1;
    this.#timeouts = 0;
    this.#timerKind = TimerKind.None;
    this.#rtt.resetBackoff();
    this.#recentTimestamp = 0;
  }

  /** Forgets the connection without a word to the target. */
  close(): void {
    this.state = EndpointState.Closed;
    this.#timerKind = TimerKind.None;
    this.#ackNeed = AckNeed.None;
    this.#ackAtMs = 0;
  }

  /** Sends RST and forgets the connection. */
  abort(nowMs: number): void {
    if (this.state === EndpointState.SynSent && this.sndMax === this.sndUna) {
      this.close(); // not even the SYN has left
      return;
    }
    if (this.state !== EndpointState.Closed) {
      const known = this.state === EndpointState.Established;
      this.#write(this.sndMax, known ? TcpFlag.Rst | TcpFlag.Ack : TcpFlag.Rst, nowMs, NONE, 0, 0);
    }
    this.close();
  }

  /** Sends a FIN whose fate is of no interest, and forgets the connection. */
  abandon(nowMs: number): void {
    if (this.state === EndpointState.Established && !this.#finSent) {
      this.#write(this.sndMax, TcpFlag.Fin | TcpFlag.Ack, nowMs, NONE, 0, 0);
    }
    this.close();
  }

  /** Whether every byte released so far has been sent and acknowledged. */
  get allAcknowledged(): boolean {
    return this.state === EndpointState.Established && this.sndUna === this.sndMax &&
      seqLessEq(this.releaseTo, this.sndMax);
  }

  /** Bytes of the stream that the target has not acknowledged, sent or not. */
  get unacknowledgedBytes(): number {
    if (this.stream.head === NONE) return 0; // the FIN may be acknowledged, too
    // A segment is held until its last byte is acknowledged.
    return this.stream.bytes - Math.max(0, seqDiff(this.sndUna, this.stream.start));
  }

  /** Whether the FIN has been sent. */
  get finSent(): boolean {
    return this.#finSent;
  }

  /** Whether the FIN has been sent and acknowledged. */
  get finAcknowledged(): boolean {
    return this.#finSent && seqLess(this.#finSequence, this.sndUna);
  }

  /** Whether the answer received in order ends where the target pushed it. */
  get answerPushed(): boolean {
    return this.#pushedTo === this.rcvNxt;
  }

  /** Whether a part of the answer is missing that was sent before what has arrived. */
  get answerHasHole(): boolean {
    return this.#received !== null && this.#received.count > 0;
  }

  /** Smoothed round-trip time, ms; -1 before it is known. */
  get roundTripMs(): number {
    return this.#rtt.smoothedMs;
  }

  /** When `onTimer` wants to be called; Infinity when nothing is pending. */
  get deadlineMs(): number {
    return this.deadlineBefore(Infinity);
  }

  /** The earlier of `limitMs` and `deadlineMs`; asking so keeps Infinity out of the hot path. */
  deadlineBefore(limitMs: number): number {
    let deadlineMs = limitMs;
    if (this.#ackAtMs !== 0 && this.#ackAtMs < deadlineMs) deadlineMs = this.#ackAtMs;
    if (this.#timerKind !== TimerKind.None && this.#timerAtMs < deadlineMs) {
      deadlineMs = this.#timerAtMs;
    }
    return deadlineMs;
  }

  /**
   * The way back works again after an outage: what has waited for an answer longer than a time-out is
   * sent again, the back-off begins anew. Without effect where nothing was heard since the last time:
   * a tunnel that comes and goes must not set the pace.
   *
   * @param atMs when it is sent, now or later
   * @returns whether something will be sent earlier
   */
  kick(atMs: number, nowMs: number): boolean {
    if (this.#timerKind === TimerKind.None || this.#timerKind === TimerKind.TailProbe) return false;
    const heardAtMs = Math.max(this.answeredAtMs, this.progressAtMs);
    if (nowMs - this.#kickedAtMs < KICK_EVERY_MS && heardAtMs <= this.#kickedAtMs) return false;
    this.#kickedAtMs = nowMs;
    const isProbing = this.#timerKind === TimerKind.Persist;
    const sentAtMs = this.#timerAtMs - (isProbing ? this.#persistMs : this.#rtt.timeoutMs);
    this.#rtt.resetBackoff();
    const { timeoutMs } = this.#rtt;
    if (isProbing) this.#persistMs = timeoutMs;
    const dueAtMs = Math.max(atMs, sentAtMs + timeoutMs);
    if (dueAtMs >= this.#timerAtMs) return false;
    this.#timerAtMs = dueAtMs;
    return true;
  }

  // ------------------------------------------------------------------ segments from the target

  /** Takes a segment of the target; `packet` and `options` are only read during the call. */
  onSegment(packet: Packet, options: TcpOptions, nowMs: number): void {
    if (this.state === EndpointState.SynSent) this.#onHandshake(packet, options, nowMs);
    else if (this.state === EndpointState.Established) this.#onEstablished(packet, options, nowMs);
  }

  #onHandshake(packet: Packet, options: TcpOptions, nowMs: number): void {
    const flags = packet.flags;
    if ((flags & TcpFlag.Ack) === 0) return;
    const answersSyn = packet.acknowledgment === ((this.sndUna + 1) | 0) &&
      this.sndMax === ((this.sndUna + 1) | 0);
    if (flags & TcpFlag.Rst) {
      if (answersSyn) this.#end(EndpointEvent.Refused);
      return;
    }
    if (!answersSyn) {
      // The target still holds an older connection of this four-tuple: RFC 9293 section 3.5.1 has
      // the client reset it; the SYN goes out again right behind.
      this.#context.writer.reset(this, packet.acknowledgment);
      if (this.sndMax !== this.sndUna && this.#challenges++ < MAX_CHALLENGES) this.#synDue = true;
      return;
    }
    if ((flags & TcpFlag.Syn) === 0) return;
    this.state = EndpointState.Established;
    this.events |= EndpointEvent.Established;
    this.irs = packet.sequence;
    this.rcvNxt = (packet.sequence + 1) | 0;
    this.#lastAckSent = this.rcvNxt;
    this.#pushedTo = packet.sequence;
    this.sndUna = packet.acknowledgment;
    this.sndNxt = this.sndUna;
    this.sndMax = this.sndUna;
    this.progressAtMs = nowMs;
    this.answeredAtMs = nowMs;
    this.#timestamps = offersTimestamps(this.#offer) && options.hasTimestamps;
    this.#recentTimestamp = options.tsval;
    this.#sack = offersSack(this.#offer) && options.sackPermitted;
    this.#sendScale = offeredScale(this.#offer) >= 0 && options.windowScale >= 0
      ? options.windowScale
      : 0;
    this.#peerWindow = packet.window; // never scaled in a SYN
    this.#windowUpdateSeq = packet.sequence;
    this.#windowUpdateAck = packet.acknowledgment;
    const peerMss = options.mss > 0 ? options.mss : DEFAULT_PEER_MSS;
    this.#mss = Math.max(64, Math.min(peerMss, this.#context.mtuBytes - 40)) -
      (this.#timestamps ? 12 : 0);
    this.#congestionWindow = INITIAL_WINDOW_SEGMENTS * this.#mss;
    this.#slowStartThreshold = 0x7fffffff;
    this.#countedBytes = 0;
    this.#hadTimeout = false;
    this.#timeouts = 0;
    if (this.#timedAtMs >= 0) this.#rtt.sample(Math.max(1, nowMs - this.#timedAtMs));
    this.#rtt.resetBackoff();
    this.#timedAtMs = -1;
    this.#timerKind = TimerKind.None;
    this.#ackNeed = AckNeed.Now;
  }

  #onEstablished(packet: Packet, options: TcpOptions, nowMs: number): void {
    const flags = packet.flags;
    if (flags & TcpFlag.Rst) {
      // Only the exact sequence number proves a reset (RFC 5961 section 3). One that answers what we
      // sent before the target's FIN arrived stands just before that.
      const ahead = seqDiff(packet.sequence, this.rcvNxt);
      if (ahead === 0 || (ahead === -1 && this.peerFin)) this.#end(EndpointEvent.Reset);
      else this.#challenge(nowMs);
      return;
    }
    if (flags & TcpFlag.Syn) {
      // Perhaps our acknowledgement of the SYN-ACK was lost; else RFC 5961 section 4.
      if (packet.sequence === this.irs) this.#ackNeed = AckNeed.Now;
      else this.#challenge(nowMs);
      return;
    }
    if ((flags & TcpFlag.Ack) === 0) return;
    if (seqLess(this.sndMax, packet.acknowledgment)) {
      this.#ackNeed = AckNeed.Now;
      return;
    }
    if (
      this.#timestamps && options.hasTimestamps && seqLessEq(packet.sequence, this.#lastAckSent) &&
      seqDiff(options.tsval, this.#recentTimestamp) > 0
    ) this.#recentTimestamp = options.tsval;
    this.#onAcknowledgment(packet, options, nowMs);
    this.#onPayload(packet, nowMs);
  }

  /** Asks the target whether it meant that: one that has really gone resets what it is sent. */
  #challenge(nowMs: number): void {
    this.#context.counters.challenges++;
    if (nowMs - this.#challengedAtMs < CHALLENGE_EVERY_MS) return;
    this.#challengedAtMs = nowMs;
    this.#ackNeed = AckNeed.Now;
  }

  #onAcknowledgment(packet: Packet, options: TcpOptions, nowMs: number): void {
    const acknowledgment = packet.acknowledgment;
    if (seqLess(acknowledgment, this.sndUna)) return;
    const window = packet.window << this.#sendScale;
    const isUpdate = window !== this.#peerWindow;
    // A segment sent again has an old sequence number, but what it acknowledges is news.
    if (
      seqLess(this.sndUna, acknowledgment) || seqLess(this.#windowUpdateSeq, packet.sequence) ||
      (this.#windowUpdateSeq === packet.sequence &&
        seqLessEq(this.#windowUpdateAck, acknowledgment))
    ) {
      if (window > this.#peerWindow && this.#timerKind === TimerKind.Persist) {
        this.#timerKind = TimerKind.None;
        this.#persistMs = 0;
      }
      this.#peerWindow = window;
      this.#windowUpdateSeq = packet.sequence;
      this.#windowUpdateAck = acknowledgment;
    }
    if (this.#sack && options.sackCount > 0) this.#noteSacked(options);
    if (seqLess(this.sndUna, acknowledgment)) {
      this.#onNewAcknowledgment(acknowledgment, options, nowMs);
    } else if (
      packet.payloadLength === 0 && (packet.flags & TcpFlag.Fin) === 0 && !isUpdate &&
      this.sndUna !== this.sndMax
    ) {
      this.#onDuplicateAcknowledgment();
    }
  }

  #onNewAcknowledgment(acknowledgment: number, options: TcpOptions, nowMs: number): void {
    const before = this.sndUna;
    const acknowledged = seqDiff(acknowledgment, before);
    this.sndUna = acknowledgment;
    if (seqLess(this.sndNxt, acknowledgment)) this.sndNxt = acknowledgment;
    this.events |= EndpointEvent.Acknowledged;
    this.progressAtMs = nowMs;
    const dataEnd = seqLess(acknowledgment, this.stream.end) ? acknowledgment : this.stream.end;
    if (seqLess(before, dataEnd)) {
      this.#context.counters.acknowledgedBytes += seqDiff(dataEnd, before);
    }
    const store = this.#context.store;
    if (
      this.#cursor !== NONE &&
      seqLessEq((store.sequence[this.#cursor] + store.length[this.#cursor]) | 0, dataEnd)
    ) this.#cursor = NONE;
    this.stream.releaseTo(dataEnd);
    this.#sacked?.advance(acknowledgment);
    this.#sampleRtt(acknowledgment, options, nowMs);
    this.#timeouts = 0;
    this.#probeSent = false;
    if (this.#inRecovery && seqLess(acknowledgment, this.#recover)) {
      // A partial acknowledgement: the next hole is lost too (RFC 6582).
      this.#retransmitNext = seqMax(this.#retransmitNext, acknowledgment);
      if (!this.#sack) this.#retransmitNext = acknowledgment;
      this.#retransmitBudget = 2;
    } else {
      this.#duplicateAcks = 0;
      if (!this.#inRecovery) this.#growCongestionWindow(acknowledged);
      else {
        this.#inRecovery = false;
        this.#congestionWindow = this.#slowStartThreshold;
        this.#countedBytes = 0;
      }
    }
    this.#rearm(nowMs);
  }

  /** By the bytes acknowledged, not by the acknowledgements (RFC 3465). */
  #growCongestionWindow(acknowledged: number): void {
    const mss = this.#mss;
    if (this.#congestionWindow < this.#slowStartThreshold) {
      const segments = this.#hadTimeout ? SLOW_START_SEGMENTS_AFTER_TIMEOUT : SLOW_START_SEGMENTS;
      this.#congestionWindow += Math.min(acknowledged, segments * mss);
    } else {
      this.#hadTimeout = false;
      this.#countedBytes += acknowledged;
      if (this.#countedBytes >= this.#congestionWindow) {
        this.#countedBytes = 0;
        this.#congestionWindow += mss;
      }
    }
    if (this.#congestionWindow > 1 << 28) this.#congestionWindow = 1 << 28;
  }

  /**
   * What was sent again says nothing without time stamps: which of the two was acknowledged? So
   * `#noteSentAgain` ends the timing, and a time-out that was backed off stays so until there is a
   * sample again (Karn's algorithm, RFC 6298 sections 3 and 5).
   */
  #sampleRtt(acknowledgment: number, options: TcpOptions, nowMs: number): void {
    if (this.#timestamps && options.hasTimestamps && options.tsecr !== 0) {
      const rttMs = seqDiff(this.#context.writer.timestamp(nowMs), options.tsecr);
      if (rttMs >= 0 && rttMs < 120_000) this.#rtt.sample(Math.max(1, rttMs));
    } else if (this.#timedAtMs >= 0 && seqLess(this.#timedSequence, acknowledgment)) {
      this.#rtt.sample(Math.max(1, nowMs - this.#timedAtMs));
      this.#timedAtMs = -1;
    }
  }

  #noteSacked(options: TcpOptions): void {
    const sacked = this.#sacked ??= new RangeSet();
    for (let i = 0; i < options.sackCount; i++) {
      const left = options.sackLeft[i];
      const right = options.sackRight[i];
      // Blocks at or below the cumulative acknowledgement report duplicates (RFC 2883).
      if (seqLess(this.sndUna, left) && seqLessEq(right, this.sndMax)) sacked.add(left, right);
    }
  }

  #onDuplicateAcknowledgment(): void {
    this.#duplicateAcks++;
    if (this.#inRecovery) {
      this.#retransmitBudget++;
      if (!this.#sack) this.#congestionWindow += this.#mss;
      return;
    }
    const threshold = this.#probeSent && this.#sacked !== null && this.#sacked.count > 0
      ? 1
      : DUPLICATE_ACK_THRESHOLD;
    const sackedBytes = this.#sacked === null ? 0 : this.#sacked.bytes;
    if (this.#duplicateAcks < threshold && sackedBytes < DUPLICATE_ACK_THRESHOLD * this.#mss) {
      return;
    }
    this.#inRecovery = true;
    this.#recover = this.sndMax;
    this.#slowStartThreshold = Math.max(2 * this.#mss, seqDiff(this.sndMax, this.sndUna) >> 1);
    this.#congestionWindow = this.#slowStartThreshold + (this.#sack ? 0 : 3 * this.#mss);
    this.#retransmitNext = this.sndUna;
    this.#retransmitBudget = 1;
  }

  #onPayload(packet: Packet, nowMs: number): void {
    const fin = (packet.flags & TcpFlag.Fin) !== 0;
    const length = packet.payloadLength;
    if (length === 0 && !fin) {
      // A segment before what is expected is a keep-alive or a probe and wants an answer.
      if (seqLess(packet.sequence, this.rcvNxt)) this.#ackNeed = AckNeed.Now;
      return;
    }
    const left = packet.sequence;
    const right = (left + length) | 0;
    if (fin) {
      this.#peerFinSeen = true;
      this.#peerFinSequence = right;
    }
    if (packet.flags & TcpFlag.Psh) this.#pushedTo = seqMax(this.#pushedTo, right);
    if (seqLess(this.rcvNxt, left)) {
      const received = this.#received ??= new RangeSet();
      this.#newestRange = received.add(left, right);
      this.#ackNeed = AckNeed.Now;
      return;
    }
    if (seqLess(this.rcvNxt, right)) {
      const hadHole = this.#received !== null && this.#received.count > 0;
      this.rcvNxt = hadHole ? this.#received!.advance(right) : right;
      this.answeredAtMs = nowMs;
      this.events |= EndpointEvent.Answered;
      const unacknowledged = seqDiff(this.rcvNxt, this.#lastAckSent);
      if (hadHole || unacknowledged >= 2 * this.#mss || this.quickAck) this.#ackNeed = AckNeed.Now;
      else if (this.#ackNeed === AckNeed.None) {
        this.#ackNeed = AckNeed.Delayed;
        this.#ackAtMs = nowMs + DELAYED_ACK_MS;
      }
    } else if (length > 0 || this.peerFin) {
      this.#ackNeed = AckNeed.Now; // all of it was here before: our acknowledgement was lost
    }
    if (this.#peerFinSeen && !this.peerFin && this.rcvNxt === this.#peerFinSequence) {
      this.rcvNxt = (this.rcvNxt + 1) | 0;
      this.peerFin = true;
      this.answeredAtMs = nowMs;
      this.events |= EndpointEvent.PeerFin;
      this.#ackNeed = AckNeed.Now;
    }
  }

  #end(event: number): void {
    this.events |= event;
    this.close();
  }

  // ------------------------------------------------------------------------------------ time

  /** To be called when `deadlineMs` is reached; what it decides leaves with the next `output`. */
  onTimer(nowMs: number): void {
    if (this.#ackAtMs !== 0 && nowMs >= this.#ackAtMs) {
      this.#ackAtMs = 0;
      if (this.#ackNeed === AckNeed.Delayed) this.#ackNeed = AckNeed.Now;
    }
    if (this.#timerKind === TimerKind.None || nowMs < this.#timerAtMs) return;
    switch (this.#timerKind) {
      case TimerKind.Syn:
        this.#context.counters.timeouts++;
        this.#backOff();
        this.#synDue = true;
        break;
      case TimerKind.TailProbe:
        this.#sendTailProbe(nowMs);
        break;
      case TimerKind.Persist:
        // An old sequence number draws an acknowledgement with the present window.
        this.#write((this.sndUna - 1) | 0, TcpFlag.Ack, nowMs, NONE, 0, 0);
        this.#persistMs = Math.min(MAX_PERSIST_MS, this.#persistMs * 2);
        this.#timerAtMs = nowMs + this.#persistMs;
        break;
      case TimerKind.Retransmit:
        this.#onRetransmissionTimeout(nowMs);
        break;
    }
  }

  #onRetransmissionTimeout(nowMs: number): void {
    this.#context.counters.timeouts++;
    this.#slowStartThreshold = Math.max(2 * this.#mss, seqDiff(this.sndMax, this.sndUna) >> 1);
    this.#congestionWindow = this.#mss;
    this.#inRecovery = false;
    this.#duplicateAcks = 0;
    this.#countedBytes = 0;
    this.#hadTimeout = true;
    // A second time-out without progress: the peer may have dropped what it reported (RFC 2018).
    if (this.#timeouts > 0) this.#sacked?.clear();
    this.#backOff();
    this.sndNxt = this.sndUna;
    this.#cursor = NONE;
    this.#timerAtMs = nowMs + this.#rtt.timeoutMs;
  }

  #backOff(): void {
    this.#rtt.backOff();
    if (++this.#timeouts >= UNHEARD_TIMEOUTS) this.events |= EndpointEvent.Unheard;
  }

  /** RFC 8985 section 7.3: the last segment again, so that the peer reports what is missing. */
  #sendTailProbe(nowMs: number): void {
    this.#probeSent = true;
    this.#timerKind = TimerKind.Retransmit;
    this.#timerAtMs = nowMs + this.#rtt.timeoutMs;
    if (this.sndUna === this.sndMax) return;
    const last = (this.sndMax - 1) | 0;
    if (this.#finSent && last === this.#finSequence) {
      this.#write(last, TcpFlag.Fin | TcpFlag.Ack, nowMs, NONE, 0, 0);
      return;
    }
    const segment = this.stream.find(last, this.#cursor);
    if (segment === NONE) return;
    const start = seqMax(
      this.sndUna,
      seqMax(this.#context.store.sequence[segment], (this.sndMax - this.#mss) | 0),
    );
    this.#sendPiece(start, segment, seqDiff(this.sndMax, start), nowMs);
  }

  #rearm(nowMs: number): void {
    if (this.sndUna === this.sndMax) {
      this.#timerKind = TimerKind.None;
      return;
    }
    const inFlight = Math.ceil(seqDiff(this.sndMax, this.sndUna) / this.#mss);
    if (!this.#probeSent && !this.#inRecovery && this.sndNxt === this.sndMax) {
      this.#timerKind = TimerKind.TailProbe;
      this.#timerAtMs = nowMs + this.#rtt.probeTimeoutMs(inFlight);
    } else {
      this.#timerKind = TimerKind.Retransmit;
      this.#timerAtMs = nowMs + this.#rtt.timeoutMs;
    }
  }

  // ---------------------------------------------------------------------------------- output

  /** Sends everything that is due: SYN, lost segments, released bytes, FIN, acknowledgement. */
  output(nowMs: number): void {
    if (this.state === EndpointState.SynSent) {
      if (this.#synDue) this.#sendSyn(nowMs);
      return;
    }
    if (this.state !== EndpointState.Established) return;
    if (this.#inRecovery && this.#retransmitBudget > 0) this.#retransmitHoles(nowMs);
    this.#sendReleased(nowMs);
    if (this.#ackNeed === AckNeed.Now || (this.#ackNeed === AckNeed.Delayed && this.quickAck)) {
      this.#context.counters.sentAcks++;
      this.#write(this.sndMax, TcpFlag.Ack, nowMs, NONE, 0, 0);
    }
  }

  #sendSyn(nowMs: number): void {
    this.#synDue = false;
    if (this.sndMax === this.sndUna) this.#timedAtMs = nowMs;
    else this.#noteSentAgain();
    this.sndMax = (this.sndUna + 1) | 0;
    this.sndNxt = this.sndMax;
    this.#context.writer.syn(this, this.sndUna, this.#offer, nowMs);
    this.#timerKind = TimerKind.Syn;
    this.#timerAtMs = nowMs + this.#rtt.timeoutMs;
  }

  #retransmitHoles(nowMs: number): void {
    const sacked = this.#sacked;
    const highest = sacked !== null && sacked.count > 0
      ? sacked.right[sacked.count - 1]
      : (this.sndUna + 1) | 0; // without SACK only the first segment is known to be missing
    while (this.#retransmitBudget > 0 && seqLess(this.#retransmitNext, highest)) {
      const range = sacked === null ? -1 : sacked.find(this.#retransmitNext);
      if (range >= 0) {
        this.#retransmitNext = sacked!.right[range];
        continue;
      }
      if (this.#finSent && this.#retransmitNext === this.#finSequence) {
        this.#write(this.#finSequence, TcpFlag.Fin | TcpFlag.Ack, nowMs, NONE, 0, 0);
        this.#retransmitNext = (this.#finSequence + 1) | 0;
        this.#retransmitBudget--;
        continue;
      }
      const segment = this.stream.find(this.#retransmitNext, NONE);
      if (segment === NONE) break;
      // Of a segment that the window had cut, only what was sent.
      const length = Math.min(
        this.#pieceLength(segment, this.#retransmitNext),
        seqDiff(this.sndMax, this.#retransmitNext),
      );
      this.#sendPiece(this.#retransmitNext, segment, length, nowMs);
      this.#retransmitNext = (this.#retransmitNext + length) | 0;
      this.#retransmitBudget--;
      this.#timerKind = TimerKind.Retransmit;
      this.#timerAtMs = nowMs + this.#rtt.timeoutMs;
    }
    this.#retransmitBudget = 0;
  }

  #sendReleased(nowMs: number): void {
    const sacked = this.#sacked;
    const wasIdle = this.sndUna === this.sndMax;
    let sent = false;
    while (seqLess(this.sndNxt, this.releaseTo)) {
      const again = seqLess(this.sndNxt, this.sndMax);
      if (again && sacked !== null) {
        const range = sacked.find(this.sndNxt);
        if (range >= 0) {
          this.sndNxt = sacked.right[range];
          continue;
        }
      }
      this.#cursor = this.stream.find(this.sndNxt, this.#cursor);
      if (this.#cursor === NONE) break;
      let length = this.#pieceLength(this.#cursor, this.sndNxt);
      const inFlight = seqDiff(this.sndNxt, this.sndUna);
      const pipe = again || sacked === null ? inFlight : inFlight - sacked.bytes;
      if (inFlight + length > this.#peerWindow) {
        if (inFlight > 0) break;
        // A closed window is probed with what was in flight, never with new bytes.
        if (this.#peerWindow > 0) length = this.#peerWindow;
        else if (!again) break;
      }
      if (pipe > 0 && pipe + length > this.#congestionWindow) break;
      this.#sendPiece(this.sndNxt, this.#cursor, length, nowMs);
      if (!again && this.#timedAtMs < 0) {
        this.#timedAtMs = nowMs;
        this.#timedSequence = this.sndNxt;
      }
      this.sndNxt = (this.sndNxt + length) | 0;
      this.sndMax = seqMax(this.sndMax, this.sndNxt);
      sent = true;
    }
    if (this.finReleased && this.sndNxt === this.stream.end) {
      this.#finSequence = this.stream.end;
      this.#finSent = true;
      this.#write(this.#finSequence, TcpFlag.Fin | TcpFlag.Ack, nowMs, NONE, 0, 0);
      this.sndNxt = (this.sndNxt + 1) | 0;
      this.sndMax = seqMax(this.sndMax, this.sndNxt);
      sent = true;
    }
    if (sent && (wasIdle || this.#timerKind === TimerKind.None)) this.#rearm(nowMs);
    if (
      this.#timerKind === TimerKind.None && this.sndUna === this.sndMax &&
      seqLess(this.sndNxt, this.releaseTo)
    ) {
      this.#persistMs = this.#rtt.timeoutMs;
      this.#timerKind = TimerKind.Persist;
      this.#timerAtMs = nowMs + this.#persistMs;
    }
  }

  #pieceLength(segment: number, sequence: number): number {
    const store = this.#context.store;
    return Math.min(
      this.#mss,
      store.length[segment] - seqDiff(sequence, store.sequence[segment]),
    );
  }

  #sendPiece(sequence: number, segment: number, length: number, nowMs: number): void {
    const store = this.#context.store;
    const from = seqDiff(sequence, store.sequence[segment]);
    const isEnd = from + length === store.length[segment];
    const push = isEnd && (store.flags[segment] & SegmentFlag.Push) !== 0;
    const flags = push ? TcpFlag.Ack | TcpFlag.Psh : TcpFlag.Ack;
    this.#write(sequence, flags, nowMs, segment, from, length);
  }

  #noteSentAgain(): void {
    this.#context.counters.retransmits++;
    this.#timedAtMs = -1;
  }

  #write(
    sequence: number,
    flags: number,
    nowMs: number,
    segment: number,
    from: number,
    length: number,
  ): void {
    const hasContent = length > 0 || (flags & TcpFlag.Fin) !== 0;
    if (hasContent && seqLess(sequence, this.sndMax)) this.#noteSentAgain();
    this.#context.writer.write(
      this,
      sequence,
      flags,
      flags & TcpFlag.Ack ? this.rcvNxt : 0,
      ADVERTISED_WINDOW,
      this.#timestamps,
      this.#recentTimestamp,
      this.#sack ? this.#received : null,
      this.#newestRange,
      segment,
      from,
      length,
      nowMs,
    );
    if (flags & TcpFlag.Ack) {
      this.#lastAckSent = this.rcvNxt;
      this.#ackNeed = AckNeed.None;
      this.#ackAtMs = 0;
    }
  }
}
