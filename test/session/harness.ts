/** What the tests of the session layer share: a sink that records, packets made by hand. */

import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { formatTcpFlags, TcpFlag } from "../../src/wire/tcp_flags.ts";
import { TcpOptions } from "../../src/wire/tcp_options.ts";
import type { PacketSink } from "../../src/session/sink.ts";
import { buildPacket, type SegmentFields } from "../sim/packet_builder.ts";

export const CLIENT = 0xc6130001 | 0; // 198.19.0.1
export const TARGET = 0xc6120201 | 0; // 198.18.2.1
export const CLIENT_PORT = 40_000;
export const TARGET_PORT = 8080;

/** A packet that was sent, in words. */
export interface Sent {
  flags: string;
  source: number;
  sourcePort: number;
  sequence: number;
  acknowledgment: number;
  window: number;
  payload: Uint8Array;
  options: TcpOptions;
}

/** Records what is sent. */
export class RecordingSink implements PacketSink {
  readonly bytes = new Uint8Array(1 << 16);
  readonly view = new DataView(this.bytes.buffer);
  /** Whether there is no room. */
  isFull = false;
  #sent: Sent[] = [];

  reserve(): number {
    return this.isFull ? -1 : 100;
  }

  commit(lengthBytes: number): void {
    const packet = parse(this.bytes.slice(100, 100 + lengthBytes));
    const options = new TcpOptions();
    options.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20);
    this.#sent.push({
      flags: formatTcpFlags(packet.flags),
      source: packet.sourceAddress,
      sourcePort: packet.sourcePort,
      sequence: packet.sequence,
      acknowledgment: packet.acknowledgment,
      window: packet.window,
      payload: packet.bytes.subarray(packet.payloadOffset),
      options,
    });
  }

  /** What was sent since the last call. */
  take(): Sent[] {
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }
}

/** Parses a packet that must be right. */
export function parse(bytes: Uint8Array): Packet {
  const packet = new Packet();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const result = packet.parseIp(bytes, view, 0, bytes.length);
  if (result !== ParseResult.Tcp) throw new Error(`expected a TCP packet, got result ${result}`);
  return packet;
}

/** Flags from letters: "SA" is SYN and ACK. */
export function flagsOf(letters: string): number {
  const known: Record<string, number> = {
    F: TcpFlag.Fin,
    S: TcpFlag.Syn,
    R: TcpFlag.Rst,
    P: TcpFlag.Psh,
    A: TcpFlag.Ack,
  };
  return [...letters].reduce((flags, letter) => flags | known[letter], 0);
}

/** Fields that tests give: flags as letters, everything else as in a packet. */
export type Fields = Partial<Omit<SegmentFields, "flags">> & { flags: string };

/** A packet of the target, as intercept passes it on: headers, the payload absent. */
export function fromTarget(fields: Fields): Packet {
  return parse(buildPacket({
    source: TARGET,
    sourcePort: TARGET_PORT,
    destination: CLIENT,
    destinationPort: CLIENT_PORT,
    sequence: 0,
    window: 60_000,
    ...fields,
    flags: flagsOf(fields.flags),
  }));
}

/** A packet of the real client, as captured. */
export function fromClient(fields: Fields): Packet {
  return parse(buildPacket({
    source: CLIENT,
    sourcePort: CLIENT_PORT,
    destination: 0xc6120101 | 0,
    destinationPort: 80,
    sequence: 0,
    window: 500,
    ...fields,
    flags: flagsOf(fields.flags),
  }));
}

/** Sent packets as short texts: flags, sequence and payload length relative to `origin`. */
export function brief(sent: readonly Sent[], origin: number): string[] {
  return sent.map(({ flags, sequence, payload }) =>
    `${flags} ${(sequence - origin) | 0}+${payload.length}`
  );
}
