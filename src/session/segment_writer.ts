/**
 * Writes the simulated clients' packets, IPv4 and TCP, into a PacketSink. Pure.
 *
 * Every packet of the replay is built here, so this is the one place that decides what a packet
 * looks like on the wire.
 */

import { IP_PROTOCOL_TCP, IPV4_HEADER_BYTES, writeIpv4Header } from "../wire/ipv4.ts";
import { TCP_HEADER_BYTES, writeTcpChecksumIpv4, writeTcpHeader } from "../wire/tcp.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import {
  TcpOptionKind,
  writeMssOption,
  writeSackPermittedOption,
  writeTimestampsOption,
  writeWindowScaleOption,
} from "../wire/tcp_options.ts";
import type { SessionCounters } from "./counters.ts";
import {
  offeredGeneration,
  offeredMss,
  offeredScale,
  offersSack,
  offersTimestamps,
} from "./handshake.ts";
import type { RangeSet } from "./range_set.ts";
import { markedIdentification, markedWindow } from "./replay_mark.ts";
import { NONE, type SegmentStore } from "./segment_store.ts";
import type { PacketSink } from "./sink.ts";

/** Both ends of a connection; addresses as int32. */
export interface FourTuple {
  localAddress: number;
  localPort: number;
  remoteAddress: number;
  remotePort: number;
}

const TIME_TO_LIVE = 64;
const MAX_HEADERS_BYTES = 120;

/** Builds packets in place. */
export class SegmentWriter {
  readonly #sink: PacketSink;
  readonly #store: SegmentStore;
  readonly #counters: SessionCounters;
  readonly #timestampOffset: number;
  #identification = 1;

  /** @param timestampOffset added to the clock for the timestamps option, int32 */
  constructor(
    sink: PacketSink,
    store: SegmentStore,
    counters: SessionCounters,
    timestampOffset: number,
  ) {
    this.#sink = sink;
    this.#store = store;
    this.#counters = counters;
    this.#timestampOffset = timestampOffset;
  }

