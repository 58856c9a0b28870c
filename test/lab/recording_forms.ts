/** The forms a recording can have, made from what tcpdump wrote. Touches files. */

import { gzipSync, zstdCompressSync } from "node:zlib";
import { PcapFileReader } from "../../src/capture/pcap_file.ts";
import { pcapngFile, type PcapngPacket } from "../wire/pcapng.ts";

/** As tcpdump wrote it; as pcapng; that compressed; that for standard input, compressed too. */
export type RecordingForm = "pcap" | "pcapng" | "gzip" | "zstd" | "stdin";

/** Nanoseconds, and 2^-20 seconds. */
const RESOLUTIONS = [9, 0x80 | 20];

/** Writes the recording in another form beside it; returns the path. */
export async function writeForm(path: string, form: RecordingForm): Promise<string> {
  if (form === "pcap") return path;
  const pcapng = toPcapng(path);
  const made = `${path}.${form}`;
  const bytes = form === "pcapng"
    ? pcapng
    : form === "gzip"
    ? gzipSync(pcapng)
    : zstdCompressSync(pcapng);
  await Deno.writeFile(made, bytes);
  return made;
}

/** The packets, by turns of two interfaces. */
function toPcapng(path: string): Uint8Array<ArrayBuffer> {
  const packets: PcapngPacket[] = [];
  using file = new PcapFileReader(path);
  while (file.next()) {
    packets.push({
      interface: packets.length % RESOLUTIONS.length,
      timestampUs: file.timestampUs,
      bytes: file.bytes.slice(file.offset, file.offset + file.capturedLength),
    });
  }
  const interfaces = RESOLUTIONS.map((resolution) => ({ linkType: file.linkType, resolution }));
  return pcapngFile(interfaces, packets);
}
