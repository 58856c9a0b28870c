/**
 * Sends finished IPv4 packets through a raw socket, many per system call. May touch `ffi`.
 *
 * The kernel looks up the route by the destination address in the packet and fills in the IP header
 * checksum (and the identification where it is 0; raw(7)). The source address is taken as it
 * stands, so that packets can leave under a client's address.
 *
 * Packets wait in a queue in native memory, written in place by the session through `PacketSink`.
 * What always holds: packets leave in the order of `commit`; a packet's bytes stay put until the
 * kernel has taken it; a packet that the kernel refuses costs only itself and is counted.
 */

import { Arena } from "../../ffi/arena.ts";
import { Errno, errnoCode } from "../../ffi/errno.ts";
import { InvariantError } from "../../ffi/invariant.ts";
import { MAX_MESSAGES_PER_CALL, MessageVector } from "../../ffi/message_vector.ts";
import {
  AF_INET,
  attachFilter,
  closeFd,
  DROP_ALL_FILTER,
  IPPROTO_RAW,
  openSocket,
  setOption,
  setSendBuffer,
  SOCK_RAW,
} from "../../ffi/socket.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { PacketSink } from "../session/sink.ts";
import { IPV4_HEADER_BYTES } from "../wire/ipv4.ts";

const SOL_SOCKET = 1;
/** Since Linux 5.1. */
const SO_BINDTOIFINDEX = 62;
const IPV4_DESTINATION = 16;
const MAX_PACKET_BYTES = 65_535;
/** Packets begin at multiples of this, so that checksums run over aligned words. */
const ALIGN_BYTES = 16;
/** When the kernel can take no more, the rest is tried again after this. */
const RETRY_AFTER_MS = 1;

/** Sizes of a `RawIpInjector`; each has a default that suits a gigabit. */
export interface RawIpInjectorOptions {
  /** If given, what the kernel could not take is tried again soon, not only on the next flush. */
  loop?: EventLoop;
  /** Packets that may wait. Default 1024. */
  queuePackets?: number;
  /** Bytes that may wait, at least 65,535. Default 2 MiB. */
  queueBytes?: number;
  /** Send buffer of the socket to ask for. Default 4 MiB. */
  sendBufferBytes?: number;
  /** Index of the device packets leave by; by default what the routing table says. */
  device?: number;
}

/** What became of the packets. Counts since the injector was made. */
export interface InjectStats {
  /** Packets the kernel took. */
  sent: number;
  /** System calls made for that. */
  sendCalls: number;
  /** Packets the kernel refused, by error name: `EPERM` (firewall), `ENETUNREACH`, `EMSGSIZE`, … */
  errors: ReadonlyMap<string, number>;
  /** How often `reserve` had no room. */
  full: number;
  /** Packets waiting now. */
  queued: number;
}

/**
 * A queue of packets in front of a raw socket.
 *
 * ```ts
 * const injector = new RawIpInjector();
 * const offset = injector.reserve(40);
 * // write 40 bytes of IPv4 and TCP header at injector.bytes[offset]
 * injector.commit(40);
 * injector.flush();
 * injector.close();
 * ```
 */
export class RawIpInjector implements PacketSink {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** The send buffer the kernel granted; less than asked for without CAP_NET_ADMIN. */
  readonly sendBufferBytes: number;

  /** Message slots: a ring. A slot belongs to a packet from `commit` until the kernel has it. */
  protected readonly slots: number;
  /** The memory the packets stand in. */
  protected readonly memory: Arena;

  readonly #fd: number;
  readonly #loop: EventLoop | undefined;
  readonly #messages: MessageVector;
  readonly #headroomBytes: number;
  /** Start of the packets' memory in the arena, and its length. */
  readonly #dataOffset: number;
  readonly #dataBytes: number;
  /** The arena's memory as 32-bit words, to copy destination addresses. */
  readonly #words: Uint32Array;

