/**
 * intercept's work: the target's packets come in from the capture devices, and the header of each
 * goes to the tcpcopy that announced its connection. Several relays, each in a thread of its own, may
 * share the work by the client's port.
 */

import type { Endpoint } from "../../ffi/socket.ts";
import type { CaptureSource } from "../capture/source.ts";
import { DEFAULT_TUNNEL_FORM } from "../tunnel/form.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { TunnelServer } from "../tunnel/server.ts";
import { Packet, ParseResult } from "../wire/packet.ts";
import { openCapture, type ResponseCaptureOptions } from "./capture.ts";
import type { RelayFigures } from "./figures.ts";
import { PortLog } from "./port_log.ts";

/** What a relay is made from; but for the log plain data, which can be sent to another thread. */
export interface RelayOptions extends ResponseCaptureOptions {
  devices: readonly string[];
  /** Address to listen on, int32; 0 for all. */
  bindAddress: number;
  port: number;
  /** Networks tcpcopy may connect from, pairs of address and mask, int32. Default: all. */
  allow?: Int32Array;
  /** Most headers in one tunnel frame, 1 to 16. */
  maxCombined: number;
  /** In single mode: whether the tcpcopy that came first stays. Default false. */
  protectsConnections?: boolean;
  /** Responses to one address that belong to connections announced with another, int32. */
  translation?: { from: number; to: number };
}

/** A header and the longest payload that is passed on, and some. */
const MAX_TRANSLATED_BYTES = 512;

export class Relay {
  readonly loop = new EventLoop();
  readonly #server: TunnelServer;
  readonly #captures: CaptureSource[] = [];
  readonly #packet = new Packet();
  readonly #translation: { from: number; to: number } | undefined;
  readonly #translated = new Uint8Array(MAX_TRANSLATED_BYTES);
  #unusable = 0;

  /**
   * Opens the devices.
   *
   * @throws Error for a device or filter that cannot be used
   */
  constructor(options: RelayOptions) {
    const { log, partition } = options;
    this.#translation = options.translation;
    const form = options.tunnelForm ?? DEFAULT_TUNNEL_FORM;
    for (const device of options.devices) {
      this.#captures.push(openCapture(device, options));
    }
    const portLog = new PortLog(log, () => this.loop.nowMs);
    // With several relays it is not here that tcpcopy connects to.
    const isWhole = partition.count === 1;
    this.#server = new TunnelServer({
      loop: this.loop,
      address: options.bindAddress,
      port: options.port,
      maxRecordsPerFrame: options.maxCombined,
      mode: form.mode,
      recordBytes: form.recordBytes,
      anyTargetAddress: form.anyTargetAddress,
      single: form.isSingle ? { isProtected: options.protectsConnections ?? false } : undefined,
      ...(isWhole && {
        admission: { allow: options.allow },
        onConnect: (peer) => portLog.connected(peer),
        onClose: (peer, reason) => portLog.closed(peer, reason),
        onRefuse: (peer, reason) => portLog.refused(peer, reason),
      }),
      onShared: (peer, earlier) => portLog.shared(peer, earlier),
    });
  }

  /**
   * Begins to listen for tcpcopy; returns the port.
   *
   * @throws SystemError when the address or port cannot be had
   */
  listen(): number {
    this.#server.start();
    return this.#server.port;
  }

  /** Takes a connection that leads to a tcpcopy. */
  adopt(fd: number, peer: Endpoint): void {
    this.#server.adopt(fd, peer);
    this.loop.wake();
  }

  /** Most headers in one tunnel frame, for connections from now on. */
  limitFrames(maxCombined: number): void {
    this.#server.maxRecordsPerFrame = maxCombined;
  }

  figures(): RelayFigures {
    const { stats, routesEvicted, heldLost, latest } = this.#server;
    const captures = this.#captures.map((capture) => capture.stats());
    return {
      received: captures.reduce((sum, { received }) => sum + received, 0),
      dropped: captures.reduce((sum, { droppedByKernel }) => sum + droppedByKernel, 0),
      unusable: this.#unusable,
      routesEvicted,
      heldLost,
      tunnel: stats,
      lastAnnounced: latest.list(),
    };
  }

  /** Relays until `stop`. */
  async run(): Promise<void> {
    for (const capture of this.#captures) {
      const { linkType } = capture;
      capture.start(this.loop, (bytes, view, offset, length) => {
        if (this.#packet.parse(linkType, bytes, view, offset, length) === ParseResult.Tcp) {
          if (this.#translation !== undefined) this.#translate(this.#translation);
          this.#server.forward(this.#packet);
        } else this.#unusable++;
      });
    }
    try {
      await this.loop.run();
    } finally {
      for (const capture of this.#captures) capture.close();
      this.#server.close();
      this.loop.close();
    }
  }

  stop(): void {
    this.loop.stop();
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
}
