/**
 * Passive capture as a source of a dump: the packets that arrive for some ports, while a window is
 * open. Outside of windows the kernel lets nothing through, so that it costs nothing.
 */

import type { CapturePair } from "../capture/bpf.ts";
import { PcapDeviceCapture } from "../capture/pcap_device.ts";
import { RawSocketCapture } from "../capture/raw_socket.ts";
import { RingCapture } from "../capture/ring.ts";
import type { CaptureSource } from "../capture/source.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { formatIpv4 } from "../wire/ipv4.ts";
import { Packet, ParseResult } from "../wire/packet.ts";
import type { Dump, DumpSource } from "./dump.ts";
import { StreamTable } from "./stream_table.ts";

/** What is captured, and how. */
export interface PassiveCaptureOptions {
  /** The services. */
  pairs: readonly CapturePair[];
  way: "raw" | "ring" | "pcap";
  /** For `pcap`: the device. */
  device: string;
  bufferBytes: number;
  /** Memory for request data that waits for the rest of its record. */
  maxBytes: number;
  /** Whether packets are written too, to a pcapng per window. */
  withPackets: boolean;
  libpcapPath: string | undefined;
}

/** A capture that can be told to rest. */
type RestingCapture = CaptureSource & {
  pause?(): void;
  resume?(): void;
  readonly warning?: string | undefined;
};

const EXPIRE_EVERY_MS = 1_000;
/** Half-full batches do not wait longer. */
const FLUSH_EVERY_MS = 200;

export class PassiveCapture implements DumpSource {
  /** How packets are captured, for people. */
  readonly description: string;
  readonly #dump: Dump;
  readonly #capture: RestingCapture;
  readonly #table: StreamTable;
  readonly #packet = new Packet();
  readonly #pairs: readonly CapturePair[];
  #isOpen = false;

  /** @throws SystemError without the privilege; Error for a device that cannot be used */
  constructor(dump: Dump, options: PassiveCaptureOptions) {
    this.#dump = dump;
    this.#pairs = options.pairs;
    const { outbox } = dump.writer;
    const { maxBytes, withPackets } = options;
    this.#table = new StreamTable({ outbox, counters: dump.counters, maxBytes, withPackets });
    this.#capture = openCapture(options);
    this.#capture.pause?.();
    if (this.#capture.warning !== undefined) dump.log.warn(this.#capture.warning);
    this.description = options.way === "pcap"
      ? `libpcap on ${options.device}`
      : options.way === "raw"
      ? "a raw socket"
      : "a packet ring";
  }

  /** Packets the kernel had no room for. */
  get dropped(): number {
    return this.#capture.stats().droppedByKernel;
  }

  start(loop: EventLoop): void {
    const { linkType } = this.#capture;
    const { counters } = this.#dump;
    const packet = this.#packet;
    this.#capture.start(loop, (bytes, view, offset, length, _originalLength, timestampUs) => {
      if (!this.#isOpen) return;
      const result = packet.parse(linkType, bytes, view, offset, length);
      if (result !== ParseResult.Tcp || packet.ipVersion !== 4) {
        counters.unusable++;
        return;
      }
      // A link-layer capture sees both directions of a port's traffic on some devices.
      if (this.#isWanted(packet)) {
        this.#table.onPacket(packet, timestampUs, loop.nowMs);
      }
    });
    loop.every(EXPIRE_EVERY_MS, () => this.#table.expire(loop.nowMs));
    loop.every(FLUSH_EVERY_MS, () => {
      if (this.#isOpen) this.#dump.writer.outbox.flush();
    });
  }

  #isWanted({ destinationAddress, destinationPort }: Packet): boolean {
    for (const { address, port } of this.#pairs) {
      if (port !== destinationPort) continue;
      if (address === undefined || address === destinationAddress) return true;
    }
    return false;
  }

  begin(): void {
    this.#isOpen = true;
    this.#capture.resume?.();
  }

  end(): void {
    this.#capture.pause?.();
    this.#isOpen = false;
    this.#table.finish();
  }

  close(): void {
    this.#capture.close();
  }
}

function openCapture(options: PassiveCaptureOptions): RestingCapture {
  const { pairs, bufferBytes } = options;
  switch (options.way) {
    case "raw":
      return new RawSocketCapture({ pairs, receiveBufferBytes: bufferBytes });
    case "ring":
      return RingCapture.toDestinations({ pairs, bufferBytes });
    case "pcap": {
      const { device, libpcapPath } = options;
      const filter = `tcp and (${pairs.map(expressionOf).join(" or ")})`;
      return new PcapDeviceCapture({ device, filter, bufferBytes, libpcapPath, immediate: true });
    }
  }
}

/** In the language of pcap-filter(7). */
function expressionOf({ address, port }: CapturePair): string {
  const host = address === undefined ? "" : `dst host ${formatIpv4(address)} and `;
  return `(${host}dst port ${port})`;
}
