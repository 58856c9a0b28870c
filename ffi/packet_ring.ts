/**
 * Packet sockets whose received packets the kernel writes into memory it shares with the process.
 *
 * The ring has frames of one size (TPACKET_V2), used in order and round and round. A frame belongs
 * to the kernel until it has written a packet and says so in the frame's first word; it belongs to the
 * process until `release` writes 0 there. Nothing is asked of the kernel per packet.
 *
 * TPACKET_V3 packs packets tighter, but shows them only when a block is full or its timer fires: 0.6
 * ms later in the middle (measured, Linux 6.18), several ms with kernels that count in clock ticks. Here
 * a waiting process wakes with the packet.
 *
 * @see packet(7); Documentation/networking/packet_mmap.rst in the kernel's sources
 */

import { Arena } from "./arena.ts";
import { Errno, SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";
import { cText } from "./libpcap.ts";
import { AF_PACKET } from "./packet_socket.ts";
import {
  attachFilter,
  closeFd,
  DROP_ALL_FILTER,
  type FilterInstruction,
  openSocket,
  setOption,
  SOCK_RAW,
  trySetOption,
} from "./socket.ts";

/** Protocols to bind to (linux/if_ether.h): IP as it is handed upwards, or all there is. */
export const ETH_P_IP = 0x0800;
export const ETH_P_IPV6 = 0x86dd;
export const ETH_P_ALL = 0x0003;

/** What a device's packets begin with (net/if_arp.h): `deviceHardware`. */
export const ARPHRD_ETHER = 1;
export const ARPHRD_LOOPBACK = 772;

/** A packet socket of this type has no link headers. */
export const SOCK_DGRAM = 2;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_RX_RING = 5;
const PACKET_STATISTICS = 6;
const PACKET_VERSION = 10;
const PACKET_FANOUT = 18;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_FANOUT_HASH = 0;
const PACKET_MR_PROMISC = 1;
const TPACKET_V2 = 1;
const TP_STATUS_KERNEL = 0;
const TP_STATUS_USER = 1;

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** struct sockaddr_ll: family 2, protocol 2 (big-endian), interface 4, hardware type 2, … */
const SOCKADDR_LL_BYTES = 20;
/** struct tpacket2_hdr: what is read of it. */
const STATUS = 0;
const LENGTH = 4;
const CAPTURED_LENGTH = 8;
const PACKET_OFFSET = 12;
const SECONDS = 16;
const NANOSECONDS = 20;
/** struct sockaddr_ll behind it: the device, and whom the packet is for. */
const DEVICE_INDEX = 36;
const PACKET_TYPE = 42;
const PACKET_OUTGOING = 4;

/**
 * Bytes of a frame that are not the packet's: struct tpacket2_hdr, struct sockaddr_ll, and room for
 * a link header of up to 16 bytes before the network header, which is put at a multiple of 16.
 */
export const FRAME_HEADER_BYTES = 80;
/** The kernel takes memory in pieces of this size; frames do not cross them. */
export const RING_BLOCK_BYTES = 1 << 20;
/** Frames begin at cache lines. */
const FRAME_ALIGN_BYTES = 64;

/** Memory for the small structures of the calls below; contents live for one call only. */
const SCRATCH_VALUE = 32;
const SCRATCH_LENGTH = 48;
let scratchArena: Arena | undefined;

function scratch(): Arena {
  return scratchArena ??= new Arena(64);
}

/** The kernel's number for a network device, or 0 when there is none of that name. */
export function deviceIndex(name: string): number {
  return libc().if_nametoindex(cText(name));
}

/**
 * What a device's packets begin with: one of the ARPHRD_ numbers.
 *
 * @param what for the error message: what the device is for
 * @throws SystemError without root or CAP_NET_RAW, or when the device has gone
 */
export function deviceHardware(interfaceIndex: number, what: string): number {
  const fd = openSocket(AF_PACKET, SOCK_DGRAM, 0, what);
  try {
    // Bound to no protocol it receives nothing.
    bindPacketSocket(fd, 0, interfaceIndex, what);
    const memory = scratch();
    memory.view.setUint32(SCRATCH_LENGTH, SOCKADDR_LL_BYTES, true);
    if (libc().getsockname(fd, memory.base, memory.addressAt(SCRATCH_LENGTH)) < 0) {
      throw new SystemError(what, "getsockname", lastErrno());
    }
    return memory.view.getUint16(8, true);
  } finally {
    closeFd(fd);
  }
}

/**
 * Lets a packet socket receive a protocol's packets.
 *
 * @param interfaceIndex from `deviceIndex`; 0 for all devices
 * @param what for the error message: what the socket is for
 * @throws SystemError when the device is down or gone
 */
export function bindPacketSocket(
  fd: number,
  protocol: number,
  interfaceIndex: number,
  what: string,
): void {
  const { view, base } = scratch();
  for (let at = 0; at < SOCKADDR_LL_BYTES; at += 4) view.setUint32(at, 0);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, protocol, false);
  view.setInt32(4, interfaceIndex, true);
  if (libc().bind(fd, base, SOCKADDR_LL_BYTES) < 0) {
    throw new SystemError(what, "bind", lastErrno());
  }
}

