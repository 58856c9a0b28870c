/**
 * Records packets into a capture file, where tcpdump cannot: as root it insists on changing its
 * user, which a user namespace does not allow.
 *
 *     deno run -A test/lab/record.ts --device eth0 --filter "tcp port 8080" --write FILE
 *
 * Says what tcpdump says: "listening on" first, and after SIGTERM how many packets were dropped.
 */

import { PcapDeviceCapture } from "../../src/capture/pcap_device.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import { onSignals } from "../../src/loop/signals.ts";
import {
  PCAP_FILE_HEADER_BYTES,
  PCAP_RECORD_HEADER_BYTES,
  writePcapFileHeader,
  writePcapRecordHeader,
} from "../../src/wire/pcap_file.ts";
import { parseArguments } from "./arguments.ts";

const SNAP_LENGTH = 262_144;
const CAPTURE_BUFFER_BYTES = 64 << 20;
const WRITE_BUFFER_BYTES = 4 << 20;
/** libpcap gathers packets before it hands them over; what is on its way at the end still counts. */
const FLUSH_MS = 50;

/** A capture file that is written in large pieces. */
class CaptureFile {
  readonly #file: Deno.FsFile;
  readonly #bytes = new Uint8Array(WRITE_BUFFER_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  #fill = PCAP_FILE_HEADER_BYTES;

  constructor(path: string, linkType: number) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    writePcapFileHeader(this.#view, 0, linkType, SNAP_LENGTH);
  }

  add(packet: Uint8Array, originalLength: number, timestampUs: number): void {
    const needed = PCAP_RECORD_HEADER_BYTES + packet.length;
    if (this.#fill + needed > WRITE_BUFFER_BYTES) this.flush();
    writePcapRecordHeader(this.#view, this.#fill, timestampUs, packet.length, originalLength);
    this.#bytes.set(packet, this.#fill + PCAP_RECORD_HEADER_BYTES);
    this.#fill += needed;
  }

  flush(): void {
    for (let at = 0; at < this.#fill;) {
      at += this.#file.writeSync(this.#bytes.subarray(at, this.#fill));
    }
    this.#fill = 0;
  }
}

async function main(): Promise<void> {
  const values = parseArguments(Deno.args, ["device", "filter", "write"]);
  const device = values.get("device") ?? "eth0";
  const capture = new PcapDeviceCapture({
    device,
    filter: values.get("filter"),
    snapLength: SNAP_LENGTH,
    bufferBytes: CAPTURE_BUFFER_BYTES,
    direction: "both",
  });
  const path = values.get("write");
  if (path === undefined) throw new Error("option --write FILE is missing");
  const file = new CaptureFile(path, capture.linkType);
  const loop = new EventLoop();
  capture.start(
    loop,
    (bytes, _view, offset, capturedLength, originalLength, timestampUs) =>
      file.add(bytes.subarray(offset, offset + capturedLength), originalLength, timestampUs),
  );
  onSignals(["SIGTERM", "SIGINT"], () => {
    loop.after(FLUSH_MS, () => loop.stop());
    loop.wake();
  });
  console.error(`listening on ${device}`);
  await loop.run();
  console.error(`${capture.stats().droppedByKernel} packets dropped by kernel`);
  capture.close();
  file.flush();
  loop.close();
  Deno.exit(0);
}

if (import.meta.main) await main();
