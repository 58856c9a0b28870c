/**
 * Watches the network card of a server: measures its latency and, with --keep, records what its
 * clients send into a capture file, as tcpdump would.
 *
 *     deno run -A test/demo/recorder.ts --address 198.18.0.1 --port 8080 [--keep FILE]
 *
 * Prints "ready" when it captures. The command "report" on standard input is answered with a
 * {@linkcode RecorderReport}, and the file is then up to date.
 */

import { PcapDeviceCapture } from "../../src/capture/pcap_device.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { numberArgument, parseArguments } from "../lab/arguments.ts";
import { CaptureFile } from "./capture_file.ts";
import { serveCommands } from "./conversation.ts";
import { LatencyMeter, type LatencyReport } from "./latency.ts";

/** What was seen since the last report. */
export interface RecorderReport {
  latency: LatencyReport;
  /** Packets for which the kernel had no room, since the start. */
  droppedByKernel: number;
}

/** Headers are enough to measure. */
const MEASURE_SNAP_LENGTH = 192;
/** A packet before segmentation may be as long as an IP packet can be. */
const KEEP_SNAP_LENGTH = 65_535 + 14;
/**
 * The kernel hands its buffer over in blocks of 256 KiB, each after 1 ms at the latest: this is also
 * the time, in units of 4 ms per MiB, that the recorder may be kept from running.
 */
const BUFFER_BYTES = 64 << 20;

async function main(): Promise<void> {
  const values = parseArguments(Deno.args, ["address", "port", "keep"]);
  const port = numberArgument(values, "port", 8080);
  const path = values.get("keep");
  const snapLength = path === undefined ? MEASURE_SNAP_LENGTH : KEEP_SNAP_LENGTH;
  const capture = new PcapDeviceCapture({
    device: "eth0",
    // Not what tcpcopy sends from here to the same port of another host.
    filter: `tcp port ${port} and host ${values.get("address")}`,
    direction: "both",
    snapLength,
    bufferBytes: BUFFER_BYTES,
  });
  const file = path === undefined ? undefined : new CaptureFile(path, capture.linkType, snapLength);
  const meter = new LatencyMeter(port);
  const packet = new Packet();
  const loop = new EventLoop();
  capture.start(loop, (bytes, view, offset, length, originalLength, timestampUs) => {
    const result = packet.parse(capture.linkType, bytes, view, offset, length);
    if (result !== ParseResult.Tcp) return;
    meter.onPacket(packet, timestampUs);
    if (packet.destinationPort !== port) return;
    file?.add(timestampUs, bytes, offset, length, originalLength);
  });
  serveCommands({
    report: (): RecorderReport => {
      file?.flush();
      return { latency: meter.report(), droppedByKernel: capture.stats().droppedByKernel };
    },
  });
  console.log("ready");
  await loop.run();
}

if (import.meta.main) await main();
