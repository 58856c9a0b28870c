/**
 * Captures TCP packets that arrive at this host, through a raw IPv4 socket. May touch `ffi`.
 *
 * The kernel hands every such packet to the socket after defragmentation and, with GRO, after
 * merging: a packet may be up to 64 KiB long and begins with its IP header. Packets this host sends
 * are not seen, unless it sends them to itself.
 *
 * What always holds: nothing but what the kernel's filter lets through is ever delivered, also
 * while the socket is being set up; the work done in one turn of the loop is bounded.
 */

import { Arena } from "../../ffi/arena.ts";
import { Errno, SystemError } from "../../ffi/errno.ts";
import { InvariantError } from "../../ffi/invariant.ts";
import { MessageVector } from "../../ffi/message_vector.ts";
import {
  AF_INET,
  attachFilter,
  closeFd,
  DROP_ALL_FILTER,
  type FilterInstruction,
  IPPROTO_TCP,
  openSocket,
  setReceiveBuffer,
  SOCK_RAW,
  socketDrops,
} from "../../ffi/socket.ts";
import { EPOLLIN, type EventLoop } from "../loop/event_loop.ts";
import { LinkType } from "../wire/link_type.ts";
import type { Partition } from "../wire/partition.ts";
import { type CapturePair, destinationFilter } from "./bpf.ts";
import type { CaptureSource, CaptureStats, PacketHandler } from "./source.ts";

/** Packets received by one system call. */
const BATCH_PACKETS = 64;
/** System calls per turn of the loop: others get their turn after 256 packets. */
const BATCHES_PER_TURN = 4;
/**
 * Room for the largest IPv4 packet. The 64 bytes beyond a power of two make the headers, which is
 * what is read most, fall into different sets of the processor's cache.
 */
const SLOT_BYTES = 65_536 + 64;
const DEFAULT_BUFFER_BYTES = 16 << 20;
/** Batches drained at most while the socket is set up; far more than its first buffer holds. */
const DRAIN_BATCHES = 10_000;

/** What to capture, and how much the kernel may hold back for us. */
export interface RawSocketCaptureOptions {
  /** Destinations whose packets are wanted, at least one. */
  pairs: readonly CapturePair[];
  /** Only what clients of this part send. For several captures side by side. */
  partition?: Partition;
  /** Receive buffer to ask for. Default 16 MiB. */
  receiveBufferBytes?: number;
}

/**
 * ```ts
 * const capture = new RawSocketCapture({ pairs: [{ port: 80 }] });
 * capture.start(loop, (bytes, view, offset, length) => packet.parseIp(bytes, view, offset, length));
 * ```
 */
export class RawSocketCapture implements CaptureSource {
  readonly linkType: number = LinkType.Raw;
  /** The receive buffer the kernel granted; less than asked for without CAP_NET_ADMIN. */
  readonly receiveBufferBytes: number;
  /** That it is less, and what helps. */
  readonly warning: string | undefined;

  readonly #fd: number;
  readonly #filter: readonly FilterInstruction[];
  readonly #memory: Arena;
  readonly #messages: MessageVector;
  /** Offset of the first slot in the arena. */
  readonly #slots: number;
  #loop: EventLoop | undefined;
  #onPacket: PacketHandler | undefined;

  #received = 0;
  #dropped = 0;
  /** The kernel's drop counter as read last, modulo 2^32. */
  #dropCounter = 0;
  #delivering = false;
  #closed = false;

