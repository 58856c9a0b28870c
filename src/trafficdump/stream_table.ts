/**
 * Puts the captured packets of a window back into the connections' request streams and cuts these
 * into records. Pure: packets and time come in, records and packets go to the outbox.
 *
 * A record is what a client sent in one turn, until it had read more of the answer: mostly one
 * request, or several that were pipelined. It is cut where it would grow too long, and at the end of
 * the window.
 *
 * What always holds: the records of a connection, one after the other, are a run of what the service
 * read, without a hole and each byte once; where there would be a hole the run ends, and another
 * begins behind it, at position 0. A connection that was open before the window is dumped from its first packet with data on.
 */

import { BlockPool } from "../session/block_pool.ts";
import {
  type CaptureContext,
  CapturedEnd,
  CapturedSide,
  type SegmentReceiver,
} from "../session/captured_side.ts";
import { SessionCounters } from "../session/counters.ts";
import { NONE, SegmentFlag, SegmentStore } from "../session/segment_store.ts";
import type { Packet } from "../wire/packet.ts";
import { SYNTHETIC_SYN_BYTES, writeSyntheticSyn } from "../wire/synthetic.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { DumpCounters } from "./counters.ts";
import { EntryKind, type Outbox } from "./outbox.ts";

/** Captured bytes are kept in blocks of this size; longer segments are cut. */
const BLOCK_BYTES = 8192;
/** A record is cut when it has become so long. */
const MAX_RECORD_BYTES = 256 * 1024;
/** A missing segment is waited for so long. */
const MAX_GAP_MS = 5_000;
/** With so much of the memory in use, records no longer wait for their end. */
const SHORT_SHARE = 0.75;
/** Connections remembered per window. */
const MAX_CONNECTIONS = 200_000;
/** Tells a retransmitted SYN from one of a new connection. */
const NO_SYN = Infinity;

/** One connection of the window. */
class Stream implements SegmentReceiver {
  tail = NONE;
  head = NONE;
  pendingBytes = 0;
  /** When the pending record began, µs since 1970. */
  sinceUs = 0;
  /** Bytes dumped so far. */
  position = 0;
  /** Whether its packets are no longer written. */
  packetsShed = false;
  lost = false;

  constructor(
    readonly table: StreamTable,
    readonly side: CapturedSide,
    readonly clientAddress: number,
    readonly clientPort: number,
    readonly port: number,
    /** Sequence number of its SYN, or `NO_SYN`. */
    readonly synSequence: number,
  ) {}

  append(segment: number): void {
    this.table.append(this, segment);
  }
}

/** How a table is made. */
export interface StreamTableOptions {
  outbox: Outbox;
  counters: DumpCounters;
  /** Memory for bytes that wait for a missing segment or for the rest of their record. */
  maxBytes: number;
  /** Whether packets are wanted besides the records. */
  withPackets: boolean;
}

export class StreamTable {
  readonly #outbox: Outbox;
  readonly #counters: DumpCounters;
  readonly #withPackets: boolean;
  readonly #capture: CaptureContext;
  /** By service (address and port), then by client (address and port). */
  readonly #services = new Map<number, Map<number, Stream>>();
  readonly #scratch = new Uint8Array(SYNTHETIC_SYN_BYTES);
  readonly #scratchView = new DataView(this.#scratch.buffer);
  #size = 0;
  #timestampUs = 0;

