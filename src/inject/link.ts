/**
 * Sends finished IPv4 packets as Ethernet frames through a packet socket, many per system call. May
 * touch `ffi`.
 *
 * A frame goes straight to the device: no route look-up per packet, no local firewall, no IPsec. So
 * the packets must be whole, header checksum and identification included; and where a frame has
 * to go is asked of the kernel's tables, per target and again every half second of traffic.
 *
 * What always holds: a frame is only sent to a hardware address the kernel itself would use at
 * the last look. Whatever has none (yet), is longer than the MTU, or is refused by the device goes the
 * way of `RawIpInjector`, whose memory and queue are shared; the kernel then also asks for the
 * neighbour's address, and the next look finds it. Packets leave in the order of `commit`.
 *
 * @see packet(7)
 */

import { Arena } from "../../ffi/arena.ts";
import { Errno } from "../../ffi/errno.ts";
import { MessageVector } from "../../ffi/message_vector.ts";
import { openFrameSocket, SOCKADDR_LL_BYTES, writeSockaddrLl } from "../../ffi/packet_socket.ts";
import { closeFd } from "../../ffi/socket.ts";
import { ETHERNET_HEADER_BYTES, EtherType, writeEthernetHeader } from "../wire/ethernet.ts";
import { formatIpv4 } from "../wire/ipv4.ts";
import {
  formatMac,
  type KnownWay,
  type NextHop,
  NextHopResolver,
  type NoNextHop,
} from "./next_hop.ts";
import { type InjectStats, RawIpInjector, type RawIpInjectorOptions } from "./raw_ip.ts";

/** Room for the Ethernet header that keeps packets at multiples of 16. */
const HEADROOM_BYTES = 16;
const IPV4_DESTINATION = 16;
/** Targets with frames of their own; the packets of more go by raw IP. */
const MAX_TARGETS = 256;
/** Structures of 20 bytes, 24 apart. */
const SOCKADDR_STRIDE = 24;

/** How long an answer of the kernel's is used. */
const FRESH_MS = 500;
const FRESH_LASTING_MS = 5_000;
/** While a neighbour is being asked for, its answer is near. */
const FRESH_UNRESOLVED_MS = 20;
/** So long an address may be unresolved before it counts as trouble. */
const PATIENCE_MS = 2_000;
/** Failures further apart than this have nothing to do with each other. */
const FORGET_MS = 5_000;

/** Six bytes each; what is left out is looked up. */
export interface HardwareAddresses {
  source?: Uint8Array;
  destination?: Uint8Array;
}

/** What a `LinkInjector` is made from. */
export interface LinkInjectorOptions extends RawIpInjectorOptions {
  /** Whether frames pass the device's queueing discipline by (PACKET_QDISC_BYPASS). Default false. */
  bypassQdisc?: boolean;
  /** Hardware addresses that are given instead of looked up, by target address (int32). */
  hardwareAddresses?: ReadonlyMap<number, HardwareAddresses>;
  /** Told once how the packets to a target leave, and when that changes. */
  onNotice?: (text: string, isTrouble: boolean) => void;
}

/** What became of the packets; `sent` and `sendCalls` count both ways. */
export interface LinkInjectStats extends InjectStats {
  /** Packets that left as frames. */
  frames: number;
}

/** How the packets to one address leave. */
class Target {
  /** Longest packet for a frame; 0 while they go by raw IP. */
  mtuBytes = 0;
  /** The Ethernet header behind two bytes of padding, as four words in native order. */
  readonly header = new Uint32Array(HEADROOM_BYTES >>> 2);
  /** When to ask the kernel again, on the injector's clock. */
  askAtMs = -1;
  lookedAtMs = -Infinity;
  #failedAtMs = -Infinity;
  #failingSinceMs = 0;
  #told: "nothing" | "frames" | "raw" = "nothing";

  constructor(
    /** Its address as read from a packet, natively as one word. */
    readonly word: number,
    readonly address: number,
    /** Where its struct sockaddr_ll stands. */
    readonly sockaddrOffset: number,
    /** What need not be looked up. */
    readonly known: KnownWay,
  ) {}