  /** The timestamp clock: one tick a ms, int32 (RFC 7323 section 5.4). */
  timestamp(nowMs: number): number {
    return (nowMs + this.#timestampOffset) | 0;
  }

  /**
   * Writes a SYN, marked as a replay's.
   *
   * @param offer packed HandshakeOptions
   */
  syn(tuple: FourTuple, sequence: number, offer: number, nowMs: number): void {
    const at = this.#reserve(MAX_HEADERS_BYTES);
    if (at < 0) return;
    const view = this.#sink.view;
    const tcp = at + IPV4_HEADER_BYTES;
    let end = writeMssOption(view, tcp + TCP_HEADER_BYTES, offeredMss(offer));
    if (offersSack(offer)) end = writeSackPermittedOption(view, end);
    if (offersTimestamps(offer)) end = writeTimestampsOption(view, end, this.timestamp(nowMs), 0);
    const scale = offeredScale(offer);
    if (scale >= 0) end = writeWindowScaleOption(view, end, scale);
    const generation = offeredGeneration(offer);
    const window = markedWindow(sequence, generation);
    // The next packet counts on from here: its identification has no meaning.
    this.#identification = markedIdentification(sequence, generation) - 1;
    this.#finish(tuple, at, sequence, 0, end - tcp, TcpFlag.Syn, window, 0);
  }

  /** Writes a RST without ACK, the answer to a segment that belongs to no connection. */
  reset(tuple: FourTuple, sequence: number): void {
    const at = this.#reserve(MAX_HEADERS_BYTES);
    if (at >= 0) this.#finish(tuple, at, sequence, 0, TCP_HEADER_BYTES, TcpFlag.Rst, 0, 0);
  }

  /**
   * Writes a bare acknowledgement for a connection that is no longer kept.
   *
   * @param timestamps whether the peer's segment had the timestamps option
   * @param echo its timestamp
   */
  acknowledge(
    tuple: FourTuple,
    sequence: number,
    acknowledgment: number,
    timestamps: boolean,
    echo: number,
    nowMs: number,
  ): void {
    const at = this.#reserve(MAX_HEADERS_BYTES);
    if (at < 0) return;
    const tcp = at + IPV4_HEADER_BYTES;
    let end = tcp + TCP_HEADER_BYTES;
    if (timestamps) {
      end = writeTimestampsOption(this.#sink.view, end, this.timestamp(nowMs), echo);
    }
    this.#finish(tuple, at, sequence, acknowledgment, end - tcp, TcpFlag.Ack, 65535, 0);
  }

  /**
   * Writes a segment of an established connection.
   *
   * @param received what arrived out of order, to be reported, or null
   * @param newestRange index in `received` of the range that grew last; it is reported first
   * @param segment stored segment the payload comes from, or NONE
   */
  write(
    tuple: FourTuple,
    sequence: number,
    flags: number,
    acknowledgment: number,
    window: number,
    timestamps: boolean,
    echo: number,
    received: RangeSet | null,
    newestRange: number,
    segment: number,
    from: number,
    length: number,
    nowMs: number,
  ): void {
    const at = this.#reserve(MAX_HEADERS_BYTES + length);
    if (at < 0) return;
    const view = this.#sink.view;
    const tcp = at + IPV4_HEADER_BYTES;
    let end = tcp + TCP_HEADER_BYTES;
    if (timestamps) end = writeTimestampsOption(view, end, this.timestamp(nowMs), echo);
    // A data segment stays within the MTU, so it does not carry SACK blocks.
    if (received !== null && received.count > 0 && length === 0) {
      end = writeSackOption(view, end, received, newestRange, timestamps ? 3 : 4);
    }
    if (segment !== NONE) this.#store.copyTo(segment, from, length, view, end);
    this.#finish(tuple, at, sequence, acknowledgment, end - tcp, flags, window, length);
  }

  #reserve(bytes: number): number {
    const at = this.#sink.reserve(bytes);
    if (at < 0) this.#counters.unsentPackets++;
    return at;
  }

  #finish(
    tuple: FourTuple,
    at: number,
    sequence: number,
    acknowledgment: number,
    headerLength: number,
    flags: number,
    window: number,
    payloadLength: number,
  ): void {
    const { view, bytes } = this.#sink;
    const tcp = at + IPV4_HEADER_BYTES;
    const tcpLength = headerLength + payloadLength;
    const total = IPV4_HEADER_BYTES + tcpLength;
    this.#identification = (this.#identification + 1) & 0xffff || 1;
    writeIpv4Header(
      view,
      at,
      total,
      this.#identification,
      TIME_TO_LIVE,
      IP_PROTOCOL_TCP,
      tuple.localAddress,
      tuple.remoteAddress,
    );
    writeTcpHeader(
      view,
      tcp,
      tuple.localPort,
      tuple.remotePort,
      sequence,
      acknowledgment,
      headerLength,
      flags,
      window,
    );
    writeTcpChecksumIpv4(bytes, view, at, tcp, tcpLength);
    this.#counters.sentPackets++;
    this.#sink.commit(total);
  }
}

/** Writes a SACK option (RFC 2018), the newest range first. Returns the offset behind it. */
function writeSackOption(
  view: DataView,
  offset: number,
  received: RangeSet,
  newest: number,
  maxBlocks: number,
): number {
  const blocks = Math.min(received.count, maxBlocks);
  const first = newest >= 0 && newest < received.count ? newest : received.count - 1;
  view.setUint16(offset, (TcpOptionKind.NoOperation << 8) | TcpOptionKind.NoOperation);
  view.setUint16(offset + 2, (TcpOptionKind.Sack << 8) | (2 + 8 * blocks));
  let at = offset + 4;
  let written = 0;
  for (let i = -1; i < received.count && written < blocks; i++) {
    const range = i === -1 ? first : i;
    if (i === first) continue;
    view.setInt32(at, received.left[range]);
    view.setInt32(at + 4, received.right[range]);
    at += 8;
    written++;
  }
  return at;
}
