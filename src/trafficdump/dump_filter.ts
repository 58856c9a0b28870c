/**
 * The dump as a network filter, for use in a Deno server or in the proxy: every piece of data that
 * passes while a window is open is one record. It never holds data up.
 *
 * ```ts
 * const filter = new DumpFilter(dump, 8080);
 * filter.onData(context, bytes); // "continue", always
 * ```
 */

import { parseIpv4 } from "../wire/ipv4.ts";
import { SYNTHETIC_HEADER_BYTES, SYNTHETIC_SYN_BYTES } from "../wire/synthetic.ts";
import { writeSyntheticSegment, writeSyntheticSyn } from "../wire/synthetic.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { Dump, DumpSource } from "./dump.ts";
import type { FilterContext, FilterStatus, NetworkFilter } from "./filter.ts";
import { EntryKind } from "./outbox.ts";

/** Longer pieces become several records. */
const MAX_RECORD_BYTES = 256 * 1024;
/** Payload of a made-up packet. */
const MAX_SEGMENT_BYTES = 32 * 1024;

/** How an IPv4 address looks on a socket that takes both: RFC 4291, 2.5.5.2. */
const MAPPED_IPV4 = /^::ffff:(?=\d+\.)/i;
/** 240.0.0.0/4, reserved: RFC 1112. */
const STAND_IN_NETWORK = 0xf000_0000;
const STAND_INS = 1 << 28;

/** What is known about a connection in the current window. */
interface Dumped {
  window: string;
  position: number;
  /** Bytes the service had answered before the window. */
  repliedBefore: number;
  packetsShed: boolean;
  /** Its IPv4 address, int32, or one that stands for another. */
  clientAddress: number;
}

export class DumpFilter implements NetworkFilter, DumpSource {
  readonly #dump: Dump;
  readonly #port: number;
  readonly #withPackets: boolean;
  readonly #connections = new WeakMap<FilterContext, Dumped>();
  readonly #scratch = new Uint8Array(SYNTHETIC_HEADER_BYTES + MAX_SEGMENT_BYTES);
  readonly #view = new DataView(this.#scratch.buffer);
  #standIns = 0;

  /**
   * @param port the port that stands in the records
   * @param withPackets also make up packets of the data, for the window's pcapng
   */
  constructor(dump: Dump, port: number, withPackets = true) {
    this.#dump = dump;
    this.#port = port;
    this.#withPackets = withPackets;
    dump.addSource(this);
  }

  onNewConnection(): FilterStatus {
    return "continue";
  }

  onData(context: FilterContext, bytes: Uint8Array): FilterStatus {
    const { window } = this.#dump;
    if (window === undefined) return "continue";
    let dumped = this.#connections.get(context);
    if (dumped?.window !== window) {
      const repliedBefore = context.repliedBytes;
      const clientAddress = this.#addressOf(context);
      const packetsShed = !this.#withPackets;
      dumped = { window, position: 0, repliedBefore, packetsShed, clientAddress };
      this.#connections.set(context, dumped);
      this.#dump.counters.connections++;
      this.#packet(context, dumped, TcpFlag.Syn, bytes.subarray(0, 0));
    }
    for (let at = 0; at < bytes.length; at += MAX_RECORD_BYTES) {
      this.#record(context, dumped, bytes.subarray(at, at + MAX_RECORD_BYTES));
    }
    return "continue";
  }

  onClose(context: FilterContext): void {
    const dumped = this.#connections.get(context);
    if (dumped === undefined || dumped.window !== this.#dump.window) return;
    this.#packet(context, dumped, TcpFlag.Fin | TcpFlag.Ack, new Uint8Array(0));
  }

  begin(): void {}

  end(): void {
    this.#dump.writer.outbox.flush();
  }

  /** An IPv6 client gets an address of its own that no host has: what is dumped is IPv4. */
  #addressOf({ clientAddress }: FilterContext): number {
    const address = parseIpv4(clientAddress.replace(MAPPED_IPV4, ""));
    if (address !== undefined) return address;
    this.#standIns = (this.#standIns + 1) % STAND_INS;
    const standIn = (STAND_IN_NETWORK + this.#standIns) | 0;
    const text = new TextEncoder().encode(clientAddress);
    const { outbox } = this.#dump.writer;
    const at = outbox.reserve({
      kind: EntryKind.Client,
      length: text.length,
      timestampUs: 0,
      clientAddress: standIn,
      clientPort: 0,
      port: this.#port,
      position: 0,
    });
    if (at >= 0) outbox.bytes.set(text, at);
    return standIn;
  }

  #record(context: FilterContext, dumped: Dumped, piece: Uint8Array): void {
    const { counters, writer: { outbox } } = this.#dump;
    for (let at = 0; at < piece.length; at += MAX_SEGMENT_BYTES) {
      const part = piece.subarray(at, at + MAX_SEGMENT_BYTES);
      this.#packet(context, dumped, TcpFlag.Ack | TcpFlag.Psh, part, at);
    }
    const at = outbox.reserve({
      kind: EntryKind.Record,
      length: piece.length,
      timestampUs: Date.now() * 1000,
      clientAddress: dumped.clientAddress,
      clientPort: context.clientPort,
      port: this.#port,
      position: dumped.position,
    });
    dumped.position += piece.length;
    if (at < 0) {
      counters.shedRecords++;
      counters.shedBytes += piece.length;
      return;
    }
    outbox.bytes.set(piece, at);
    counters.records++;
    counters.recordBytes += piece.length;
  }

  /** Makes up the packet in which data may have come. */
  #packet(context: FilterContext, dumped: Dumped, flags: number, data: Uint8Array, at = 0): void {
    if (dumped.packetsShed) return;
    const { counters, writer: { outbox } } = this.#dump;
    const scratch = this.#scratch;
    const tuple = {
      sourceAddress: dumped.clientAddress,
      sourcePort: context.clientPort,
      destinationAddress: LOCALHOST,
      destinationPort: this.#port,
    };
    let length = SYNTHETIC_SYN_BYTES;
    if (flags === TcpFlag.Syn) writeSyntheticSyn(scratch, this.#view, tuple, 0);
    else {
      scratch.set(data, SYNTHETIC_HEADER_BYTES);
      // What has been answered tells a replay where a turn begins.
      const acknowledgment = 1 + context.repliedBytes - dumped.repliedBefore;
      const sequence = (1 + dumped.position + at) | 0;
      length = writeSyntheticSegment(
        scratch,
        this.#view,
        tuple,
        sequence,
        acknowledgment | 0,
        flags,
        data.length,
      );
    }
    const room = outbox.reserve({
      kind: EntryKind.Packet,
      length,
      timestampUs: Date.now() * 1000,
      clientAddress: tuple.sourceAddress,
      clientPort: tuple.sourcePort,
      port: this.#port,
      position: length,
    });
    if (room < 0) {
      dumped.packetsShed = true;
      counters.shedPackets++;
      return;
    }
    outbox.bytes.set(scratch.subarray(0, length), room);
    counters.packets++;
  }
}

/** 127.0.0.1: what a service behind a proxy is to it, whatever its address. */
const LOCALHOST = 0x7f00_0001;
