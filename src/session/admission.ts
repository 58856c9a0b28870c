/**
 * Decides which captured connections are replayed: those the online service has accepted. Pure.
 *
 * Anyone can send packets in anyone's name. A client has proved itself when it acknowledges the
 * service's SYN-ACK, whose number only that client was told. Until then a connection is a few bytes in
 * a bounded table, and the target hears nothing of it.
 *
 * Of a service whose SYN-ACKs are not seen (it runs elsewhere, and a mirror shows one direction) the
 * packets that follow a SYN in order are believed. A connection that was open before the capture is
 * joined at the boundary between two requests, where the service knows it or nobody can tell.
 */

import type { Packet } from "../wire/packet.ts";
import { seqDiff, seqLess } from "../wire/sequence.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { TcpOptions } from "../wire/tcp_options.ts";
import type { SessionCounters } from "./counters.ts";
import { generationOf } from "./replay_mark.ts";
import { NO_EVIDENCE, type ServiceEvidence } from "./service_evidence.ts";
import { UnprovenTable } from "./unproven_table.ts";

/** What a packet is to the connection it belongs to. */
export const Verdict = {
  /** Nothing begins with it. */
  None: 0,
  /** It proves that the client was accepted; see `Admission.opening`. */
  Accepted: 1,
  /** It begins a request in mid-stream. */
  Joined: 2,
  /** A handshake is under way, and it proves nothing. */
  Unproven: 3,
} as const;
export type Verdict = typeof Verdict[keyof typeof Verdict];

/** Of an accepted connection: what its SYN and the service's SYN-ACK said. */
export interface Opening {
  /** Sequence number of the client's SYN. */
  initialSequence: number;
  /** The maximum segment size of the SYN, bytes, 0 for none. */
  mss: number;
  sackPermitted: boolean;
  timestamps: boolean;
  /** How many replays the SYN has behind it; see replay_mark.ts. */
  generation: number;
  /** Whether the service's word is known; otherwise packets in order are believed. */
  isProved: boolean;
  /** Whether the connection was wanted when its SYN came. */
  isWanted: boolean;
  /** Of the service's SYN-ACK; meaningful if `isAnswered`. */
  serviceSequence: number;
  isAnswered: boolean;
  /** Window scales, -1 for none. The service's is meaningful if `isAnswered`. */
  clientScale: number;
  serviceScale: number;
  /** The SYN as an IPv4 packet, if it had payload (RFC 7413). */
  syn: Uint8Array<ArrayBuffer> | undefined;
}

/** Handshakes and mid-stream connections that are remembered, each. */
const CAPACITY = 1 << 16;
/** SYNs with payload that are kept whole. */
const MAX_KEPT_SYNS = 1024;
/** A handshake takes no longer than the service's fourth SYN-ACK. */
const HANDSHAKE_MS = 20_000;
/** The scale of most clients. */
const LIKELY_SCALE = 7;
/** Where the first packet behind a handshake may lie: those before it may not have been captured. */
const FIRST_FLIGHT_BYTES = 1 << 20;

/**
 * The state of a handshake: the client's and the service's scale plus one, flags, the generation, the
 * MSS.
 */
const SCALE_MASK = 0xf;
const SERVICE_SCALE_SHIFT = 4;
const ANSWERED = 1 << 8;
const SACK = 1 << 9;
const TIMESTAMPS = 1 << 10;
const WANTED = 1 << 11;
const HAS_SYN = 1 << 12;
const GENERATION_SHIFT = 13;
const GENERATION_MASK = 0x7;
const OF_SERVICE = ANSWERED | (SCALE_MASK << SERVICE_SCALE_SHIFT);
const MSS_SHIFT = 16;

/** Called when a connection is given up. */
export interface AdmissionOwner {
  /** The client of a SYN never proved itself. */
  neverAccepted(): void;
  /** No boundary between two requests was seen. */
  notJoined(): void;
}

export class Admission {
  /** Asked where packets alone prove nothing. */
  evidence: ServiceEvidence = NO_EVIDENCE;
  /** What the last `Verdict.Accepted` was about; only read until the next packet. */
  readonly opening: Opening = {
    initialSequence: 0,
    mss: 0,
    sackPermitted: false,
    timestamps: false,
    generation: 0,
    isProved: false,
    isWanted: false,
    serviceSequence: 0,
    isAnswered: false,
    clientScale: -1,
    serviceScale: -1,
    syn: undefined,
  };
  readonly #counters: SessionCounters;
  readonly #owner: AdmissionOwner;
  /** `first` is the SYN's number, `second` the SYN-ACK's, `state` as above. */
  readonly #handshakes: UnprovenTable;
  /** `first` is where the next packet would begin, `second` what the client had read. */
  readonly #strangers: UnprovenTable;
  /** SYNs with payload, by entry. */
  readonly #syns = new Map<number, { sequence: number; packet: Uint8Array<ArrayBuffer> }>();
  /** The handshake whose SYN-ACK is looked for. */
  #sought = 0;
  readonly #isFound = () => (this.#handshakes.state[this.#sought] & ANSWERED) !== 0;
  /** Whether each transfer's service was seen to answer. */
  readonly #answers: boolean[];

