/** Builds parsed packets of the target's for the tunnel's tests. */

import { IP_PROTOCOL_TCP, parseIpv4, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

export const CLIENT = parseIpv4("198.18.0.1")!;
export const TARGET = parseIpv4("198.18.9.9")!;
export const TARGET_PORT = 8080;

/** What a test wants to be special about a packet. */
export interface PacketFields {
  client?: number;
  clientPort?: number;
  target?: number;
  targetPort?: number;
  flags?: number;
  sequence?: number;
  acknowledgment?: number;
  /** IP options, padded by the caller to a multiple of 4. */
  ipOptions?: readonly number[];
  /** TCP options, padded by the caller to a multiple of 4. */
  tcpOptions?: readonly number[];
  payload?: Uint8Array;
}

/** The bytes of a packet from target to client. */
export function targetBytes(fields: PacketFields = {}): Uint8Array {
  const ipOptions = fields.ipOptions ?? [];
  const tcpOptions = fields.tcpOptions ?? [];
  const payload = fields.payload ?? new Uint8Array(0);
  const ipHeader = 20 + ipOptions.length;
  const tcpHeader = 20 + tcpOptions.length;
  const bytes = new Uint8Array(ipHeader + tcpHeader + payload.length);
  const view = new DataView(bytes.buffer);
  const source = fields.target ?? TARGET;
  const destination = fields.client ?? CLIENT;
  writeIpv4Header(view, 0, bytes.length, 77, 63, IP_PROTOCOL_TCP, source, destination);
  bytes[0] = 0x40 | (ipHeader >>> 2);
  bytes.set(ipOptions, 20);
  writeTcpHeader(
    view,
    ipHeader,
    fields.targetPort ?? TARGET_PORT,
    fields.clientPort ?? 40000,
    fields.sequence ?? 1000,
    fields.acknowledgment ?? 2000,
    tcpHeader,
    fields.flags ?? TcpFlag.Ack,
    500,
  );
  bytes.set(tcpOptions, ipHeader + 20);
  bytes.set(payload, ipHeader + tcpHeader);
  return bytes;
}

/** The same, parsed. */
export function targetPacket(fields: PacketFields = {}): Packet {
  return parsed(targetBytes(fields));
}

/** Parses bytes that have to be a TCP packet. */
export function parsed(bytes: Uint8Array): Packet {
  const packet = new Packet();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const result = packet.parseIp(bytes, view, 0, bytes.length);
  if (result !== ParseResult.Tcp) throw new Error(`expected a TCP packet, got result ${result}`);
  return packet;
}
