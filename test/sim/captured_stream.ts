/**
 * What a capture at the online host sees of a script's client: IPv4 packets with their times. Pure.
 *
 * The conversation is played once, in time: a request is sent when the answers it requires have been
 * read, its acknowledgement number is what had been read by then, and the online server answers when
 * the request has arrived whole. So the stream is one that a real client could have produced. Then
 * it is disturbed the way networks do: segments lost before the capture point and sent again,
 * copies, overlaps, reordering.
 */

import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { buildPacket } from "./packet_builder.ts";
import type { Random } from "./random.ts";
import { Ending, type Script } from "./script.ts";

/** How a client's packets reach the capture point. */
export interface CaptureConditions {
  onlineAddress: number;
  onlinePort: number;
  /** Client to online server, one way. */
  delayMs: number;
  /** Share of data segments that are lost on the way and sent again. */
  lossShare: number;
  /** Share of data segments of which a further copy comes, partly cut differently. */
  copyShare: number;
  /** Largest additional delay of single packets. */
  jitterMs: number;
  /** Whether data leaves in pieces of up to 64 kB, as segmentation offloads make them. */
  offload: boolean;
}

/** One packet as captured. */
export interface CapturedPacket {
  readonly script: Script;
  readonly atMs: number;
  readonly bytes: Uint8Array;
  readonly flags: number;
  /** Position of the first payload byte in the client's stream; for others where they stand. */
  readonly from: number;
  readonly payloadBytes: number;
  /** Bytes of answer it acknowledges. */
  readonly read: number;
}

interface Answer {
  /** When the client begins and ends to receive it. */
  beginMs: number;
  endMs: number;
  /** Bytes of all answers before it, and with it. */
  before: number;
  after: number;
}

const SYN_RETRANSMISSION_MS = 1000;
const RETRANSMISSION_MS = 250;

/** Plays one script and collects the client's packets. */
export function captureScript(
  script: Script,
  conditions: CaptureConditions,
  random: Random,
): CapturedPacket[] {
  return new ClientPlayer(script, conditions, random).play();
}

class ClientPlayer {
  readonly #script: Script;
  readonly #conditions: CaptureConditions;
  readonly #random: Random;
  readonly #packets: CapturedPacket[] = [];
  readonly #answers: Answer[] = [];
  /** When each request has arrived whole at the server. */
  readonly #arrivedMs: number[] = [];
  /** When the client sent how many bytes of its stream. */
  readonly #sends: { atMs: number; upTo: number }[] = [];

  constructor(script: Script, conditions: CaptureConditions, random: Random) {
    this.#script = script;
    this.#conditions = conditions;
    this.#random = random;
  }