/**
 * What a packet socket's filter took since the last call: all packets, and those of them for which
 * there was no room.
 *
 * @param what for the error message: what the socket is for
 * @throws SystemError
 */
export function packetStatistics(fd: number, what: string): { packets: number; drops: number } {
  // struct tpacket_stats: u32 packets, u32 drops; reading sets both to 0.
  const memory = scratch();
  memory.view.setUint32(SCRATCH_LENGTH, 8, true);
  const result = libc().getsockopt(
    fd,
    SOL_PACKET,
    PACKET_STATISTICS,
    memory.addressAt(SCRATCH_VALUE),
    memory.addressAt(SCRATCH_LENGTH),
  );
  if (result < 0) throw new SystemError(what, "getsockopt", lastErrno());
  return {
    packets: memory.view.getUint32(SCRATCH_VALUE, true),
    drops: memory.view.getUint32(SCRATCH_VALUE + 4, true),
  };
}

/** How a ring is laid out. */
export interface PacketRingOptions {
  /** For error messages: what is captured. */
  what: string;
  /** Whether packets begin with their link header; otherwise with the network header. */
  hasLinkHeader: boolean;
  /** The longest packet that fits whole; longer ones are cut. */
  packetBytes: number;
  /** Memory for the frames; rounded up to whole MiB. */
  sizeBytes: number;
}

/**
 * A packet socket with a receive ring. Made, it lets nothing in; `open` does.
 *
 * ```ts
 * const ring = new PacketRing({ what: "capture", hasLinkHeader: false, packetBytes: 1500, sizeBytes: 1 << 20 });
 * ring.open({ protocol: ETH_P_IP, interfaceIndex: 0, filter: [[0x06, 0, 0, 0x40000]] });
 * while (ring.isReady()) {
 *   parse(ring.view, ring.packetOffset, ring.capturedLength);
 *   ring.release();
 * }
 * ring.close();
 * ```
 */
export class PacketRing {
  readonly fd: number;
  /** The whole ring. Empty once the ring was closed. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same memory as `bytes`. */
  readonly view: DataView<ArrayBuffer>;
  readonly sizeBytes: number;
  readonly frameCount: number;

  readonly #what: string;
  readonly #base: bigint;
  readonly #frameBytes: number;
  readonly #framesPerBlock: number;
  /** The frame status words are in here, at `#frame / 4`. */
  readonly #words: Int32Array;
  /** Where the frame begins that is read next. */
  #frame = 0;
  #frameInBlock = 0;
  /** Whether that frame was seen to have a packet. */
  #isReady = false;
  #drops = 0;
  #closed = false;

