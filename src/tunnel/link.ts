/**
 * One TCP connection from tcpcopy to intercept, kept up for as long as its client lives. Touches its
 * socket, the memory it was given and the event loop.
 *
 * What always holds: while the link is up, the first bytes it sent were the version message; only
 * whole messages enter the output buffer; a link that is not up has its next attempt, or the end of
 * the present one, set as a timer.
 */

import type { Arena } from "../../ffi/arena.ts";
import { Errno, SystemError } from "../../ffi/errno.ts";
import {
  AF_INET,
  closeFd,
  connectIpv4,
  localEndpoint,
  openSocket,
  receive,
  send,
  SOCK_STREAM,
  socketError,
} from "../../ffi/socket.ts";
import { EPOLLIN, EPOLLOUT, type EventLoop, type TimerHandle } from "../loop/event_loop.ts";
import { formatIpv4 } from "../wire/ipv4.ts";
import {
  encodeRequest,
  encodeVersion,
  REQUEST_BYTES,
  RequestType,
  type ResponseDecoder,
} from "./codec.ts";
import type { TunnelClientStats } from "./stats.ts";
import { describeFailure, prepareTunnelSocket } from "./tunnel_socket.ts";

const CONNECT_TIMEOUT_MS = 3000;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 3000;
/** A connection that was up for this long was good: the next attempt comes soon. */
const GOOD_AFTER_MS = 3000;
/** Reads per turn, so that a busy tunnel does not keep the capture waiting. */
const MAX_READS_PER_TURN = 4;

/** What the links of one client share. */
export interface LinkOwner {
  readonly loop: EventLoop;
  /** Where intercept listens; the address is int32. */
  readonly host: number;
  readonly port: number;
  /** 0 <= random() < 1. */
  readonly random: () => number;
  readonly stats: TunnelClientStats;
  /** Holds the input buffer and every link's output buffer. */
  readonly memory: Arena;
  /** Offset and length of the input buffer; its contents live as long as one read. */
  readonly input: number;
  readonly inputBytes: number;
  /** Makes the decoder of a fresh connection. */
  newDecoder(link: TunnelLink): ResponseDecoder;
  /** The link has something to send; `flush` is to be called at the end of the turn. */
  onDirty(link: TunnelLink): void;
  onUp(link: TunnelLink): void;
  /** The link was up and is down; it will try again by itself. */
  onDown(link: TunnelLink, reason: string): void;
  /** An attempt to connect has failed; it will try again by itself. */
  onFailure(error: Error): void;
}

/** See the top of the file. */
export class TunnelLink {
  /** Which of its client's links it is. */
  readonly index: number;
  /** Whether the connection is established. */
  isUp: boolean;
  readonly #owner: LinkOwner;
  readonly #inputAddress: bigint;
  /** -1 while there is no socket. */
  #fd: number;
  #upSinceMs: number;
  /** How long to wait after the next failure, before jitter. */
  #delayMs: number;
  /** The connect timeout, or the wait before the next attempt. */
  #timer: TimerHandle | undefined;
  #decoder: ResponseDecoder | undefined;
  /** Offset of the first byte that waits for sending. */
  #start: number;
  /** Offset where the next message goes. */
  #end: number;
  /** Between these two offsets `#start` and `#end` move. */
  readonly #origin: number;
  readonly #limit: number;
  /** Whether `onDirty` was called since the last flush. */
  #isDirty: boolean;
  /** Whether the socket took less than it was given; EPOLLOUT will tell when to go on. */
  #isBlocked: boolean;
  #isClosed: boolean;