  play(): CapturedPacket[] {
    const script = this.#script;
    const { delayMs } = this.#conditions;
    const random = this.#random;
    const early = script.stream.subarray(0, script.fastOpenBytes);
    this.#add(script.startMs + delayMs, TcpFlag.Syn, -1, early, 0, script.startMs);
    let establishedMs = script.startMs + 2 * delayMs;
    if (random.chance(this.#conditions.copyShare / 2)) {
      // The server's SYN-ACK was lost.
      establishedMs += SYN_RETRANSMISSION_MS;
      this.#emit(script.startMs + SYN_RETRANSMISSION_MS, TcpFlag.Syn, -1, 0);
    }
    this.#answers.push({
      beginMs: establishedMs,
      endMs: script.greetingBytes > 0 ? establishedMs + random.int(0, 5) : establishedMs,
      before: 0,
      after: script.greetingBytes,
    });
    this.#emit(establishedMs, TcpFlag.Ack, 0, 0);
    const { requests } = script;
    let sentMs = establishedMs;
    for (let first = 0; first < requests.length;) {
      let behind = first + 1;
      while (behind < requests.length && requests[behind].requires === requests[first].requires) {
        behind++;
      }
      const readMs = this.#answers[requests[first].requires - 1].endMs;
      sentMs = Math.max(sentMs, readMs + random.int(0, script.thinkMs));
      sentMs = this.#sendFlight(first, behind, sentMs);
      first = behind;
    }
    this.#acknowledgeAnswers();
    this.#end(sentMs);
    return this.#packets.sort((a, b) => a.atMs - b.atMs);
  }

  /** Bytes of answer the client has read at a time. */
  #readAt(atMs: number): number {
    let read = 0;
    for (const { beginMs, endMs, before, after } of this.#answers) {
      if (endMs <= atMs) read = after;
      else if (beginMs < atMs) {
        const share = (atMs - beginMs) / (endMs - beginMs);
        return before + Math.floor((after - before) * share);
      } else break;
    }
    return read;
  }

  /** Answers the client has certainly read: up to the last that ended by then and had bytes. */
  #answersReadAt(atMs: number): number {
    let count = 0;
    this.#answers.forEach(({ endMs, before, after }, i) => {
      if (endMs <= atMs && after > before) count = i + 1;
    });
    return count;
  }

  /** Sends requests that wait for the same answers, one right behind the other. */
  #sendFlight(first: number, behind: number, atMs: number): number {
    const { requests } = this.#script;
    const { delayMs } = this.#conditions;
    const random = this.#random;
    const separate = random.chance(0.5);
    let timeMs = atMs;
    let arrivedMs = this.#arrivedMs.at(-1) ?? 0;
    for (let r = first; r < behind;) {
      // Requests written at once share segments.
      const last = separate ? r : behind - 1;
      for (let i = r; i <= last; i++) requests[i].answersRead = this.#answersReadAt(timeMs);
      // What came with the SYN is not sent again.
      const from = Math.max(requests[r].start, this.#script.fastOpenBytes);
      const arrivals = this.#sendRange(from, requests[last].end, timeMs);
      for (; r <= last; r++) {
        for (const { upTo, atMs } of arrivals) {
          arrivedMs = Math.max(arrivedMs, atMs);
          if (upTo >= requests[r].end) break;
        }
        this.#arrivedMs[r] = arrivedMs;
        this.#answer(r, arrivedMs + delayMs);
      }
      if (separate && random.chance(0.5)) timeMs += random.int(0, 5);
    }
    return timeMs;
  }

  #answer(request: number, readableMs: number): void {
    const random = this.#random;
    const bytes = this.#script.requests[request].onlineBytes;
    const previous = this.#answers[this.#answers.length - 1];
    const beginMs = Math.max(previous.endMs, readableMs + random.int(0, 3));
    this.#answers.push({
      beginMs,
      endMs: beginMs + (bytes > 1460 ? random.int(0, 2 + Math.floor(bytes / 20000)) : 0),
      before: previous.after,
      after: previous.after + bytes,
    });
  }

  /** Sends bytes of the stream as segments. Returns when what has arrived at the server. */
  #sendRange(start: number, end: number, atMs: number): { upTo: number; atMs: number }[] {
    const { lossShare, copyShare, offload } = this.#conditions;
    const random = this.#random;
    const arrivals: { upTo: number; atMs: number }[] = [];
    const pieceBytes = offload && random.chance(0.7) ? random.int(1460, 65000) : this.#script.mss;
    for (let from = start; from < end;) {
      const upTo = Math.min(end, from + pieceBytes);
      const lostMs = random.chance(lossShare) ? RETRANSMISSION_MS : 0;
      const arrivedMs = this.#emitData(from, upTo, atMs, lostMs);
      arrivals.push({ upTo, atMs: arrivedMs });
      if (random.chance(copyShare)) {
        const laterMs = random.chance(0.5) ? 0 : random.int(1, RETRANSMISSION_MS);
        // A retransmission may begin and end elsewhere than the original did.
        const copyFrom = Math.max(0, from - (random.chance(0.5) ? random.int(0, 2000) : 0));
        const copyTo = random.chance(0.5) ? upTo : random.int(copyFrom + 1, upTo);
        this.#emitData(copyFrom, Math.min(copyTo, copyFrom + 65000), atMs, lostMs + laterMs);
      }
      from = upTo;
    }
    this.#sends.push({ atMs, upTo: end });
    return arrivals;
  }

  /** Acknowledges the answers, unless a segment sent soon after does so. */
  #acknowledgeAnswers(): void {
    const random = this.#random;
    for (const { beginMs, endMs, before, after } of this.#answers) {
      if (after === before) continue;
      const times = [endMs];
      if (endMs > beginMs) times.push(random.int(beginMs, endMs), random.int(beginMs, endMs));
      for (const timeMs of times) {
        const piggybacked = this.#sends.some(({ atMs }) => atMs >= timeMs && atMs <= timeMs + 30);
        if (piggybacked && random.chance(0.7)) continue;
        const ackMs = timeMs + (random.chance(0.3) ? random.int(0, 30) : 0);
        this.#emit(ackMs, TcpFlag.Ack, this.#sentAt(ackMs), this.#readAt(ackMs));
      }
    }
  }

  /** How many bytes of its stream the client had sent by a time. */
  #sentAt(atMs: number): number {
    let sent = 0;
    for (const send of this.#sends) if (send.atMs <= atMs) sent = send.upTo;
    return sent;
  }

  #end(lastSentMs: number): void {
    const script = this.#script;
    const random = this.#random;
    const { delayMs } = this.#conditions;
    const length = script.stream.length;
    const answered = this.#answers[this.#answers.length - 1];
    const all = answered.after;
    const readMs = Math.max(lastSentMs, answered.endMs);
    // A client that resets does not send lost segments again, so they must have arrived.
    const arrivedMs = this.#arrivedMs.at(-1) ?? 0;
    const soonestMs = Math.min(readMs, Math.max(lastSentMs, arrivedMs - delayMs));
    const fin = TcpFlag.Fin | TcpFlag.Ack;
    const behindFin = length + 1;
    switch (script.ending) {
      case Ending.ClientFin: {
        const finMs = readMs + random.int(0, script.thinkMs);
        this.#emit(finMs, fin, length, all);
        this.#emit(finMs + 2 * delayMs, TcpFlag.Ack, behindFin, all + 1);
        break;
      }
      case Ending.HalfClose:
        this.#emit(lastSentMs, fin, length, this.#readAt(lastSentMs));
        this.#emit(readMs + 1, TcpFlag.Ack, behindFin, all + 1);
        break;
      case Ending.ServerFin:
        this.#emit(readMs + random.int(0, script.thinkMs), fin, length, all + 1);
        break;
      case Ending.Reset: {
        const resetMs = random.chance(0.5) ? readMs : random.int(soonestMs, readMs);
        const flags = random.chance(0.7) ? TcpFlag.Rst | TcpFlag.Ack : TcpFlag.Rst;
        this.#emit(resetMs, flags, length, this.#readAt(resetMs));
        break;
      }
      case Ending.FinReset: {
        const finMs = random.int(soonestMs, readMs);
        this.#emit(finMs, fin, length, this.#readAt(finMs));
        this.#emit(finMs + 2 * delayMs + 1, TcpFlag.Rst, behindFin, 0);
        break;
      }
      case Ending.Open:
        break;
    }
  }

  #emitData(from: number, upTo: number, sentMs: number, laterMs: number): number {
    const random = this.#random;
    const { delayMs, jitterMs } = this.#conditions;
    const script = this.#script;
    const isEnd = script.requests.some(({ end }) => end === upTo);
    const flags = TcpFlag.Ack | (isEnd || random.chance(0.1) ? TcpFlag.Psh : 0);
    const ownMs = sentMs + laterMs;
    const jitter = jitterMs > 0 && random.chance(0.2) ? random.int(0, jitterMs) : 0;
    const atMs = ownMs + delayMs + jitter;
    // Answers to these bytes are not played yet, so what is acknowledged came before them.
    this.#add(atMs, flags, from, script.stream.subarray(from, upTo), this.#readAt(ownMs), ownMs);
    return atMs;
  }

  /** Sends a packet without payload. */
  #emit(sentMs: number, flags: number, from: number, read: number): void {
    const { delayMs, jitterMs } = this.#conditions;
    // Nothing overtakes a SYN. The hand-shake's ACK comes in time too: it alone tells how much of the
    // greeting was read later.
    const mayWait = jitterMs > 0 && from >= 0 && (from > 0 || flags !== TcpFlag.Ack);
    const jitter = mayWait && this.#random.chance(0.2) ? this.#random.int(0, jitterMs) : 0;
    this.#add(sentMs + delayMs + jitter, flags, from, undefined, read, sentMs);
  }

  #add(
    atMs: number,
    flags: number,
    from: number,
    payload: Uint8Array | undefined,
    read: number,
    sentMs: number,
  ): void {
    const script = this.#script;
    const isSyn = (flags & TcpFlag.Syn) !== 0;
    const bytes = buildPacket({
      source: script.clientAddress,
      sourcePort: script.clientPort,
      destination: this.#conditions.onlineAddress,
      destinationPort: this.#conditions.onlinePort,
      sequence: (script.clientSequence + 1 + from) | 0,
      acknowledgment: flags & TcpFlag.Ack ? (script.serverSequence + 1 + read) | 0 : 0,
      flags,
      window: 502,
      payload,
      mss: isSyn ? script.mss + (script.timestamps ? 12 : 0) : undefined,
      sackPermitted: isSyn && script.sackPermitted,
      windowScale: isSyn ? script.windowScale : undefined,
      timestamps: script.timestamps ? { value: sentMs, echo: isSyn ? 0 : 77 } : undefined,
    });
    from = isSyn && payload !== undefined ? 0 : from;
    this.#packets.push({
      script,
      atMs,
      bytes,
      flags,
      from,
      payloadBytes: payload?.length ?? 0,
      read,
    });
  }
}