  /** @throws SystemError, EPERM without root or CAP_NET_RAW; RangeError for unusable pairs */
  constructor(options: RawSocketCaptureOptions) {
    const filter = destinationFilter(options.pairs, options.partition);
    this.#filter = filter;
    const memory = new Arena(
      BATCH_PACKETS * SLOT_BYTES + MessageVector.bytesFor(BATCH_PACKETS) + 64,
    );
    this.#memory = memory;
    this.#messages = new MessageVector(memory, BATCH_PACKETS, false);
    this.#slots = memory.allocate(BATCH_PACKETS * SLOT_BYTES, 64);
    for (let index = 0; index < BATCH_PACKETS; index++) {
      const address = memory.address + this.#slots + index * SLOT_BYTES;
      this.#messages.setBuffer(index, address, SLOT_BYTES);
    }
    try {
      this.#fd = openSocket(AF_INET, SOCK_RAW, IPPROTO_TCP, "raw socket capture");
    } catch (error) {
      memory.free();
      throw error;
    }
    try {
      // A raw socket takes in everything from the moment it exists. First stop that, then throw away
      // what had come by then, then let through what is wanted: the exchange of filters is atomic.
      attachFilter(this.#fd, DROP_ALL_FILTER, "raw socket capture");
      this.#drain();
      const wantedBytes = options.receiveBufferBytes ?? DEFAULT_BUFFER_BYTES;
      this.receiveBufferBytes = setReceiveBuffer(this.#fd, wantedBytes);
      this.warning = warningOf(this.receiveBufferBytes, wantedBytes);
      this.#dropCounter = socketDrops(this.#fd);
      attachFilter(this.#fd, filter, "raw socket capture");
    } catch (error) {
      closeFd(this.#fd);
      memory.free();
      throw error;
    }
  }

  start(loop: EventLoop, onPacket: PacketHandler): void {
    if (this.#loop !== undefined || this.#closed) {
      throw new InvariantError("A raw socket capture can be started once, before it is closed.");
    }
    loop.add(this.#fd, EPOLLIN, () => this.#receive());
    this.#loop = loop;
    this.#onPacket = onPacket;
  }

  /** Lets nothing through until `resume`; what was let through before is still delivered. */
  pause(): void {
    if (!this.#closed) attachFilter(this.#fd, DROP_ALL_FILTER, "raw socket capture");
  }

  /** Lets packets through again. */
  resume(): void {
    if (!this.#closed) attachFilter(this.#fd, this.#filter, "raw socket capture");
  }

  /**
   * Counters. While the socket's buffer is full, the kernel counts arriving packets as dropped before
   * it looks at the filter, so `droppedByKernel` is an upper bound.
   */
  stats(): CaptureStats {
    if (!this.#closed) {
      const counter = socketDrops(this.#fd);
      this.#dropped += (counter - this.#dropCounter) >>> 0;
      this.#dropCounter = counter;
    }
    return { received: this.#received, droppedByKernel: this.#dropped };
  }

  close(): void {
    if (this.#closed) return;
    this.stats();
    this.#closed = true;
    this.#loop?.remove(this.#fd);
    closeFd(this.#fd);
    // The packet being delivered lies in this memory.
    if (!this.#delivering) this.#memory.free();
  }

  #drain(): void {
    for (let batch = 0; batch < DRAIN_BATCHES; batch++) {
      if (this.#receiveBatch() === 0) return;
    }
    throw new InvariantError(
      "raw socket capture: packets keep coming past a filter that drops them all.",
    );
  }

  #receive(): void {
    for (let batch = 0; batch < BATCHES_PER_TURN && !this.#closed; batch++) {
      const count = this.#receiveBatch();
      if (count > 0) this.#deliver(count);
      // A batch that is not full has emptied the socket.
      if (count < BATCH_PACKETS) return;
    }
  }

  /** Receives a batch; returns how many packets it has. */
  #receiveBatch(): number {
    const count = this.#messages.receive(this.#fd, BATCH_PACKETS);
    if (count >= 0) return count;
    if (count === -Errno.EAGAIN || count === -Errno.EINTR) return 0;
    throw new SystemError("raw socket capture", "recvmmsg", -count);
  }

  #deliver(count: number): void {
    const onPacket = this.#onPacket;
    if (onPacket === undefined) return;
    const { bytes, view } = this.#memory;
    // One look at the clock per batch: packets of a batch arrived within the last turn.
    const timestampUs = Date.now() * 1000;
    this.#delivering = true;
    try {
      for (let index = 0; index < count && !this.#closed; index++) {
        const length = this.#messages.lengthOf(index);
        this.#received++;
        onPacket(bytes, view, this.#slots + index * SLOT_BYTES, length, length, timestampUs);
      }
    } finally {
      this.#delivering = false;
      if (this.#closed) this.#memory.free();
    }
  }
}

/** What is said of a buffer that is smaller than asked for. */
function warningOf(grantedBytes: number, wantedBytes: number): string | undefined {
  if (grantedBytes >= wantedBytes) return undefined;
  const [granted, wanted] = [grantedBytes, wantedBytes].map((bytes) =>
    (bytes / (1 << 20)).toFixed(1)
  );
  return `the kernel grants the raw socket a buffer of ${granted} MB instead of ${wanted}: bursts ` +
    "of packets will be lost. Give the program CAP_NET_ADMIN, too, or use --capture ring, or have " +
    `root raise net.core.rmem_max to ${wantedBytes}`;
}