  /** Takes the kernel's answer; returns what is worth telling about it. */
  onAnswer(answer: NextHop | NoNextHop, nowMs: number): [text: string, isTrouble: boolean] | null {
    this.lookedAtMs = nowMs;
    if (answer.kind === "frame") {
      this.mtuBytes = answer.mtuBytes;
      this.askAtMs = nowMs + FRESH_MS;
      this.#failedAtMs = -Infinity;
      const bytes = new Uint8Array(this.header.buffer);
      const { sourceMac, destinationMac } = answer;
      const at = HEADROOM_BYTES - ETHERNET_HEADER_BYTES;
      writeEthernetHeader(bytes, at, destinationMac, sourceMac, EtherType.Ipv4);
      if (this.#told === "frames") return null;
      this.#told = "frames";
      const { deviceName } = answer;
      return [
        `frames to ${this.#name} leave by ${deviceName} to ${formatMac(destinationMac)}`,
        false,
      ];
    }
    this.mtuBytes = 0;
    if (nowMs - this.#failedAtMs > FORGET_MS) this.#failingSinceMs = nowMs;
    this.#failedAtMs = nowMs;
    const isTrouble = answer.isLasting || nowMs - this.#failingSinceMs >= PATIENCE_MS;
    const freshMs = isTrouble ? FRESH_MS : FRESH_UNRESOLVED_MS;
    this.askAtMs = nowMs + (answer.isLasting ? FRESH_LASTING_MS : freshMs);
    if (!isTrouble || this.#told === "raw") return null;
    this.#told = "raw";
    return [`no frames to ${this.#name}: ${answer.reason}; its packets leave by raw IP`, true];
  }

  get #name(): string {
    return formatIpv4(this.address);
  }
}

/**
 * A queue of packets in front of a packet socket, with a raw IP socket beside it.
 *
 * ```ts
 * const injector = new LinkInjector();
 * const offset = injector.reserve(40);
 * // write 40 bytes of IPv4 and TCP header at injector.bytes[offset]
 * injector.commit(40);
 * injector.flush();
 * injector.close();
 * ```
 */
export class LinkInjector extends RawIpInjector {
  readonly #fd: number;
  readonly #resolver: NextHopResolver;
  readonly #device: number | undefined;
  readonly #hardwareAddresses: ReadonlyMap<number, HardwareAddresses>;
  readonly #onNotice: (text: string, isTrouble: boolean) => void;
  /** The frames' messages and the targets' struct sockaddr_ll. */
  readonly #structures: Arena;
  readonly #frameMessages: MessageVector;
  readonly #sockaddrs: number;
  /** The packets' memory as 32-bit words. */
  readonly #words: Uint32Array;
  /** Per slot, where its packet begins and how long it is. */
  readonly #offsets: Int32Array;
  readonly #lengths: Int32Array;

  readonly #targets = new Map<number, Target>();
  /** The target looked for last: most often the next packet's too. */
  #lastTarget: Target | null = null;
  #frames = 0;
  #isClosed = false;

  /** @throws SystemError, EPERM without root or CAP_NET_RAW */
  constructor(options: LinkInjectorOptions = {}) {
    super(options, HEADROOM_BYTES);
    this.#device = options.device;
    this.#hardwareAddresses = options.hardwareAddresses ?? new Map();
    this.#onNotice = options.onNotice ?? (() => {});
    try {
      this.#resolver = new NextHopResolver();
    } catch (error) {
      super.close();
      throw error;
    }
    try {
      const bufferBytes = options.sendBufferBytes ?? 4 << 20;
      this.#fd = openFrameSocket(options.bypassQdisc ?? false, bufferBytes, "frame injection");
    } catch (error) {
      this.#resolver.close();
      super.close();
      throw error;
    }
    const targetBytes = MAX_TARGETS * SOCKADDR_STRIDE;
    this.#structures = new Arena(MessageVector.bytesFor(this.slots) + targetBytes + 8);
    this.#frameMessages = new MessageVector(this.#structures, this.slots, false);
    this.#sockaddrs = this.#structures.allocate(targetBytes, 8);
    this.#words = new Uint32Array(this.bytes.buffer, 0, this.bytes.length >>> 2);
    this.#offsets = new Int32Array(this.slots);
    this.#lengths = new Int32Array(this.slots);
  }

  override stats(): LinkInjectStats {
    return { ...super.stats(), frames: this.#frames };
  }

  override close(): void {
    super.close();
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeFd(this.#fd);
    this.#resolver.close();
    this.#structures.free();
  }

  protected override queued(slot: number, offset: number, lengthBytes: number): void {
    this.#offsets[slot] = offset;
    this.#lengths[slot] = lengthBytes;
    this.#frameMessages.setBuffer(
      slot,
      this.memory.address + offset - ETHERNET_HEADER_BYTES,
      lengthBytes + ETHERNET_HEADER_BYTES,
    );
  }

  /** Sends a run of packets of one kind: frames or raw. Headers are written here, not before. */
  protected override transmit(first: number, count: number): number {
    const nowMs = performance.now();
    let frames = 0;
    while (frames < count && this.#prepareFrame(first + frames, nowMs)) frames++;
    if (frames === 0) {
      let packets = 1;
      while (packets < count && !this.#prepareFrame(first + packets, nowMs)) packets++;
      return super.transmit(first, packets);
    }
    const result = this.sendFrames(first, frames);
    if (result > 0) {
      this.#frames += result;
      return result;
    }
    if (result === -Errno.EINTR) return result;
    // A full device, or one that went away: the next look tells.
    this.#doubt(first, nowMs);
    if (result === -Errno.EAGAIN || result === -Errno.ENOBUFS) return result;
    return super.transmit(first, 1);
  }

  /**
   * Sends finished frames from slot `first` on, at most `count`.
   *
   * @returns how many left (1 or more); or, when the first one failed, its negative error number
   */
  protected sendFrames(first: number, count: number): number {
    return this.#frameMessages.send(this.#fd, first, count);
  }

  /** Where a slot's frame begins in the packets' memory. */
  protected frameOffset(slot: number): number {
    return this.#offsets[slot] - ETHERNET_HEADER_BYTES;
  }

  /** Length of a slot's frame. */
  protected frameBytes(slot: number): number {
    return this.#lengths[slot] + ETHERNET_HEADER_BYTES;
  }

  /** Writes the Ethernet header and the destination of a slot's frame; false: it goes by raw IP. */
  #prepareFrame(slot: number, nowMs: number): boolean {
    const target = this.#targetOf(slot);
    if (target === null) return false;
    if (nowMs >= target.askAtMs) this.#look(target, nowMs);
    if (this.#lengths[slot] > target.mtuBytes) return false;
    const word = (this.#offsets[slot] - HEADROOM_BYTES) >>> 2;
    const { header } = target;
    this.#words[word] = header[0];
    this.#words[word + 1] = header[1];
    this.#words[word + 2] = header[2];
    this.#words[word + 3] = header[3];
    const sockaddr = this.#structures.address + target.sockaddrOffset;
    this.#frameMessages.setDestinationAt(slot, sockaddr, SOCKADDR_LL_BYTES);
    return true;
  }

  #targetOf(slot: number): Target | null {
    const offset = this.#offsets[slot] + IPV4_DESTINATION;
    const word = this.#words[offset >>> 2];
    if (this.#lastTarget !== null && this.#lastTarget.word === word) return this.#lastTarget;
    let target = this.#targets.get(word);
    if (target === undefined) {
      if (this.#targets.size === MAX_TARGETS) return null;
      const sockaddrOffset = this.#sockaddrs + this.#targets.size * SOCKADDR_STRIDE;
      const address = this.view.getInt32(offset);
      const given = this.#hardwareAddresses.get(address);
      target = new Target(word, address, sockaddrOffset, {
        device: this.#device,
        sourceMac: given?.source,
        destinationMac: given?.destination,
      });
      this.#targets.set(word, target);
    }
    this.#lastTarget = target;
    return target;
  }

  #look(target: Target, nowMs: number): void {
    const answer = this.#resolver.resolve(target.address, target.known);
    const notice = target.onAnswer(answer, nowMs);
    if (answer.kind === "frame") {
      const { view } = this.#structures;
      writeSockaddrLl(view, target.sockaddrOffset, answer.device, EtherType.Ipv4);
    }
    if (notice !== null) this.#onNotice(...notice);
  }

  /** Has the kernel asked again soon. */
  #doubt(slot: number, nowMs: number): void {
    const target = this.#targetOf(slot);
    if (target === null) return;
    const soonMs = Math.max(nowMs, target.lookedAtMs + FRESH_UNRESOLVED_MS);
    target.askAtMs = Math.min(target.askAtMs, soonMs);
  }
}
