/** Builds whole IPv4 packets for the simulated hosts. Pure. */

import { IP_PROTOCOL_TCP, IPV4_HEADER_BYTES, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { TCP_HEADER_BYTES, writeTcpChecksumIpv4, writeTcpHeader } from "../../src/wire/tcp.ts";
import {
  TcpOptionKind,
  writeMssOption,
  writeSackPermittedOption,
  writeTimestampsOption,
  writeWindowScaleOption,
} from "../../src/wire/tcp_options.ts";

/** A TCP segment; absent fields are zero, absent options are not sent. */
export interface SegmentFields {
  source: number;
  sourcePort: number;
  destination: number;
  destinationPort: number;
  sequence: number;
  acknowledgment?: number;
  flags: number;
  window?: number;
  mss?: number;
  windowScale?: number;
  sackPermitted?: boolean;
  timestamps?: { value: number; echo: number };
  /** Pairs of left and right edge. */
  sack?: readonly [number, number][];
  payload?: Uint8Array;
  /** Length of a payload that is described by the lengths but not present; for headers only. */
  absentPayloadBytes?: number;
}

/** Writes a segment as an IPv4 packet with right checksums (unless the payload is absent). */
export function buildPacket(fields: SegmentFields): Uint8Array {
  const payloadBytes = fields.payload?.length ?? 0;
  const room = new Uint8Array(IPV4_HEADER_BYTES + 60 + payloadBytes);
  const view = new DataView(room.buffer);
  const tcp = IPV4_HEADER_BYTES;
  const headerBytes = writeOptions(view, tcp + TCP_HEADER_BYTES, fields) - tcp;
  if (fields.payload !== undefined) room.set(fields.payload, tcp + headerBytes);
  const present = tcp + headerBytes + payloadBytes;
  const total = present + (fields.absentPayloadBytes ?? 0);
  writeIpv4Header(view, 0, total, 1, 64, IP_PROTOCOL_TCP, fields.source, fields.destination);
  writeTcpHeader(
    view,
    tcp,
    fields.sourcePort,
    fields.destinationPort,
    fields.sequence,
    fields.acknowledgment ?? 0,
    headerBytes,
    fields.flags,
    fields.window ?? 0,
  );
  if (fields.absentPayloadBytes === undefined) {
    writeTcpChecksumIpv4(room, view, 0, tcp, headerBytes + payloadBytes);
  }
  return room.subarray(0, present);
}

function writeOptions(view: DataView, offset: number, fields: SegmentFields): number {
  let at = offset;
  if (fields.mss !== undefined) at = writeMssOption(view, at, fields.mss);
  if (fields.sackPermitted) at = writeSackPermittedOption(view, at);
  if (fields.timestamps !== undefined) {
    at = writeTimestampsOption(view, at, fields.timestamps.value, fields.timestamps.echo);
  }
  if (fields.windowScale !== undefined && fields.windowScale >= 0) {
    at = writeWindowScaleOption(view, at, fields.windowScale);
  }
  if (fields.sack !== undefined && fields.sack.length > 0) {
    view.setUint16(at, (TcpOptionKind.NoOperation << 8) | TcpOptionKind.NoOperation);
    view.setUint16(at + 2, (TcpOptionKind.Sack << 8) | (2 + 8 * fields.sack.length));
    at += 4;
    for (const [left, right] of fields.sack) {
      view.setInt32(at, left);
      view.setInt32(at + 4, right);
      at += 8;
    }
  }
  return at;
}
