/**
 * Captures packets that arrive, through packet rings: memory into which the kernel writes and in
 * which the handler reads, with no copy and no system call per packet. What this host sends itself is
 * captured only where that is asked for. May touch `ffi`.
 *
 * A ring sees a packet when it has arrived, thus, unlike a raw socket, before the local firewall has
 * judged it, before fragments are put together (they are not: a first fragment is delivered as it
 * is) and also if this host will only forward it.
 *
 * The frames of a ring have one size. So that neither an acknowledgement takes the room of the largest
 * packet (64 KiB with GRO or on loopback) nor that packet is cut, whole packets go into three rings by
 * their length.
 *
 * What always holds: nothing but what the kernel's filter lets through is ever delivered; packets of
 * one connection are delivered in the order they came in, from whichever ring; a frame is the kernel's
 * again as soon as its packet was handled; the work done in one turn of the loop is bounded.
 */

import { InvariantError } from "../../ffi/invariant.ts";
import { libpcap } from "../../ffi/libpcap.ts";
import {
  ARPHRD_ETHER,
  ARPHRD_LOOPBACK,
  deviceHardware,
  deviceIndex,
  ETH_P_ALL,
  ETH_P_IP,
  PacketRing,
} from "../../ffi/packet_ring.ts";
import { compileFilter, PcapOpenError } from "../../ffi/pcap_handle.ts";
import { SystemError } from "../../ffi/errno.ts";
import {
  attachFilter,
  DROP_ALL_FILTER,
  type FilterInstruction,
  socketError,
} from "../../ffi/socket.ts";
import { EPOLLERR, EPOLLIN, type EventLoop } from "../loop/event_loop.ts";
import { LinkType } from "../wire/link_type.ts";
import type { Partition } from "../wire/partition.ts";
import { type CapturePair, filterRefused } from "./bpf.ts";
import {
  arrivingFilter,
  incomingFilter,
  type LengthRange,
  passingFilter,
  sendingFilter,
  type SentPackets,
} from "./ring_filter.ts";
import type { CaptureSource, CaptureStats, PacketHandler } from "./source.ts";

/** Packets per turn of the loop and ring that is ready: others get their turn after that. */
const PACKETS_PER_TURN = 256;
/** More than came by then: what comes faster than it is dropped must not hold up the start. */
const MAX_DROPPED_AT_START = 1 << 17;
/** Room for about as many packets as a raw socket's buffer of half the size. */
const DEFAULT_BUFFER_BYTES = 192 << 20;
/** Rings for whole packets: the longest packet, with what it begins with, and the share of the memory. */
const SIZE_CLASSES = [
  // Acknowledgements, openings and endings, and the shortest requests: frames of 256 bytes.
  { packetBytes: 176, share: 1 / 12 },
  // Ethernet's 1500 and a link header with tags, in up to four tunnels of up to 50 bytes.
  { packetBytes: 1712, share: 6 / 12 },
  // More than the largest IPv4 packet and a link header; 15 such frames fill a block.
  { packetBytes: 69_808, share: 5 / 12 },
] as const;
const LARGEST_BYTES = SIZE_CLASSES[SIZE_CLASSES.length - 1].packetBytes;
/** Up to here one ring is enough: no frame is so long that its waste matters. */
const SHORT_SNAP_BYTES = 512;

const ALL_LENGTHS: LengthRange = { above: 0, upTo: Infinity };

/** What both kinds of ring captures take. */
interface SharingOptions {
  /** Memory of the rings, taken from the start and never swapped. Default 192 MiB. */
  bufferBytes?: number;
  /**
   * Shares the packets by connection with all captures of the same group (PACKET_FANOUT). Three
   * numbers are used, from `group` on, 0..65533. The captures of a group must be opened one after
   * the other, for each connection to be one capture's in all rings.
   */
  fanout?: { group: number; mode: "hash" };
  /**
   * Takes only connections of this part; see `partitionOf`. For several captures side by side. The
   * client is who sends to a destination, or whom a device's packets go to.
   */
  partition?: Partition;
}

