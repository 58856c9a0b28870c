/**
 * Captures from a network device through libpcap. May touch `ffi`.
 *
 * For traffic that does not end at this host (a mirror port) or that a raw socket does not see. The
 * filter expression runs in the kernel. What always holds: nothing that the filter refuses is
 * delivered; the work done in one turn of the loop is bounded.
 */

import { InvariantError } from "../../ffi/invariant.ts";
import { libpcap } from "../../ffi/libpcap.ts";
import {
  PCAP_ERROR_IFACE_NOT_UP,
  PCAP_ERROR_NO_SUCH_DEVICE,
  PCAP_ERROR_PERM_DENIED,
  PCAP_ERROR_PROMISC_PERM_DENIED,
  PCAP_NONE,
  PCAP_PACKET,
  pcapDevices,
  PcapDirection,
  PcapHandle,
} from "../../ffi/pcap_handle.ts";
import { SystemError } from "../../ffi/errno.ts";
import { attachedFilter, attachFilter } from "../../ffi/socket.ts";
import { EPOLLIN, type EventLoop } from "../loop/event_loop.ts";
import type { Partition } from "../wire/partition.ts";
import { filterRefused, partitionExpression } from "./bpf.ts";
import { narrowedFilter, type SentPackets } from "./ring_filter.ts";
import type { CaptureSource, CaptureStats, PacketHandler } from "./source.ts";

/** Packets per turn of the loop: others get their turn after that. */
const PACKETS_PER_TURN = 512;
const DEFAULT_SNAP_LENGTH = 65_535;
const DEFAULT_BUFFER_BYTES = 32 << 20;
/** How long the kernel may gather packets when not in immediate mode; at least one clock tick. */
const GATHER_MS = 1;

/** What to capture, and how. */
export interface PcapDeviceOptions {
  /** Name of a device, or "any" for all of them. */
  device: string;
  /** Only packets that match this expression (pcap-filter(7)). Default: all. */
  filter?: string;
  /** Bytes to keep of each packet, link header included. Default 65,535. */
  snapLength?: number;
  /** The kernel's buffer. Default 32 MiB. */
  bufferBytes?: number;
  /** Also take packets addressed to other hosts, for mirror ports. Default false. */
  promiscuous?: boolean;
  /**
   * Whether the kernel hands over every packet at once. Default false: it gathers packets for about
   * 1 ms and packs them tightly. Immediate mode gives every packet a place of `snapLength` rounded
   * up to a power of two, so that a buffer of 32 MiB is full after 512 packets of any size, unless
   * `snapLength` is small.
   */
  immediate?: boolean;
  /**
   * Which packets: those that arrive ("in", the default: what this host sends, the replay included,
   * is never captured), those it sends ("out"), or both.
   */
  direction?: "in" | "out" | "both";
  /**
   * Besides those that arrive, these packets that this host sends; stands instead of `direction`. On
   * "any", what arrives is taken on `devices` and the loopback only.
   */
  sent?: SentPackets;
  /** Only packets to the clients of this part. For several captures side by side. */
  partition?: Partition;
  /** The libpcap to use instead of the system's. */
  libpcapPath?: string;
}

/**
 * ```ts
 * const capture = new PcapDeviceCapture({ device: "eth0", filter: "tcp dst port 80" });
 * capture.start(loop, (bytes, view, offset, length) =>
 *   packet.parse(capture.linkType, bytes, view, offset, length));
 * ```
 */
export class PcapDeviceCapture implements CaptureSource {
  readonly linkType: number;
  /** What libpcap could not do, but works without (such as promiscuous mode), if anything. */
  readonly warning: string | undefined;

  readonly #device: string;
  readonly #handle: PcapHandle;
  readonly #fd: number;
  #loop: EventLoop | undefined;
  #onPacket: PacketHandler | undefined;
  #received = 0;
  #dropped = 0;
  /** libpcap's drop counter as read last, modulo 2^32. */
  #dropCounter = 0;
  #delivering = false;
  #closed = false;

  /**
   * @throws Error when the device does not exist, may not be opened or is down, when the filter does
   * not compile, or without libpcap
   */
  constructor(options: PcapDeviceOptions) {
    this.#device = options.device;
    const lib = libpcap(options.libpcapPath);
    const handle = PcapHandle.create(lib, options.device);
    try {
      handle.setSnapLength(options.snapLength ?? DEFAULT_SNAP_LENGTH);
      handle.setBufferSize(options.bufferBytes ?? DEFAULT_BUFFER_BYTES);
      handle.setPromiscuous(options.promiscuous ?? false);
      handle.setImmediate(options.immediate ?? false);
      handle.setTimeout(GATHER_MS);
      const status = handle.activate();
      if (status < 0) throw activationError(options.device, status, handle, () => pcapDevices(lib));
      const notice = status > 0 ? handle.statusText(status) : undefined;
      this.#prepare(handle, options);
      const warnings = [
        notice,
        options.sent === undefined ? undefined : this.#letSent(handle, options.sent),
      ].filter((warning) => warning !== undefined);
      this.warning = warnings.length > 0 ? warnings.join("; ") : undefined;
      this.#fd = handle.selectableFd;
      if (this.#fd < 0) {
        throw new Error(
          `Capture device "${options.device}" cannot be waited for: choose a network interface.`,
        );
      }
      this.linkType = handle.linkType;
    } catch (error) {
      handle.close();
      throw error;
    }
    this.#handle = handle;
    this.#dropCounter = handle.dropCounter() ?? 0;
  }