  constructor(options: StreamTableOptions) {
    this.#outbox = options.outbox;
    this.#counters = options.counters;
    this.#withPackets = options.withPackets;
    this.#capture = {
      store: new SegmentStore(new BlockPool(options.maxBytes, BLOCK_BYTES)),
      counters: new SessionCounters(),
      missesPackets: true,
    };
  }

  /** Connections known. */
  get size(): number {
    return this.#size;
  }

  /** Memory in use for bytes that wait. */
  get waitingBytes(): number {
    return this.#capture.store.pool.usedBytes;
  }

  /** Takes a packet of a client; it is only read during the call. */
  onPacket(packet: Packet, timestampUs: number, nowMs: number): void {
    const isSyn = (packet.flags & TcpFlag.Syn) !== 0;
    const streams = this.#streamsOf(packet);
    const client = (packet.sourceAddress >>> 0) * 65_536 + packet.sourcePort;
    let stream = streams.get(client);
    this.#timestampUs = timestampUs;
    const isOther = stream !== undefined && isSyn && stream.synSequence !== packet.sequence;
    // Behind a hole the dump of a connection begins anew.
    const isBehindGap = stream?.side.end === CapturedEnd.Gap && packet.payloadLength > 0;
    if (stream !== undefined && (isOther || isBehindGap)) {
      stream.side.declareReset();
      this.#flush(stream);
      this.#forget(stream);
      streams.delete(client);
      this.#size--;
      stream = undefined;
    }
    if (stream === undefined) {
      stream = this.#begin(packet, isSyn, nowMs);
      if (stream === undefined) return;
      streams.set(client, stream);
      this.#size++;
      if (!isSyn) this.#writeMadeUpSyn(packet, stream);
    }
    this.#writePacket(packet, stream);
    this.#accept(packet, stream, nowMs);
  }

  /** Gives up what has been waited for too long; to be called about once a second. */
  expire(nowMs: number): void {
    for (const streams of this.#services.values()) {
      for (const stream of streams.values()) {
        const { gapSinceMs } = stream.side;
        if (gapSinceMs !== 0 && nowMs - gapSinceMs > MAX_GAP_MS) {
          stream.side.declareGap();
          this.#noteEnd(stream);
        }
      }
    }
  }

  /** The window ends: every record is written as it is, and all connections are forgotten. */
  finish(): void {
    for (const streams of this.#services.values()) {
      for (const stream of streams.values()) {
        if (stream.side.hasGap && stream.side.end === CapturedEnd.Open) this.#counters.gaps++;
        this.#flush(stream);
        this.#forget(stream);
      }
    }
    this.#services.clear();
    this.#size = 0;
    this.#outbox.flush();
  }

  /** A segment of a stream has come in order. */
  append(stream: Stream, segment: number): void {
    const { store } = this.#capture;
    const isTurn = (store.flags[segment] & SegmentFlag.TurnStart) !== 0;
    if (isTurn && stream.pendingBytes > 0) this.#flush(stream);
    if (stream.head === NONE) {
      stream.head = segment;
      stream.sinceUs = this.#timestampUs;
    } else store.next[stream.tail] = segment;
    store.next[segment] = NONE;
    stream.tail = segment;
    stream.pendingBytes += store.length[segment];
    // With little memory left records are cut earlier: better than losing a connection.
    const { pool } = store;
    const isShort = pool.usedBlocks > pool.maxBlocks * SHORT_SHARE;
    if (stream.pendingBytes >= MAX_RECORD_BYTES || isShort) this.#flush(stream);
  }

  #streamsOf(packet: Packet): Map<number, Stream> {
    const service = (packet.destinationAddress >>> 0) * 65_536 + packet.destinationPort;
    let streams = this.#services.get(service);
    if (streams === undefined) this.#services.set(service, streams = new Map());
    return streams;
  }

  #begin(packet: Packet, isSyn: boolean, nowMs: number): Stream | undefined {
    if (!isSyn) {
      if (packet.payloadLength === 0 || packet.flags & TcpFlag.Rst) return undefined;
      this.#counters.joined++;
    }
    if (this.#size >= MAX_CONNECTIONS) {
      this.#counters.outOfMemory++;
      return undefined;
    }
    this.#counters.connections++;
    const side = new CapturedSide(this.#capture, BLOCK_BYTES);
    if (isSyn) side.startAfterSyn(packet.sequence, nowMs);
    else side.startAt(packet.sequence, packet.acknowledgment, nowMs);
    return new Stream(
      this,
      side,
      packet.sourceAddress,
      packet.sourcePort,
      packet.destinationPort,
      isSyn ? packet.sequence : NO_SYN,
    );
  }

  #accept(packet: Packet, stream: Stream, nowMs: number): void {
    if (stream.side.end !== CapturedEnd.Open) return;
    if (!stream.side.accept(packet, nowMs, stream)) {
      this.#counters.outOfMemory++;
      stream.lost = true;
      stream.side.declareGap();
    }
    this.#noteEnd(stream);
  }

  #noteEnd(stream: Stream): void {
    const { end } = stream.side;
    if (end === CapturedEnd.Open) return;
    if (end === CapturedEnd.Gap && !stream.lost) this.#counters.gaps++;
    this.#flush(stream);
  }

  /** Hands the pending record to the outbox, or sheds it. */
  #flush(stream: Stream): void {
    const length = stream.pendingBytes;
    if (length === 0) return;
    const at = this.#outbox.reserve({
      kind: EntryKind.Record,
      length,
      timestampUs: stream.sinceUs,
      clientAddress: stream.clientAddress,
      clientPort: stream.clientPort,
      port: stream.port,
      position: stream.position,
    });
    if (at < 0) {
      this.#counters.shedRecords++;
      this.#counters.shedBytes += length;
    } else {
      this.#counters.records++;
      this.#counters.recordBytes += length;
    }
    const { store } = this.#capture;
    let to = at;
    for (let segment = stream.head; segment !== NONE;) {
      const next = store.next[segment];
      if (at >= 0) {
        store.copyTo(segment, 0, store.length[segment], this.#outbox.view, to);
        to += store.length[segment];
      }
      store.release(segment);
      segment = next;
    }
    stream.position += length;
    stream.head = NONE;
    stream.tail = NONE;
    stream.pendingBytes = 0;
  }

  #forget(stream: Stream): void {
    stream.side.clear();
  }

  #writePacket(packet: Packet, stream: Stream): void {
    if (!this.#withPackets || stream.packetsShed) return;
    const captured = packet.payloadOffset + packet.capturedPayloadLength - packet.ipOffset;
    const at = this.#reservePacket(stream, captured, packet.ipTotalLength);
    if (at < 0) return;
    const whole = packet.bytes.subarray(packet.ipOffset, packet.ipOffset + captured);
    this.#outbox.bytes.set(whole, at);
  }

  /** In front of a connection that was open before: whoever replays it needs a beginning. */
  #writeMadeUpSyn(packet: Packet, stream: Stream): void {
    if (!this.#withPackets) return;
    const at = this.#reservePacket(stream, SYNTHETIC_SYN_BYTES, SYNTHETIC_SYN_BYTES);
    if (at < 0) return;
    writeSyntheticSyn(this.#scratch, this.#scratchView, packet, (packet.sequence - 1) | 0);
    this.#outbox.bytes.set(this.#scratch, at);
  }

  #reservePacket(stream: Stream, length: number, originalLength: number): number {
    const at = this.#outbox.reserve({
      kind: EntryKind.Packet,
      length,
      timestampUs: this.#timestampUs,
      clientAddress: stream.clientAddress,
      clientPort: stream.clientPort,
      port: stream.port,
      position: originalLength,
    });
    if (at < 0) {
      // What follows a missing packet could not be replayed.
      stream.packetsShed = true;
      this.#counters.shedPackets++;
    } else this.#counters.packets++;
    return at;
  }
}