/** What to capture of what arrives on all devices. */
export interface RingDestinations extends SharingOptions {
  /** Destinations whose packets are wanted, at least one. */
  pairs: readonly CapturePair[];
}

/** What to capture of what arrives on one device. */
export interface RingDevice extends SharingOptions {
  /** Name of a device, or "any" for all of them (then IPv4 only). */
  device: string;
  /** Only packets that match this expression (pcap-filter(7)). Default: all. */
  filter?: string;
  /** Also take packets addressed to other hosts, for mirror ports; not on "any". Default false. */
  promiscuous?: boolean;
  /** Also take these packets that this host sends; on "any", `devices` must be named. Default: none. */
  sent?: SentPackets;
  /** Bytes to keep of each packet, link header included. Default: all. */
  snapLength?: number;
  /** The libpcap to compile the filter with instead of the system's. */
  libpcapPath?: string;
}

/**
 * ```ts
 * const capture = RingCapture.toDestinations({ pairs: [{ port: 80 }] });
 * capture.start(loop, (bytes, view, offset, length) => packet.parseIp(bytes, view, offset, length));
 * ```
 */
export class RingCapture implements CaptureSource {
  readonly linkType: number;
  /** The memory of the rings. */
  readonly bufferBytes: number;

  readonly #what: string;
  readonly #rings: readonly PacketRing[];
  /** The filter of each ring. */
  readonly #filters: FilterInstruction[][] = [];
  #loop: EventLoop | undefined;
  #onPacket: PacketHandler | undefined;
  #received = 0;
  #dropped = 0;
  #delivering = false;
  #closed = false;

  private constructor(plan: SocketPlan, options: SharingOptions) {
    this.#what = plan.what;
    this.linkType = plan.linkType;
    this.#rings = openRings(plan, options, this.#filters);
    this.bufferBytes = this.#rings.reduce((total, ring) => total + ring.sizeBytes, 0);
    this.#beginTogether();
  }

  /**
   * TCP packets over IPv4 that arrive on any device, addressed to this host's link address, for one
   * of the destinations; from the IP header on. Each is seen once, with VLANs, bridges and bonds too.
   *
   * @throws SystemError, EPERM without root or CAP_NET_RAW, ENOMEM when there is no such memory;
   * RangeError for unusable pairs
   */
  static toDestinations(options: RingDestinations): RingCapture {
    return new RingCapture({
      what: "packet ring capture",
      linkType: LinkType.Raw,
      interfaceIndex: 0,
      snapLength: LARGEST_BYTES,
      views: [{
        protocol: ETH_P_IP,
        filter: (lengths) => arrivingFilter(options.pairs, lengths, options.partition),
      }],
    }, options);
  }

  /**
   * Packets that arrive on a device, or leave it as far as that is asked for, and match a filter
   * expression.
   *
   * @throws Error when the device does not exist, may not be opened or is down, when the filter does
   * not compile, or without libpcap; SystemError ENOMEM when there is no such memory
   */
  static onDevice(options: RingDevice): RingCapture {
    const { device, filter = "" } = options;
    const snapLength = Math.min(options.snapLength ?? LARGEST_BYTES, LARGEST_BYTES);
    const what = `capture device "${device}"`;
    const interfaceIndex = device === "any" ? 0 : deviceIndex(device);
    if (interfaceIndex === 0 && device !== "any") {
      throw new Error(`Capture device "${device}" does not exist: see \`ip link\`.`);
    }
    const hasEthernet = interfaceIndex !== 0 &&
      [ARPHRD_ETHER, ARPHRD_LOOPBACK].includes(deviceHardware(interfaceIndex, what));
    const linkType = hasEthernet ? LinkType.Ethernet : LinkType.Raw;
    const program = compile(filter, linkType, snapLength, options.libpcapPath);
    return new RingCapture({
      what,
      linkType,
      interfaceIndex,
      promiscuous: options.promiscuous,
      snapLength,
      views: viewsOf(program, interfaceIndex, hasEthernet, options),
    }, options);
  }

