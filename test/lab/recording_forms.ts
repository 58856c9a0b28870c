/** The forms a recording can have, made from what tcpdump wrote. Touches files. */

import { gzipSync, zstdCompressSync } from "node:zlib";
import { PcapFileReader } from "../../src/capture/pcap_file.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { APPLICATION_PORT } from "./programs.ts";
import { pcapngFile, type PcapngPacket } from "../wire/pcapng.ts";

/**
 * As tcpdump wrote it; as pcapng; that compressed; that for standard input, compressed too; with a
 * segment of each long connection captured late.
 */
export type RecordingForm = "pcap" | "pcapng" | "gzip" | "zstd" | "stdin" | "late";

/** So much of the connection is captured before the segment that is late. */
const LATE_BYTES = 8 << 20;

/** Nanoseconds, and 2^-20 seconds. */
const RESOLUTIONS = [9, 0x80 | 20];

/** Writes the recording in another form beside it; returns the path. */
export async function writeForm(path: string, form: RecordingForm): Promise<string> {
  if (form === "pcap") return path;
  const recording = readRecording(path);
  const pcapng = toPcapng(form === "late" ? withLateSegments(recording) : recording);
  const made = `${path}.${form}`;
  const bytes = form === "pcapng" || form === "late"
    ? pcapng
    : form === "gzip"
    ? gzipSync(pcapng)
    : zstdCompressSync(pcapng);
  await Deno.writeFile(made, bytes);
  return made;
}

/** What is in a file. */
interface Packets {
  linkType: number;
  /** By turns of two interfaces. */
  packets: readonly PcapngPacket[];
}

function readRecording(path: string): Packets {
  const packets: PcapngPacket[] = [];
  using file = new PcapFileReader(path);
  while (file.next()) {
    packets.push({
      interface: packets.length % RESOLUTIONS.length,
      timestampUs: file.timestampUs,
      bytes: file.bytes.slice(file.offset, file.offset + file.capturedLength),
    });
  }
  return { linkType: file.linkType, packets };
}

function toPcapng({ linkType, packets }: Packets): Uint8Array<ArrayBuffer> {
  return pcapngFile(RESOLUTIONS.map((resolution) => ({ linkType, resolution })), packets);
}

/** Moves the second data segment of each connection behind LATE_BYTES of it; all must be as long. */
function withLateSegments({ linkType, packets }: Packets): Packets {
  const packet = new Packet();
  const sent = new Map<number, { segments: number; bytes: number; late?: PcapngPacket }>();
  const ordered: PcapngPacket[] = [];
  for (const one of packets) {
    const view = new DataView(one.bytes.buffer, one.bytes.byteOffset, one.bytes.byteLength);
    const result = packet.parse(linkType, one.bytes, view, 0, one.bytes.length);
    const isData = result === ParseResult.Tcp && packet.destinationPort === APPLICATION_PORT &&
      packet.payloadLength > 0;
    const flow = sent.get(packet.sourcePort) ?? { segments: 0, bytes: 0 };
    if (isData) {
      sent.set(packet.sourcePort, flow);
      flow.bytes += packet.payloadLength;
      if (++flow.segments === 2) {
        flow.late = one;
        continue;
      }
    }
    ordered.push(one);
    if (!isData || flow.late === undefined || flow.bytes < LATE_BYTES) continue;
    ordered.push({ ...flow.late, timestampUs: one.timestampUs });
    flow.late = undefined;
  }
  const never = [...sent.values()].filter(({ late }) => late !== undefined).length;
  if (never > 0) throw new Error(`${never} connections are too short for a late segment`);
  return { linkType, packets: ordered };
}