  /** Slot `head` leaves next; `count` slots from there are taken. */
  #head = 0;
  #count = 0;
  /** Per slot, where its packet begins, counted from the start of the packets' memory. */
  readonly #starts: Int32Array;
  /** Where the next packet may begin: a ring too, but no packet wraps around. */
  #writeAt = 0;
  /** What `reserve` gave last, or -1 once it was committed. */
  #reservedAt = -1;
  #reservedBytes = 0;

  #sent = 0;
  #sendCalls = 0;
  #full = 0;
  readonly #errors = new Map<string, number>();
  /** The kernel took no more at the last try: only `flush` tries again, not every `reserve`. */
  #blocked = false;
  #retryScheduled = false;
  #closed = false;

  /**
   * @param headroomBytes room in front of each packet that a subclass may write, a multiple of 16
   * @throws SystemError, EPERM without root or CAP_NET_RAW
   */
  constructor(options: RawIpInjectorOptions = {}, headroomBytes = 0) {
    this.slots = options.queuePackets ?? 1024;
    const queueBytes = options.queueBytes ?? 2 << 20;
    const minBytes = MAX_PACKET_BYTES + headroomBytes;
    if (this.slots < 1 || queueBytes < minBytes) {
      throw new RangeError(
        `The inject queue holds at least 1 packet and ${minBytes} bytes, ` +
          `not ${this.slots} and ${queueBytes}.`,
      );
    }
    this.#loop = options.loop;
    this.#headroomBytes = headroomBytes;
    this.#fd = openSocket(AF_INET, SOCK_RAW, IPPROTO_RAW, "packet injection");
    try {
      // The socket is for sending: nothing is ever to pile up in its receive queue.
      attachFilter(this.#fd, DROP_ALL_FILTER, "packet injection");
      if (options.device !== undefined) {
        setOption(this.#fd, SOL_SOCKET, SO_BINDTOIFINDEX, options.device);
      }
      this.sendBufferBytes = setSendBuffer(this.#fd, options.sendBufferBytes ?? 4 << 20);
      this.#dataBytes = Math.ceil(queueBytes / ALIGN_BYTES) * ALIGN_BYTES;
      const overhead = MessageVector.bytesFor(this.slots) + 2 * ALIGN_BYTES;
      this.memory = new Arena(this.#dataBytes + overhead);
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
    this.#messages = new MessageVector(this.memory, this.slots, true);
    this.#dataOffset = this.memory.allocate(this.#dataBytes, ALIGN_BYTES);
    this.#starts = new Int32Array(this.slots);
    this.bytes = this.memory.bytes;
    this.view = this.memory.view;
    this.#words = new Uint32Array(this.bytes.buffer, 0, this.memory.sizeBytes >>> 2);
  }

  /**
   * Finds room for one packet, flushing if the queue is full (unless the last flush got stuck).
   *
   * @param maxBytes 20 to 65,535
   * @returns the offset for the packet, a multiple of 16; -1 when the kernel takes nothing now
   */
  reserve(maxBytes: number): number {
    if (!(maxBytes >= IPV4_HEADER_BYTES && maxBytes <= MAX_PACKET_BYTES)) {
      throw new RangeError(
        `An IPv4 packet has ${IPV4_HEADER_BYTES} to ${MAX_PACKET_BYTES} bytes, not ${maxBytes}.`,
      );
    }
    const room = this.#headroomBytes + maxBytes;
    let at = this.#findRoom(room);
    if (at < 0 && !this.#blocked) {
      this.flush();
      at = this.#findRoom(room);
    }
    this.#reservedAt = at;
    if (at < 0) {
      this.#full++;
      return -1;
    }
    this.#reservedBytes = maxBytes;
    return this.#dataOffset + this.#headroomBytes + at;
  }

  /** Queues the packet that was written at the offset `reserve` gave last. */
  commit(lengthBytes: number): void {
    const start = this.#reservedAt;
    if (start < 0) throw new InvariantError("A packet was committed without room reserved for it.");
    if (!(lengthBytes >= IPV4_HEADER_BYTES && lengthBytes <= this.#reservedBytes)) {
      throw new RangeError(
        `A packet of ${lengthBytes} bytes was committed; room was reserved for ` +
          `${IPV4_HEADER_BYTES} to ${this.#reservedBytes}.`,
      );
    }
    this.#reservedAt = -1;
    let slot = this.#head + this.#count;
    if (slot >= this.slots) slot -= this.slots;
    const offset = this.#dataOffset + this.#headroomBytes + start;
    this.#messages.setBuffer(slot, this.memory.address + offset, lengthBytes);
    this.#messages.setDestinationWord(slot, this.#words[(offset + IPV4_DESTINATION) >>> 2]);
    this.#starts[slot] = start;
    this.#count++;
    const end = start + this.#headroomBytes + lengthBytes;
    this.#writeAt = (end + ALIGN_BYTES - 1) & -ALIGN_BYTES;
    this.queued(slot, offset, lengthBytes);
  }

  /** Sends what waits, as far as the kernel takes it. Never waits itself. */
  flush(): void {
    if (this.#closed) return;
    this.#blocked = !this.#send();
    if (!this.#blocked || this.#loop === undefined || this.#retryScheduled) return;
    this.#retryScheduled = true;
    this.#loop.after(RETRY_AFTER_MS, () => {
      this.#retryScheduled = false;
      if (!this.#closed) this.flush();
    });
  }

  /** Counters, as they stand. */
  stats(): InjectStats {
    return {
      sent: this.#sent,
      sendCalls: this.#sendCalls,
      errors: new Map(this.#errors),
      full: this.#full,
      queued: this.#count,
    };
  }

  /** Sends what can be sent now and gives the socket and the memory back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#send();
    closeFd(this.#fd);
    this.memory.free();
  }

  /** A packet of `lengthBytes` was put into the slot; it begins at `offset`. */
  protected queued(_slot: number, _offset: number, _lengthBytes: number): void {}

  /**
   * Sends packets from slot `first` on, at most `count`.
   *
   * @returns how many left (1 or more); or, when the first one failed, its negative error number
   */
  protected transmit(first: number, count: number): number {
    return this.#messages.send(this.#fd, first, count);
  }

  /** Where a packet of up to `maxBytes`, with its headroom, can begin, or -1. */
  #findRoom(maxBytes: number): number {
    if (this.#count === 0) return 0;
    if (this.#count === this.slots) return -1;
    const first = this.#starts[this.#head];
    if (this.#writeAt > first) {
      if (this.#dataBytes - this.#writeAt >= maxBytes) return this.#writeAt;
      return first >= maxBytes ? 0 : -1;
    }
    // The queue has wrapped around; where the two ends have met, no room is left.
    return first - this.#writeAt >= maxBytes ? this.#writeAt : -1;
  }

  #pop(count: number): void {
    this.#head += count;
    if (this.#head >= this.slots) this.#head -= this.slots;
    this.#count -= count;
  }

  /** Sends until the queue is empty (true) or the kernel takes no more (false). */
  #send(): boolean {
    let interrupted = 0;
    while (this.#count > 0) {
      // Slots wrap around; a system call takes those up to the end of the array.
      const run = Math.min(this.#count, this.slots - this.#head, MAX_MESSAGES_PER_CALL);
      const result = this.transmit(this.#head, run);
      this.#sendCalls++;
      if (result > 0) {
        this.#sent += result;
        this.#pop(result);
      } else if (result === -Errno.EINTR && interrupted < 8) {
        interrupted++;
      } else if (
        result === -Errno.EAGAIN || result === -Errno.ENOBUFS || result === -Errno.EINTR
      ) {
        return false;
      } else {
        const code = errnoCode(-result);
        this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
        this.#pop(1);
      }
    }
    return true;
  }
}
