/**
 * What the real client sent, put back into order. Pure.
 *
 * Captured segments arrive late, twice, overlapping or not at all. They leave here as stored segments
 * in stream order, each byte once, with the turns marked: a segment starts a turn when the client
 * had read more of the answer by then than at its previous turn. The acknowledgement numbers tell.
 */

import type { Packet } from "../wire/packet.ts";
import { seqDiff, seqLess, seqLessEq, seqMax } from "../wire/sequence.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import { AcceptableNumbers } from "./acceptable_numbers.ts";
import type { Opening } from "./admission.ts";
import type { SessionCounters } from "./counters.ts";
import { NONE, SegmentFlag, type SegmentStore } from "./segment_store.ts";

/** How the captured connection ended, as far as is known. */
export const CapturedEnd = {
  Open: 0,
  /** The client sent FIN. */
  Fin: 1,
  /** The client sent RST, or came back with a new connection. */
  Reset: 2,
  /** Bytes are missing in the capture. */
  Gap: 3,
  /** The capture ended. */
  Stopped: 4,
} as const;
export type CapturedEnd = typeof CapturedEnd[keyof typeof CapturedEnd];

/** Takes the segments in order. */
export interface SegmentReceiver {
  /** The segment appended last that is still held, or NONE. */
  readonly tail: number;
  append(segment: number): void;
}

/** What all captured sides of one capture share. */
export interface CaptureContext {
  readonly store: SegmentStore;
  readonly counters: SessionCounters;
  /** Whether the capture may have missed packets; otherwise all that the server saw was captured. */
  missesPackets: boolean;
}

/** No window is larger (RFC 7323 section 2.3): a reset farther ahead was never the client's. */
const MAX_WINDOW_BYTES = 1 << 30;
/** Segments so far behind cannot be this connection's any more. */
const MAX_AGE_BYTES = 1 << 30;

/** Reassembles one direction of a captured connection. */
export class CapturedSide {
  /** Next sequence number expected from the client. */
  next = 0;
  end: CapturedEnd = CapturedEnd.Open;
  /** Bytes of answer the client had read between its last turn and its end. */
  endAnswer = 0;
  /** Whether the client sent RST after its FIN. */
  resetAfterFin = false;
  /** When the client was heard last. */
  heardAtMs = 0;
  /** Since when a captured segment has been missing, or 0. */
  gapSinceMs = 0;
  /** Bytes accepted in order. */
  bytes = 0;

  readonly #context: CaptureContext;
  readonly #store: SegmentStore;
  readonly #counters: SessionCounters;
  readonly #pieceBytes: number;
  /** Which numbers the server accepts. */
  readonly #numbers = new AcceptableNumbers();
  #ackKnown = false;
  #turnAck = 0;
  #lastAck = 0;
  /** What comes before this sequence number was sent on an older connection. */
  #oldest = 0;
  /** The client has sent everything before this sequence number. */
  #seenTo = 0;
  /** FIN or RST that was captured but not reached yet, with where it stands and its ACK number. */
  #endSeen: CapturedEnd = CapturedEnd.Open;
  #endSequence = 0;
  #endAck = 0;
  /** Segments behind a missing one, sorted; the first and the last. */
  #waiting = NONE;
  #waitingTail = NONE;

  /** @param pieceBytes longer captured segments (offloads) are cut into pieces of this size */
  constructor(context: CaptureContext, pieceBytes: number) {
    this.#context = context;
    this.#store = context.store;
    this.#counters = context.counters;
    this.#pieceBytes = pieceBytes;
  }

  /** Begins behind a captured SYN. */
  startAfterSyn(sequence: number, nowMs: number): void {
    this.next = (sequence + 1) | 0;
    this.#seenTo = this.next;
    this.#oldest = sequence;
    this.heardAtMs = nowMs;
  }

  /** Begins behind a client's SYN, with what is known of the handshake. */
  startAccepted(opening: Opening, nowMs: number): void {
    this.startAfterSyn(opening.initialSequence, nowMs);
    // Windows are scaled only if both wanted it (RFC 7323 section 2.2).
    this.#numbers.begin(opening);
    if (!opening.isAnswered) return;
    this.#ackKnown = true;
    this.#turnAck = (opening.serviceSequence + 1) | 0;
    this.#lastAck = this.#turnAck;
  }

