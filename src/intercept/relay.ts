/**
 * intercept's work: the target's packets come in from the capture devices, and the header of each
 * goes to the tcpcopy that announced its connection.
 */

import type { Logger } from "@logtape/logtape";
import { dropRoot } from "../../ffi/privileges.ts";
import { PcapDeviceCapture } from "../capture/pcap_device.ts";
import { RingCapture } from "../capture/ring.ts";
import type { CaptureSource } from "../capture/source.ts";
import { DEFAULT_TUNNEL_FORM, type TunnelForm } from "../tunnel/form.ts";
import { formatEndpoint } from "../cli/addresses.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { formatCount } from "../observe/report.ts";
import { MAX_RECORD_PAYLOAD_BYTES, RECORD_WITH_PAYLOAD_BYTES } from "../tunnel/codec.ts";
import { TunnelServer } from "../tunnel/server.ts";
import { Packet, ParseResult } from "../wire/packet.ts";

/** What a relay is made from. */
export interface RelayOptions {
  devices: readonly string[];
  filter: string;
  /** By libpcap, or through a packet ring. */
  capture: "pcap" | "ring";
  /** Address to listen on, int32; 0 for all. */
  bindAddress: number;
  port: number;
  /** Most headers in one tunnel frame, 1 to 16. */
  maxCombined: number;
  /** Kernel buffer of each device. */
  bufferBytes: number;
  /** The form of the tunnel; the original's by default. */
  tunnelForm?: TunnelForm;
  /** In single mode: whether the tcpcopy that came first stays. Default false. */
  protectsConnections?: boolean;
  /** Responses to one address that belong to connections announced with another, int32. */
  translation?: { from: number; to: number };
  libpcapPath: string | undefined;
  log: Logger;
}

const REPORT_EVERY_MS = 30_000;
/**
 * Link header with tags (22), IPv4 header with options (60), TCP header with options (60), and not
 * more than fits 256 bytes in a packet ring.
 */
const SNAP_LENGTH = 176;
/** A header and the longest payload that is passed on, and some. */
const MAX_TRANSLATED_BYTES = 512;

export class Relay {
  readonly loop = new EventLoop();
  readonly #server: TunnelServer;
  readonly #captures: CaptureSource[] = [];
  readonly #packet = new Packet();
  readonly #translation: { from: number; to: number } | undefined;
  readonly #translated = new Uint8Array(MAX_TRANSLATED_BYTES);
  readonly #log: Logger;
  #unusable = 0;

  /** @throws Error for a device, filter, address or port that cannot be used */
  constructor(options: RelayOptions) {
    const log = options.log;
    this.#log = log;
    this.#translation = options.translation;
    const form = options.tunnelForm ?? DEFAULT_TUNNEL_FORM;
    for (const device of options.devices) {
      this.#captures.push(openCapture(device, options));
    }
    this.#server = new TunnelServer({
      loop: this.loop,
      address: options.bindAddress,
      port: options.port,
      maxRecordsPerFrame: options.maxCombined,
      mode: form.mode,
      recordBytes: form.recordBytes,
      anyTargetAddress: form.anyTargetAddress,
      single: form.isSingle ? { isProtected: options.protectsConnections ?? false } : undefined,
      onConnect: ({ address, port }) =>
        log.info(`tcpcopy connected from ${formatEndpoint(address, port)}`),
      onClose: ({ address, port }, reason) =>
        log.info(`tcpcopy ${formatEndpoint(address, port)} is gone: ${reason}`),
    });
    this.#server.start();
    dropRoot();
    for (const capture of this.#captures) {
      const { linkType } = capture;
      capture.start(this.loop, (bytes, view, offset, length) => {
        if (this.#packet.parse(linkType, bytes, view, offset, length) === ParseResult.Tcp) {
          if (this.#translation !== undefined) this.#translate(this.#translation);
          this.#server.forward(this.#packet);
        } else this.#unusable++;
      });
    }
    this.loop.every(REPORT_EVERY_MS, () => log.info(this.summary()));
    log.info(
      `ready: capturing on ${options.devices.join(", ")} (${options.filter}), ` +
        `listening on ${formatEndpoint(options.bindAddress, this.#server.port)}`,
    );
  }

  /** Most headers in one tunnel frame, for connections from now on. */
  limitFrames(maxCombined: number): void {
    this.#server.maxRecordsPerFrame = maxCombined;
  }

  /** Exchanges the destination address, in a copy: the memory of the capture is not ours. */
  #translate({ from, to }: { from: number; to: number }): void {
    const packet = this.#packet;
    if (packet.ipVersion !== 4 || packet.destinationAddress !== from) return;
    const end = packet.payloadOffset + packet.capturedPayloadLength;
    const length = Math.min(end - packet.ipOffset, MAX_TRANSLATED_BYTES);
    this.#translated.set(packet.bytes.subarray(packet.ipOffset, packet.ipOffset + length));
    const view = new DataView(this.#translated.buffer);
    view.setInt32(16, to);
    packet.parseIp(this.#translated, view, 0, length);
  }

  /** One line for the log. */
  summary(): string {
    const { stats } = this.#server;
    let received = 0;
    let dropped = 0;
    for (const capture of this.#captures) {
      const { received: got, droppedByKernel } = capture.stats();
      received += got;
      dropped += droppedByKernel;
    }
    const parts = [
      `packets captured ${formatCount(received)}`,
      `headers sent ${formatCount(stats.records)}`,
      `routes announced ${formatCount(stats.announced)}, forgotten ${formatCount(stats.forgotten)}`,
    ];
    const add = (count: number, what: string) => {
      if (count > 0) parts.push(`${formatCount(count)} ${what}`);
    };
    add(stats.unrouted, "of connections nobody announced");
    add(stats.held, `held for their route (${formatCount(stats.heldDelivered)} delivered)`);
    add(dropped, "packets dropped by the capture (the kernel had no room: raise --buffer)");
    add(stats.dropped, "headers dropped because a tcpcopy reads too slowly");
    add(this.#unusable, "packets that could not be parsed");
    add(stats.notIpv4, "packets over IPv6");
    return parts.join("; ");
  }

  /** Relays until `stop`. */
  async run(): Promise<void> {
    try {
      await this.loop.run();
    } finally {
      this.#log.info(this.summary());
      for (const capture of this.#captures) capture.close();
      this.#server.close();
      this.loop.close();
    }
  }

  stop(): void {
    this.loop.stop();
  }
}

function openCapture(device: string, options: RelayOptions): CaptureSource {
  const { filter, bufferBytes, libpcapPath } = options;
  const { recordBytes } = options.tunnelForm ?? DEFAULT_TUNNEL_FORM;
  const snapLength = SNAP_LENGTH +
    (recordBytes === RECORD_WITH_PAYLOAD_BYTES ? MAX_RECORD_PAYLOAD_BYTES : 0);
  const shared = { device, filter, snapLength, bufferBytes, libpcapPath };
  if (options.capture === "ring") return RingCapture.onDevice(shared);
  const capture = new PcapDeviceCapture({ ...shared, immediate: true });
  if (capture.warning !== undefined) options.log.warn(`${device}: ${capture.warning}`);
  return capture;
}