  /**
   * @param output offset of this link's output buffer in the owner's memory
   * @param outputBytes its length
   */
  constructor(index: number, owner: LinkOwner, output: number, outputBytes: number) {
    this.index = index;
    this.isUp = false;
    this.#owner = owner;
    this.#inputAddress = owner.memory.addressAt(owner.input);
    this.#fd = -1;
    this.#upSinceMs = 0;
    this.#delayMs = FIRST_DELAY_MS;
    this.#timer = undefined;
    this.#decoder = undefined;
    this.#start = output;
    this.#end = output;
    this.#origin = output;
    this.#limit = output + outputBytes;
    this.#isDirty = false;
    this.#isBlocked = false;
    this.#isClosed = false;
  }

  /** Begins to connect. */
  open(): void {
    if (this.#isClosed) return;
    const { loop, host, port, stats } = this.#owner;
    const what = this.#name();
    stats.attempts++;
    try {
      this.#fd = openSocket(AF_INET, SOCK_STREAM, 0, what);
      prepareTunnelSocket(this.#fd);
      const result = connectIpv4(this.#fd, host, port);
      if (result !== 0 && result !== -Errno.EINPROGRESS) {
        throw new SystemError(what, "connect", -result);
      }
      loop.add(this.#fd, EPOLLOUT, (events) => this.#onEvents(events));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#fail(error);
      return;
    }
    this.#timer = loop.after(CONNECT_TIMEOUT_MS, () => {
      this.#fail(new SystemError(what, "connect", Errno.ETIMEDOUT));
    });
  }

  /**
   * Puts a message into the output buffer; addresses are int32.
   *
   * @returns false when the link is down or there is no room
   */
  put(
    type: RequestType,
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): boolean {
    if (!this.isUp) return false;
    const { stats, memory } = this.#owner;
    if (this.#end + REQUEST_BYTES > this.#limit && !this.#makeRoom()) {
      stats.outputFull++;
      return false;
    }
    const at = this.#end;
    encodeRequest(
      memory.view,
      at,
      type,
      clientAddress,
      clientPort,
      targetAddress,
      targetPort,
    );
    this.#end += REQUEST_BYTES;
    if (type === RequestType.Announce) stats.announced++;
    else stats.forgotten++;
    this.#markDirty();
    return true;
  }

  /** Sends what waits, as far as the socket takes it. Returns whether the link is up afterwards. */
  flush(): boolean {
    this.#isDirty = false;
    if (!this.isUp) return false;
    const pending = this.#end - this.#start;
    if (pending === 0 || this.#isBlocked) return true;
    const { loop, memory, stats } = this.#owner;
    const sent = send(this.#fd, memory.addressAt(this.#start), pending);
    stats.sendCalls++;
    if (sent < 0 && sent !== -Errno.EAGAIN && sent !== -Errno.EINTR) {
      this.#lose(describeFailure("send", -sent));
      return false;
    }
    if (sent > 0) this.#start += sent;
    if (this.#start === this.#end) {
      this.#start = this.#origin;
      this.#end = this.#origin;
    } else {
      this.#isBlocked = true;
      loop.modify(this.#fd, EPOLLIN | EPOLLOUT);
    }
    return true;
  }

  /** Ends the link for good, without calling the owner. */
  close(): void {
    this.#isClosed = true;
    this.#dropSocket();
  }

  /** For error messages. */
  #name(): string {
    return `tunnel to ${formatIpv4(this.#owner.host)}:${this.#owner.port}`;
  }

  #onEvents(events: number): void {
    if (!this.isUp) {
      this.#finishConnect(events);
      return;
    }
    if ((events & EPOLLOUT) !== 0) {
      this.#isBlocked = false;
      if (!this.flush()) return;
      if (!this.#isBlocked) this.#owner.loop.modify(this.#fd, EPOLLIN);
    }
    // Errors and hang-ups are found out by reading.
    if ((events & ~EPOLLOUT) !== 0) this.#read();
  }

  #finishConnect(events: number): void {
    let errno = socketError(this.#fd);
    if (errno === 0 && (events & EPOLLOUT) === 0) return;
    if (errno === 0 && this.#isConnectedToItself()) errno = Errno.ECONNREFUSED;
    if (errno !== 0) {
      this.#fail(new SystemError(this.#name(), "connect", errno));
      return;
    }
    const { loop, memory, stats } = this.#owner;
    this.#clearTimer();
    loop.modify(this.#fd, EPOLLIN);
    this.isUp = true;
    this.#upSinceMs = loop.nowMs;
    this.#decoder = this.#owner.newDecoder(this);
    this.#start = this.#origin;
    this.#end = this.#origin + REQUEST_BYTES;
    encodeVersion(memory.view, this.#origin);
    stats.established++;
    this.#markDirty();
    this.#owner.onUp(this);
  }

  /**
   * A connection to a port of this host where nobody listens can meet itself, if the kernel happens
   * to choose that very port for its near end (RFC 9293 section 3.5, simultaneous open).
   */
  #isConnectedToItself(): boolean {
    const near = localEndpoint(this.#fd);
    return near.port === this.#owner.port && near.address === this.#owner.host;
  }

  #read(): void {
    const { memory, input, inputBytes, stats } = this.#owner;
    for (let reads = 0; reads < MAX_READS_PER_TURN && this.isUp; reads++) {
      const count = receive(this.#fd, this.#inputAddress, inputBytes);
      if (count === -Errno.EAGAIN || count === -Errno.EINTR) return;
      if (count <= 0) {
        this.#lose(count === 0 ? "closed by intercept" : describeFailure("recv", -count));
        return;
      }
      stats.receivedBytes += count;
      const decoder = this.#decoder!;
      const uselessBefore = decoder.uselessRecords;
      const isGood = decoder.feed(memory.bytes, memory.view, input, count);
      stats.uselessRecords += decoder.uselessRecords - uselessBefore;
      // The handler of a record may have closed the link.
      if (!this.isUp) return;
      if (!isGood) {
        stats.protocolErrors++;
        this.#lose(decoder.error);
        return;
      }
      if (count < inputBytes) return;
    }
  }

  /** Sends early and moves what is left to the front. Returns whether a message now fits. */
  #makeRoom(): boolean {
    if (!this.flush()) return false;
    // A buffer that stays nearly full would otherwise be moved for every message.
    if (this.#start - this.#origin >= (this.#limit - this.#origin) >> 2) {
      this.#owner.memory.bytes.copyWithin(this.#origin, this.#start, this.#end);
      this.#end -= this.#start - this.#origin;
      this.#start = this.#origin;
    }
    return this.#end + REQUEST_BYTES <= this.#limit;
  }

  #markDirty(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.#owner.onDirty(this);
  }

  /** A connection that was up is gone. */
  #lose(reason: string): void {
    const { loop, stats } = this.#owner;
    if (loop.nowMs - this.#upSinceMs >= GOOD_AFTER_MS) this.#delayMs = FIRST_DELAY_MS;
    stats.lost++;
    this.#dropSocket();
    this.#openLater();
    this.#owner.onDown(this, reason);
  }

  /** A connection did not come about. */
  #fail(error: Error): void {
    this.#dropSocket();
    this.#openLater();
    this.#owner.onFailure(error);
  }

  /** Waits between half of the delay and all of it, and doubles the delay. */
  #openLater(): void {
    const { loop, random } = this.#owner;
    const waitMs = this.#delayMs * (0.5 + 0.5 * random());
    this.#delayMs = Math.min(this.#delayMs * 2, MAX_DELAY_MS);
    this.#timer = loop.after(waitMs, () => {
      this.#timer = undefined;
      this.open();
    });
  }

  #dropSocket(): void {
    this.#clearTimer();
    this.isUp = false;
    this.#isBlocked = false;
    if (this.#fd < 0) return;
    this.#owner.loop.remove(this.#fd);
    closeFd(this.#fd);
    this.#fd = -1;
  }

  #clearTimer(): void {
    if (this.#timer !== undefined) this.#owner.loop.clear(this.#timer);
    this.#timer = undefined;
  }
}