  /** @throws SystemError, EPERM without root or CAP_NET_RAW; ENOMEM when there is no such memory */
  constructor(options: PacketRingOptions) {
    const { what } = options;
    this.#what = what;
    this.#frameBytes = roundUp(FRAME_HEADER_BYTES + options.packetBytes, FRAME_ALIGN_BYTES);
    this.#framesPerBlock = Math.floor(RING_BLOCK_BYTES / this.#frameBytes);
    const blocks = Math.max(1, Math.ceil(options.sizeBytes / RING_BLOCK_BYTES));
    this.sizeBytes = blocks * RING_BLOCK_BYTES;
    this.frameCount = blocks * this.#framesPerBlock;
    // With protocol 0 the socket receives nothing until it is bound.
    this.fd = openSocket(AF_PACKET, options.hasLinkHeader ? SOCK_RAW : SOCK_DGRAM, 0, what);
    try {
      attachFilter(this.fd, DROP_ALL_FILTER, what);
      setOption(this.fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
      this.#allocate(blocks);
      const pointer = libc().mmap(
        0n,
        BigInt(this.sizeBytes),
        PROT_READ | PROT_WRITE,
        MAP_SHARED,
        this.fd,
        0n,
      );
      const errno = lastErrno();
      this.#base = BigInt.asUintN(64, BigInt(Deno.UnsafePointer.value(pointer)));
      if (pointer === null || this.#base === MAP_FAILED) {
        throw new SystemError(`${what}: packet ring`, "mmap", errno);
      }
      const buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, this.sizeBytes);
      this.bytes = new Uint8Array(buffer);
      this.view = new DataView(buffer);
      this.#words = new Int32Array(buffer);
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
  }

  /**
   * Lets packets in: those that the filter takes, from the first one on.
   *
   * @throws SystemError when the device is down or gone, or the kernel refuses the filter
   */
  open(options: {
    protocol: number;
    /** From `deviceIndex`; 0 for all devices. */
    interfaceIndex: number;
    /** Whether the device also hands over what is addressed to other hosts. */
    promiscuous?: boolean;
    /** Its results are how many bytes are kept. */
    filter: readonly FilterInstruction[];
    /** Whether packets that this host sends are let in too, with protocol ETH_P_ALL. Default false. */
    seesOutgoing?: boolean;
    /** Shares the packets, by connection, with the other sockets of this group, 0..65535. */
    fanoutGroup?: number;
  }): void {
    const what = this.#what;
    // Kept out by the kernel since 4.20; before, the filter has to do it.
    if (!options.seesOutgoing) trySetOption(this.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    bindPacketSocket(this.fd, options.protocol, options.interfaceIndex, what);
    if (options.promiscuous && options.interfaceIndex !== 0) {
      this.#beginPromiscuous(options.interfaceIndex);
    }
    if (options.fanoutGroup !== undefined) {
      const value = (PACKET_FANOUT_HASH << 16) | options.fanoutGroup;
      const result = trySetOption(this.fd, SOL_PACKET, PACKET_FANOUT, value);
      if (result < 0) {
        throw new SystemError(
          `${what}: sharing of packets, group ${options.fanoutGroup}`,
          "setsockopt",
          -result,
        );
      }
    }
    // Last, and in one step: until here nothing was let in.
    attachFilter(this.fd, options.filter, what);
  }

  /** Whether there is a packet; it stays the current one until `release`. */
  isReady(): boolean {
    // Atomic: what the kernel wrote before the status is seen after it.
    return this.#isReady ||= (Atomics.load(this.#words, (this.#frame + STATUS) >> 2) &
      TP_STATUS_USER) !== 0;
  }

  /** Where the current packet begins. */
  get packetOffset(): number {
    return this.#frame + this.view.getUint16(this.#frame + PACKET_OFFSET, true);
  }

  /** How many bytes of the current packet are there. */
  get capturedLength(): number {
    return this.view.getUint32(this.#frame + CAPTURED_LENGTH, true);
  }

  /** How many bytes the current packet had. */
  get originalLength(): number {
    return this.view.getUint32(this.#frame + LENGTH, true);
  }

  /** When the current packet came, in µs since 1970. */
  get timestampUs(): number {
    const { view } = this;
    const frame = this.#frame;
    return view.getUint32(frame + SECONDS, true) * 1_000_000 +
      Math.floor(view.getUint32(frame + NANOSECONDS, true) / 1000);
  }

  /** The device the current packet was seen on: see `deviceIndex`. */
  get interfaceIndex(): number {
    return this.view.getInt32(this.#frame + DEVICE_INDEX, true);
  }

  /** Whether this host has sent the current packet, or passes it on. */
  get isOutgoing(): boolean {
    return this.bytes[this.#frame + PACKET_TYPE] === PACKET_OUTGOING;
  }

  /** Whether the current packet came before another ring's current one. */
  isBefore(other: PacketRing): boolean {
    const seconds = this.view.getUint32(this.#frame + SECONDS, true);
    const otherSeconds = other.view.getUint32(other.#frame + SECONDS, true);
    if (seconds !== otherSeconds) return seconds < otherSeconds;
    return this.view.getUint32(this.#frame + NANOSECONDS, true) <
      other.view.getUint32(other.#frame + NANOSECONDS, true);
  }

  /** Hands the current frame back to the kernel and goes to the next. */
  release(): void {
    this.#isReady = false;
    Atomics.store(this.#words, (this.#frame + STATUS) >> 2, TP_STATUS_KERNEL);
    this.#frame += this.#frameBytes;
    if (++this.#frameInBlock < this.#framesPerBlock) return;
    this.#frameInBlock = 0;
    this.#frame += RING_BLOCK_BYTES - this.#framesPerBlock * this.#frameBytes;
    if (this.#frame === this.sizeBytes) this.#frame = 0;
  }

  /**
   * How many packets that the filter took found no free frame, since the ring was made.
   *
   * @throws SystemError
   */
  dropCount(): number {
    if (this.#closed) return this.#drops;
    this.#drops += packetStatistics(this.fd, this.#what).drops;
    return this.#drops;
  }

  /** Gives socket and memory back; a second call does nothing. Remove it from its loop first. */
  close(): void {
    if (this.#closed) return;
    this.dropCount();
    this.#closed = true;
    closeFd(this.fd);
    // Leaves the views with length 0. The mapping keeps the socket alive: it goes with it.
    this.bytes.buffer.transfer();
    libc().munmap(this.#base, BigInt(this.sizeBytes));
  }

  /** Lasts as long as the socket. */
  #beginPromiscuous(interfaceIndex: number): void {
    // struct packet_mreq: interface 4, type 2, length of the address 2, address 8.
    const { view, base } = scratch();
    for (let at = 0; at < 16; at += 4) view.setUint32(at, 0);
    view.setInt32(0, interfaceIndex, true);
    view.setUint16(4, PACKET_MR_PROMISC, true);
    if (libc().setsockopt(this.fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, base, 16) < 0) {
      throw new SystemError(`${this.#what}: promiscuous mode`, "setsockopt", lastErrno());
    }
  }

  #allocate(blocks: number): void {
    // struct tpacket_req: block size and number, frame size and number.
    const memory = scratch();
    memory.view.setUint32(0, RING_BLOCK_BYTES, true);
    memory.view.setUint32(4, blocks, true);
    memory.view.setUint32(8, this.#frameBytes, true);
    memory.view.setUint32(12, this.frameCount, true);
    if (libc().setsockopt(this.fd, SOL_PACKET, PACKET_RX_RING, memory.base, 16) < 0) {
      const errno = lastErrno();
      const cure = errno === Errno.ENOMEM ? " (ask for less)" : "";
      throw new SystemError(
        `${this.#what}: packet ring of ${blocks} MiB${cure}`,
        "setsockopt",
        errno,
      );
    }
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