  start(loop: EventLoop, onPacket: PacketHandler): void {
    if (this.#loop !== undefined || this.#closed) {
      throw new InvariantError("A ring capture can be started once, before it is closed.");
    }
    for (const ring of this.#rings) {
      loop.add(ring.fd, EPOLLIN, (events) => this.#receive(ring, events));
    }
    this.#loop = loop;
    this.#onPacket = onPacket;
  }

  stats(): CaptureStats {
    if (!this.#closed) {
      this.#dropped = this.#rings.reduce((total, ring) => total + ring.dropCount(), 0);
    }
    return { received: this.#received, droppedByKernel: this.#dropped };
  }

  /**
   * Lets nothing through until `resume`. What came before is delivered if it is read by then; the
   * last of it may have holes, since the rings do not end together.
   */
  pause(): void {
    if (this.#closed) return;
    for (const ring of this.#rings) attachFilter(ring.fd, DROP_ALL_FILTER, this.#what);
  }

  /** Lets packets through again. */
  resume(): void {
    if (this.#closed) return;
    this.#rings.forEach((ring, index) => attachFilter(ring.fd, this.#filters[index], this.#what));
    this.#beginTogether();
  }

  close(): void {
    if (this.#closed) return;
    this.stats();
    this.#closed = true;
    for (const ring of this.#rings) this.#loop?.remove(ring.fd);
    // The packet being delivered lies in this memory.
    if (!this.#delivering) this.#free();
  }

  /**
   * Drops what came while some rings took packets and others did not yet: connections would have
   * holes there. What is dropped is the beginning of each, in order, so that what follows is whole.
   */
  #beginTogether(): void {
    for (let count = 0; count < MAX_DROPPED_AT_START; count++) {
      const next = this.#earliest();
      if (next === undefined) return;
      next.release();
    }
  }

  #free(): void {
    for (const ring of this.#rings) ring.close();
  }

  #receive(ring: PacketRing, events: number): void {
    if ((events & EPOLLERR) !== 0) this.#checkSocket(ring);
    this.#delivering = true;
    try {
      for (let count = 0; count < PACKETS_PER_TURN && !this.#closed; count++) {
        const next = this.#earliest();
        if (next === undefined) return;
        this.#deliver(next);
      }
    } finally {
      this.#delivering = false;
      if (this.#closed) this.#free();
    }
  }

  /** The ring with the packet that is next in order; undefined when there is none. */
  #earliest(): PacketRing | undefined {
    const rings = this.#rings;
    // A connection's packets come one after the other: when one is seen, those before it are there,
    // though maybe in a ring that was looked at too early. So look until nothing is added.
    let seen = 0;
    for (let before = -1; seen !== before;) {
      before = seen;
      for (let index = 0; index < rings.length; index++) {
        if (rings[index].isReady()) seen |= 1 << index;
      }
    }
    let earliest: PacketRing | undefined;
    for (let index = 0; index < rings.length; index++) {
      if ((seen & (1 << index)) === 0) continue;
      const ring = rings[index];
      if (earliest === undefined || ring.isBefore(earliest)) earliest = ring;
    }
    return earliest;
  }

  #deliver(ring: PacketRing): void {
    this.#received++;
    try {
      this.#onPacket?.(
        ring.bytes,
        ring.view,
        ring.packetOffset,
        ring.capturedLength,
        ring.originalLength,
        ring.timestampUs,
      );
    } finally {
      ring.release();
    }
  }

  /** A device that goes down or away says so once. */
  #checkSocket(ring: PacketRing): void {
    const errno = socketError(ring.fd);
    if (errno !== 0) throw new SystemError(this.#what, "receive", errno);
  }
}

/** How the sockets of a capture are made. */
interface SocketPlan {
  what: string;
  linkType: number;
  interfaceIndex: number;
  promiscuous?: boolean;
  snapLength: number;
  /** Each gets the same share of the memory. */
  views: readonly SocketView[];
}

/** What a socket is to see. */
interface SocketView {
  protocol: number;
  seesOutgoing?: boolean;
  filter(lengths: LengthRange): FilterInstruction[];
}

/** How to see each packet of a device once. */
function viewsOf(
  program: readonly FilterInstruction[],
  interfaceIndex: number,
  hasEthernet: boolean,
  { sent, partition }: RingDevice,
): SocketView[] {
  const incoming: SocketView = {
    // All that passes a device of its own; on "any" a packet would be seen on each layer.
    protocol: hasEthernet ? ETH_P_ALL : ETH_P_IP,
    filter: (lengths) => incomingFilter(program, lengths, partition),
  };
  if (sent === undefined) return [incoming];
  // Nobody but those who see all there is see what is sent.
  const outgoing = { protocol: ETH_P_ALL, seesOutgoing: true };
  if (interfaceIndex !== 0) {
    return [{ ...outgoing, filter: (lengths) => passingFilter(program, sent, lengths, partition) }];
  }
  return [
    incoming,
    { ...outgoing, filter: (lengths) => sendingFilter(program, sent, lengths, partition) },
  ];
}

function openRings(
  plan: SocketPlan,
  options: SharingOptions,
  filters: FilterInstruction[][],
): PacketRing[] {
  const { views, interfaceIndex, promiscuous } = plan;
  const bufferBytes = (options.bufferBytes ?? DEFAULT_BUFFER_BYTES) / views.length;
  const hasLinkHeader = plan.linkType !== LinkType.Raw;
  const rings: PacketRing[] = [];
  const open = (view: SocketView, packetBytes: number, share: number, lengths: LengthRange) => {
    const sizeBytes = bufferBytes * share;
    const ring = new PacketRing({ what: plan.what, hasLinkHeader, packetBytes, sizeBytes });
    // The rings' groups stay apart: each of them holds one socket of every capture.
    const fanoutGroup = options.fanout === undefined
      ? undefined
      : options.fanout.group + rings.length;
    rings.push(ring);
    const { protocol, seesOutgoing } = view;
    const filter = view.filter(lengths);
    filters.push(filter);
    ring.open({ protocol, interfaceIndex, promiscuous, filter, seesOutgoing, fanoutGroup });
  };
  try {
    for (const view of views) {
      if (plan.snapLength <= SHORT_SNAP_BYTES) {
        open(view, plan.snapLength, 1, ALL_LENGTHS);
        continue;
      }
      let above = 0;
      for (const { packetBytes, share } of SIZE_CLASSES) {
        const upTo = packetBytes === LARGEST_BYTES ? Infinity : packetBytes;
        open(view, packetBytes, share, { above, upTo });
        above = packetBytes;
      }
    }
    return rings;
  } catch (error) {
    for (const ring of rings) ring.close();
    throw error;
  }
}

function compile(
  expression: string,
  linkType: number,
  snapLength: number,
  libpcapPath: string | undefined,
): FilterInstruction[] {
  // The kernel takes tags off before a filter sees the packet; only a live libpcap knows where to.
  if (/\bvlan\b/.test(expression)) {
    throw filterRefused(expression, "VLAN tags cannot be asked for with a packet ring");
  }
  try {
    // libpcap's functions have another number for packets without link header than its files.
    const dataLink = linkType === LinkType.Raw ? LinkType.RawBsd : linkType;
    return compileFilter(libpcap(libpcapPath), expression, dataLink, snapLength);
  } catch (error) {
    if (error instanceof PcapOpenError) throw filterRefused(expression, error.message);
    throw error;
  }
}