  constructor(counters: SessionCounters, transfers: number, owner: AdmissionOwner) {
    this.#counters = counters;
    this.#owner = owner;
    this.#answers = new Array(transfers).fill(false);
    this.#handshakes = new UnprovenTable(CAPACITY, (entry) => this.#onLeft(entry));
    this.#strangers = new UnprovenTable(CAPACITY, () => owner.notJoined());
  }

  /** Connections that are remembered. */
  get size(): number {
    return this.#handshakes.size + this.#strangers.size;
  }

  /**
   * Takes a client's SYN.
   *
   * @param options the SYN's
   * @param isWanted whether a session is to begin when the client was accepted
   * @returns whether it is the first one of this connection
   */
  onSyn(
    packet: Packet,
    options: TcpOptions,
    address: number,
    word: number,
    isWanted: boolean,
    nowMs: number,
  ): boolean {
    const stranger = this.#strangers.find(address, word);
    if (stranger >= 0) this.#giveUp(stranger);
    const table = this.#handshakes;
    const entry = this.#entryOf(address, word, nowMs);
    const isFirst = (table.state[entry] & HAS_SYN) === 0;
    const isAnswered = (table.state[entry] & ANSWERED) !== 0;
    const kept = this.#syns.get(entry)?.sequence;
    if (!isAnswered || kept !== table.first[entry]) this.#keepSyn(entry, packet);
    // Otherwise the service has answered an earlier one.
    if (isAnswered && !isFirst) return false;
    if (!isAnswered) table.first[entry] = packet.sequence;
    table.state[entry] = (table.state[entry] & OF_SERVICE) | HAS_SYN | (options.windowScale + 1) |
      (options.sackPermitted ? SACK : 0) | (options.hasTimestamps ? TIMESTAMPS : 0) |
      (isWanted ? WANTED : 0) | (generationOf(packet) << GENERATION_SHIFT) |
      (options.mss << MSS_SHIFT);
    return isFirst;
  }

  /**
   * Takes the service's SYN-ACK to a client. It may be read before the SYN is, or the SYN may not have
   * been captured.
   *
   * @param options the SYN-ACK's
   * @param isWanted as for `onSyn`
   */
  onAnswer(
    packet: Packet,
    options: TcpOptions,
    clientAddress: number,
    word: number,
    transfer: number,
    isWanted: boolean,
    nowMs: number,
  ): void {
    this.#answers[transfer] = true;
    const table = this.#handshakes;
    const entry = this.#entryOf(clientAddress, word, nowMs);
    table.first[entry] = (packet.acknowledgment - 1) | 0;
    table.second[entry] = packet.sequence;
    const syn = this.#syns.get(entry);
    if (syn !== undefined) {
      // With RFC 7413 it acknowledges the SYN's payload too.
      const behindSyn = seqDiff(packet.acknowledgment, (syn.sequence + 1) | 0);
      if (behindSyn >= 0 && behindSyn < syn.packet.length) table.first[entry] = syn.sequence;
    }
    let state = table.state[entry] & ~OF_SERVICE;
    if ((state & HAS_SYN) === 0) {
      // The service offers in return what the client has offered.
      state = (options.windowScale < 0 ? 0 : LIKELY_SCALE + 1) |
        (options.sackPermitted ? SACK : 0) | (options.hasTimestamps ? TIMESTAMPS : 0) |
        (isWanted ? WANTED : 0);
    }
    table.state[entry] = state | ANSWERED | ((options.windowScale + 1) << SERVICE_SCALE_SHIFT);
  }