  /** Begins in mid-stream, with a segment known to start a turn. */
  startAt(sequence: number, acknowledgment: number, nowMs: number): void {
    this.next = sequence;
    this.#seenTo = sequence;
    this.#oldest = (sequence - MAX_AGE_BYTES) | 0;
    this.#ackKnown = true;
    this.#turnAck = acknowledgment;
    this.#lastAck = acknowledgment;
    this.heardAtMs = nowMs;
  }

  /** How many bytes of answer the client is known to have read since its last turn began. */
  get answerRead(): number {
    return seqDiff(this.#lastAck, this.#turnAck);
  }

  /** Whether bytes are waiting behind a missing segment. */
  get hasGap(): boolean {
    return this.gapSinceMs !== 0;
  }

  /** How many bytes the client is known to have sent behind what was taken in order. */
  get missingBytes(): number {
    return Math.max(0, seqDiff(this.#seenTo, this.next));
  }

  /** Whether the client's end was captured, but not all before it. */
  get isMissingBeforeEnd(): boolean {
    return this.end === CapturedEnd.Open && this.#endSeen !== CapturedEnd.Open;
  }

  /**
   * Takes a captured packet of the client; of a SYN the payload (RFC 7413), once it was begun with.
   *
   * @returns false when memory is used up
   */
  accept(packet: Packet, nowMs: number, receiver: SegmentReceiver): boolean {
    if (seqLess(packet.sequence, this.#oldest)) return true;
    const lastAck = this.#ackKnown ? this.#lastAck : packet.acknowledgment;
    if (!this.#numbers.accept(packet, this.next, lastAck, this.#context.missesPackets)) {
      this.#counters.implausiblePackets++;
      return true;
    }
    this.heardAtMs = nowMs;
    const hasAck = (packet.flags & TcpFlag.Ack) !== 0;
    if (hasAck) this.#noteAck(packet.acknowledgment);
    const acknowledgment = hasAck ? packet.acknowledgment : this.#lastAck;
    const isReset = (packet.flags & TcpFlag.Rst) !== 0;
    if (isReset && this.#endSeen === CapturedEnd.Fin) this.#noteResetAfterFin(packet.sequence);
    if (this.end !== CapturedEnd.Open) {
      // Behind a gap nothing can be replayed; it was sent all the same.
      if (this.end === CapturedEnd.Gap) this.#noteSeen(packet);
      return true;
    }
    if (isReset) this.#noteReset(packet.sequence, acknowledgment);
    else if (!this.#acceptSegment(packet, acknowledgment, nowMs, receiver)) return false;
    if (this.#endSeen !== CapturedEnd.Open && this.next === this.#endSequence) {
      if (this.#endSeen === CapturedEnd.Fin) this.next = (this.next + 1) | 0;
      this.#finish(this.#endSeen, Math.max(0, seqDiff(this.#endAck, this.#turnAck)));
    }
    if (this.end !== CapturedEnd.Open || !this.#isMissingBytes) this.gapSinceMs = 0;
    else if (this.gapSinceMs === 0) this.gapSinceMs = Math.max(1, nowMs);
    return true;
  }

  /** Whether the client is known to have sent more than was captured so far. */
  get #isMissingBytes(): boolean {
    return seqLess(this.next, this.#seenTo);
  }

  /** Returns where a packet's payload ends. */
  #noteSeen(packet: Packet): number {
    const right = (firstByte(packet) + packet.payloadLength) | 0;
    this.#seenTo = seqMax(this.#seenTo, right);
    return right;
  }

  #acceptSegment(
    packet: Packet,
    acknowledgment: number,
    nowMs: number,
    receiver: SegmentReceiver,
  ): boolean {
    const length = packet.payloadLength;
    const right = this.#noteSeen(packet);
    if (this.#endSeen !== CapturedEnd.Open && this.#isBehindEnd(right)) this.#forgetEnd();
    const isNewEnd = this.#endSeen !== CapturedEnd.Fin || seqLess(right, this.#endSequence);
    if (packet.flags & TcpFlag.Fin && isNewEnd) {
      const hadReset = this.#endSeen === CapturedEnd.Reset; // captured ahead of the FIN
      const resetAt = this.#endSequence;
      this.#endSeen = CapturedEnd.Fin;
      this.#endSequence = right;
      this.#endAck = acknowledgment;
      if (hadReset) this.#noteResetAfterFin(resetAt);
    }
    if (length > 0) {
      if (packet.capturedPayloadLength < length) {
        this.#counters.truncatedSegments++;
        this.declareGap();
        return true;
      }
      return this.#acceptPayload(packet, length, acknowledgment, nowMs, receiver);
    }
    return true;
  }

  /** The missing segment will not come any more. */
  declareGap(): void {
    if (this.end === CapturedEnd.Open) this.#finish(CapturedEnd.Gap, this.answerRead);
  }

  /** The four-tuple belongs to a new connection: the client must have dropped this one. */
  declareReset(): void {
    if (this.end !== CapturedEnd.Open) return;
    if (this.#isMissingBytes) this.declareGap();
    else this.#finish(CapturedEnd.Reset, this.answerRead);
  }

  /** There will be no more packets at all. */
  declareStopped(): void {
    if (this.end !== CapturedEnd.Open) return;
    if (this.#isMissingBytes) this.declareGap();
    else this.#finish(CapturedEnd.Stopped, this.answerRead);
  }

  /** Releases what is held. */
  clear(): void {
    while (this.#waiting !== NONE) {
      const segment = this.#waiting;
      this.#waiting = this.#store.next[segment];
      this.#store.release(segment);
    }
    this.#waitingTail = NONE;
  }

  #noteAck(acknowledgment: number): void {
    if (!this.#ackKnown) {
      this.#ackKnown = true;
      this.#turnAck = acknowledgment;
      this.#lastAck = acknowledgment;
    } else this.#lastAck = seqMax(this.#lastAck, acknowledgment);
  }

  /**
   * A reset ends the stream where it stands. The server believes it only with the number it expects
   * next (RFC 5961 section 3). One before that is not believed; one ahead of it only if the bytes
   * before it come, and none behind it.
   */
  #noteReset(sequence: number, acknowledgment: number): void {
    if (this.#endSeen === CapturedEnd.Fin) return;
    const ahead = seqDiff(sequence, this.next);
    if (ahead < 0 || ahead > MAX_WINDOW_BYTES || seqLess(sequence, this.#seenTo)) {
      this.#counters.unbelievedResets++;
      return;
    }
    this.#endSeen = CapturedEnd.Reset;
    this.#endSequence = sequence;
    this.#endAck = acknowledgment;
  }

  /** Behind its FIN a client has one number left; without the FIN's when the server had not had it. */
  #noteResetAfterFin(sequence: number): void {
    const behind = seqDiff(sequence, this.#endSequence);
    if (behind === 0 || behind === 1) this.resetAfterFin = true;
    else this.#counters.unbelievedResets++;
  }

  /** Whether the client has sent up to here although its end was seen. */
  #isBehindEnd(right: number): boolean {
    // A FIN has a number of its own.
    const own = this.#endSeen === CapturedEnd.Fin ? 1 : 0;
    return seqLess((this.#endSequence + own) | 0, right);
  }

  /** The client goes on behind its end: that was somebody else's. */
  #forgetEnd(): void {
    if (this.#endSeen === CapturedEnd.Reset) this.#counters.unbelievedResets++;
    else this.#counters.implausiblePackets++;
    this.#endSeen = CapturedEnd.Open;
    this.resetAfterFin = false;
  }

  #finish(end: CapturedEnd, answer: number): void {
    this.end = end;
    this.endAnswer = answer;
    this.gapSinceMs = 0;
    this.clear();
  }

  #acceptPayload(
    packet: Packet,
    length: number,
    acknowledgment: number,
    nowMs: number,
    receiver: SegmentReceiver,
  ): boolean {
    const left = firstByte(packet);
    const right = (left + length) | 0;
    if (seqLessEq(right, this.next)) {
      this.#counters.duplicateBytes += length;
      return true;
    }
    const push = (packet.flags & TcpFlag.Psh) !== 0;
    if (seqLess(this.next, left)) {
      this.#counters.outOfOrderSegments++;
      if (this.#store.pool.isScarce) {
        this.declareGap();
        return true;
      }
      return this.#keep(packet, left, length, acknowledgment, push, nowMs);
    }
    const known = seqDiff(this.next, left);
    this.#counters.duplicateBytes += known;
    const rest = length - known;
    if (!this.#storeInOrder(packet, known, rest, acknowledgment, push, nowMs, receiver)) {
      return false;
    }
    this.#drain(receiver);
    return true;
  }

  #storeInOrder(
    packet: Packet,
    from: number,
    length: number,
    acknowledgment: number,
    push: boolean,
    nowMs: number,
    receiver: SegmentReceiver,
  ): boolean {
    const store = this.#store;
    const end = from + length;
    for (let at = from; at < end;) {
      const piece = Math.min(this.#pieceBytes, end - at);
      const segment = store.store(packet.view, packet.payloadOffset + at, piece, receiver.tail);
      if (segment === NONE) return false;
      at += piece;
      store.flags[segment] = push && at === end ? SegmentFlag.Push : 0;
      store.capturedAtMs[segment] = nowMs;
      this.#deliver(segment, acknowledgment, receiver);
    }
    return true;
  }

  /** Hands the next segment in order to the receiver, with its turn marked. */
  #deliver(segment: number, acknowledgment: number, receiver: SegmentReceiver): void {
    const store = this.#store;
    const length = store.length[segment];
    const answer = Math.max(0, seqDiff(acknowledgment, this.#turnAck));
    if (answer > 0 || this.bytes === 0) {
      store.flags[segment] |= SegmentFlag.TurnStart;
      if (answer > 0) this.#turnAck = acknowledgment;
    }
    store.answer[segment] = answer;
    this.next = (this.next + length) | 0;
    const oldest = (this.next - MAX_AGE_BYTES) | 0;
    if (seqLess(this.#oldest, oldest)) this.#oldest = oldest;
    this.bytes += length;
    this.#counters.capturedBytes += length;
    this.gapSinceMs = 0;
    receiver.append(segment);
  }

  /** Keeps a segment that came early, sorted by sequence number. */
  #keep(
    packet: Packet,
    left: number,
    length: number,
    acknowledgment: number,
    push: boolean,
    nowMs: number,
  ): boolean {
    const store = this.#store;
    let before = NONE;
    let after = this.#waiting;
    const last = this.#waitingTail;
    if (last !== NONE && seqLess(store.sequence[last], left)) {
      // Mostly it goes to the end; a long queue is not searched for that.
      before = last;
      after = NONE;
    }
    while (after !== NONE && seqLess(store.sequence[after], left)) {
      before = after;
      after = store.next[after];
    }
    if (after !== NONE && store.sequence[after] === left && store.length[after] >= length) {
      this.#counters.duplicateBytes += length;
      return true;
    }
    for (let at = 0; at < length;) {
      const piece = Math.min(this.#pieceBytes, length - at);
      const segment = store.store(packet.view, packet.payloadOffset + at, piece, NONE);
      if (segment === NONE) return false;
      store.sequence[segment] = (left + at) | 0;
      store.answer[segment] = acknowledgment;
      store.capturedAtMs[segment] = nowMs;
      at += piece;
      store.flags[segment] = push && at === length ? SegmentFlag.Push : 0;
      store.next[segment] = after;
      if (before === NONE) this.#waiting = segment;
      else store.next[before] = segment;
      before = segment;
    }
    if (after === NONE) this.#waitingTail = before;
    return true;
  }

  /** Delivers kept segments that have become next in order. */
  #drain(receiver: SegmentReceiver): void {
    const store = this.#store;
    while (this.#waiting !== NONE && seqLessEq(store.sequence[this.#waiting], this.next)) {
      const segment = this.#waiting;
      this.#waiting = store.next[segment];
      const known = seqDiff(this.next, store.sequence[segment]);
      if (known >= store.length[segment]) {
        this.#counters.duplicateBytes += store.length[segment];
        store.release(segment);
        continue;
      }
      if (known > 0) {
        this.#counters.duplicateBytes += known;
        store.trimFront(segment, known);
      }
      this.#deliver(segment, store.answer[segment], receiver);
    }
    if (this.#waiting === NONE) this.#waitingTail = NONE;
  }
}

/** Sequence number of a packet's first payload byte; a SYN comes before it. */
function firstByte({ flags, sequence }: Packet): number {
  return (flags & TcpFlag.Syn) === 0 ? sequence : (sequence + 1) | 0;
}