  start(loop: EventLoop, onPacket: PacketHandler): void {
    if (this.#loop !== undefined || this.#closed) {
      throw new InvariantError("A device capture can be started once, before it is closed.");
    }
    loop.add(this.#fd, EPOLLIN, () => this.#receive());
    this.#loop = loop;
    this.#onPacket = onPacket;
  }

  stats(): CaptureStats {
    if (!this.#closed) {
      const counter = this.#handle.dropCounter();
      if (counter !== undefined) {
        this.#dropped += (counter - this.#dropCounter) >>> 0;
        this.#dropCounter = counter;
      }
    }
    return { received: this.#received, droppedByKernel: this.#dropped };
  }

  close(): void {
    if (this.#closed) return;
    this.stats();
    this.#closed = true;
    this.#loop?.remove(this.#fd);
    // The packet being delivered lies in the handle's memory.
    if (!this.#delivering) this.#handle.close();
  }

  #prepare(handle: PcapHandle, options: PcapDeviceOptions): void {
    const { device, partition, sent } = options;
    const given = options.filter ?? "";
    const direction = sent === undefined ? options.direction ?? "in" : "both";
    const wanted = { in: PcapDirection.In, out: PcapDirection.Out, both: PcapDirection.Both };
    if (!handle.setDirection(wanted[direction])) {
      throw new Error(
        `Capture device "${device}" cannot tell directions apart (${handle.errorText}): ` +
          'choose direction "both".',
      );
    }
    if (given !== "" && !handle.setFilter(given)) throw filterRefused(given, handle.errorText);
    if (partition !== undefined && partition.count > 1) {
      // Behind the given filter, whose words may say where in a packet the headers are.
      const own = partitionExpression(partition);
      const both = given === "" ? own : `(${given}) and ${own}`;
      if (!handle.setFilter(both)) throw filterRefused(both, handle.errorText);
    }
    const refusal = handle.setNonBlocking();
    if (refusal !== undefined) throw failure(device, refusal);
  }

  /**
   * Lets through what arrives, and what this host sends as far as that is asked for.
   *
   * @returns what does not work, if so: then only what arrives is captured
   */
  #letSent(handle: PcapHandle, sent: SentPackets): string | undefined {
    const what = `capture device "${this.#device}"`;
    const fd = handle.selectableFd;
    try {
      // In front of libpcap's program: where libpcap itself judges a packet, it knows no directions.
      attachFilter(fd, narrowedFilter(attachedFilter(fd, what), sent), what);
      return undefined;
    } catch (error) {
      // No packet socket, as with libpcaps built for other devices.
      if (!(error instanceof SystemError)) throw error;
      handle.setDirection(PcapDirection.In);
      return `only what arrives is captured, not what this host sends (${error.message})`;
    }
  }

  #receive(): void {
    const handle = this.#handle;
    const onPacket = this.#onPacket;
    if (onPacket === undefined) return;
    this.#delivering = true;
    try {
      for (let count = 0; count < PACKETS_PER_TURN && !this.#closed; count++) {
        const result = handle.next();
        if (result === PCAP_NONE) return;
        if (result !== PCAP_PACKET) throw failure(this.#device, handle.errorText);
        this.#received++;
        onPacket(
          handle.bytes,
          handle.view,
          handle.offset,
          handle.capturedLength,
          handle.originalLength,
          handle.timestampUs,
        );
      }
    } finally {
      this.#delivering = false;
      if (this.#closed) handle.close();
    }
  }
}

function failure(device: string, text: string): Error {
  return new Error(`Capture from device "${device}" failed: ${text}.`);
}

/** One sentence for a device that cannot be opened. */
export function activationError(
  device: string,
  status: number,
  handle: PcapHandle,
  devices: () => string[],
): Error {
  const text = handle.statusText(status);
  switch (status) {
    case PCAP_ERROR_NO_SUCH_DEVICE:
      return new Error(
        `Capture device "${device}" does not exist (${text}): ` +
          `choose one of ${devices().join(", ")}.`,
      );
    case PCAP_ERROR_PERM_DENIED:
    case PCAP_ERROR_PROMISC_PERM_DENIED:
      return new Error(
        `Capture device "${device}" may not be opened (${text}): needs root or CAP_NET_RAW.`,
      );
    case PCAP_ERROR_IFACE_NOT_UP:
      return new Error(
        `Capture device "${device}" is down (${text}): bring it up with ` +
          `\`ip link set ${device} up\`.`,
      );
    default:
      return failure(device, text);
  }
}