  /** Judges a packet, not a SYN, by the handshake that is under way. */
  judgeOpening(packet: Packet, address: number, word: number, transfer: number): Verdict {
    const table = this.#handshakes;
    const entry = table.find(address, word);
    if (entry < 0) return Verdict.None;
    // The SYN-ACK left before this packet came, but it may not have been read yet.
    if ((table.state[entry] & ANSWERED) === 0) {
      this.#sought = entry;
      this.evidence.lookAgain(this.#isFound);
    }
    const behindSyn = seqDiff(packet.sequence, (table.first[entry] + 1) | 0);
    // Without a SYN it may be a late copy of an answer: only the very first packet counts.
    const hasSyn = (table.state[entry] & HAS_SYN) !== 0;
    const isInOrder = behindSyn >= 0 && behindSyn < (hasSyn ? FIRST_FLIGHT_BYTES : 1);
    if (packet.flags & TcpFlag.Rst) {
      // The client does not want the connection.
      if (behindSyn === 0) {
        this.#onLeft(entry);
        table.remove(entry);
      }
      return Verdict.Unproven;
    }
    if ((packet.flags & TcpFlag.Ack) === 0) return Verdict.Unproven;
    // Otherwise it may be one of an older connection.
    if (!isInOrder) return Verdict.Unproven;
    if (!this.#isAccepted(packet, entry, transfer)) {
      this.#counters.unprovenPackets++;
      return Verdict.Unproven;
    }
    this.#tellOpening(entry);
    this.#syns.delete(entry);
    table.remove(entry);
    return Verdict.Accepted;
  }

  /**
   * Judges a packet of a connection whose beginning was not seen. A request begins with the first
   * bytes the client sent after having read more of the answer. Both sides of that boundary must have
   * been seen: what came before it, and that nothing lies between.
   */
  judgeStranger(packet: Packet, address: number, word: number, nowMs: number): Verdict {
    const table = this.#strangers;
    let entry = table.find(address, word);
    if (packet.flags & (TcpFlag.Fin | TcpFlag.Rst)) {
      if (entry >= 0) this.#giveUp(entry);
      return Verdict.None;
    }
    if (packet.payloadLength === 0 || (packet.flags & TcpFlag.Ack) === 0) return Verdict.None;
    if (entry < 0) {
      entry = table.add(address, word, nowMs);
    } else if (
      packet.sequence === table.first[entry] && seqLess(table.second[entry], packet.acknowledgment)
    ) {
      table.remove(entry);
      if (this.#hasConnection(packet) !== false) return Verdict.Joined;
      this.#counters.unprovenPackets++;
      this.#owner.notJoined();
      return Verdict.None;
    } else if (!seqLess(table.first[entry], (packet.sequence + packet.payloadLength) | 0)) {
      return Verdict.None;
    }
    table.first[entry] = (packet.sequence + packet.payloadLength) | 0;
    table.second[entry] = packet.acknowledgment;
    return Verdict.None;
  }

  /** Gives those up whose time is over. */
  expire(nowMs: number, strangersMs: number): void {
    this.#handshakes.expire(nowMs - HANDSHAKE_MS);
    this.#strangers.expire(nowMs - strangersMs);
  }

  /** Gives all of them up. */
  endAll(): void {
    this.#handshakes.expire(Infinity);
    this.#strangers.expire(Infinity);
  }

  /** Whether the service has accepted the client that sent this packet. */
  #isAccepted(packet: Packet, entry: number, transfer: number): boolean {
    const table = this.#handshakes;
    if ((table.state[entry] & ANSWERED) !== 0) {
      this.opening.isProved = true;
      const behind = seqDiff(packet.acknowledgment, (table.second[entry] + 1) | 0);
      // What completes the handshake acknowledges nothing else. Where it was not captured, a number
      // near by may be a guess: one in 4,096 is.
      if (behind === 0) return true;
      return behind > 0 && behind < FIRST_FLIGHT_BYTES && this.#hasConnection(packet) === true;
    }
    // Behind a local address translation SYN-ACKs leave from another port.
    const isKnown = this.#hasConnection(packet);
    this.opening.isProved = isKnown === true;
    return isKnown ?? !this.#answers[transfer];
  }

  #hasConnection(packet: Packet): boolean | undefined {
    return this.evidence.hasConnection(
      packet.sourceAddress,
      packet.sourcePort,
      packet.destinationAddress,
      packet.destinationPort,
    );
  }

  #tellOpening(entry: number): void {
    const { opening } = this;
    const table = this.#handshakes;
    const state = table.state[entry];
    opening.initialSequence = table.first[entry];
    opening.serviceSequence = table.second[entry];
    opening.isAnswered = (state & ANSWERED) !== 0;
    opening.clientScale = (state & SCALE_MASK) - 1;
    opening.serviceScale = ((state >> SERVICE_SCALE_SHIFT) & SCALE_MASK) - 1;
    opening.mss = state >>> MSS_SHIFT;
    opening.sackPermitted = (state & SACK) !== 0;
    opening.timestamps = (state & TIMESTAMPS) !== 0;
    opening.generation = (state >> GENERATION_SHIFT) & GENERATION_MASK;
    opening.isWanted = (state & WANTED) !== 0;
    opening.syn = this.#syns.get(entry)?.packet;
  }

  /** The handshake of a connection; a new one if there is none. */
  #entryOf(address: number, word: number, nowMs: number): number {
    const table = this.#handshakes;
    let entry = table.find(address, word);
    if (entry >= 0) return entry;
    entry = table.add(address, word, nowMs);
    table.state[entry] = 0;
    return entry;
  }

  #onLeft(entry: number): void {
    this.#syns.delete(entry);
    if (this.#handshakes.state[entry] & HAS_SYN) this.#owner.neverAccepted();
  }

  #giveUp(stranger: number): void {
    this.#strangers.remove(stranger);
    this.#owner.notJoined();
  }

  /** Keeps a SYN that has payload, in place of an earlier one. */
  #keepSyn(entry: number, packet: Packet): void {
    const { sequence, payloadLength } = packet;
    if (payloadLength === 0 || packet.capturedPayloadLength < payloadLength) {
      // Sent again it may come without.
      if (this.#syns.get(entry)?.sequence !== sequence) this.#syns.delete(entry);
      return;
    }
    const end = packet.payloadOffset + payloadLength;
    this.#syns.set(entry, { sequence, packet: packet.bytes.slice(packet.ipOffset, end) });
    if (this.#syns.size <= MAX_KEPT_SYNS) return;
    for (const oldest of this.#syns.keys()) {
      this.#syns.delete(oldest);
      return;
    }
  }
}
