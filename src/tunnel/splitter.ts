/**
 * The tunnels' end in the main thread when several workers share the work of intercept: each
 * connection of a tcpcopy becomes, when it first asks for something, one socket pair to every worker.
 * Announcements go to the worker that captures for the client's port; the workers' frames leave over
 * the one connection. Touches sockets, native memory and the event loop.
 *
 * What always holds: only whole frames leave; a worker that is slow to read, or a tcpcopy that is,
 * is waited for in bounded memory, and the kernel makes the sender wait or drop.
 */

import { Arena } from "../../ffi/arena.ts";
import { Errno, SystemError } from "../../ffi/errno.ts";
import { closeFd, type Endpoint, openSocketPair, receive, send } from "../../ffi/socket.ts";
import { EPOLLIN, EPOLLOUT, type EventLoop, type TimerHandle } from "../loop/event_loop.ts";
import { partitionOf } from "../wire/partition.ts";
import { type Guest, type Usefulness, usefulnessOf } from "./admission.ts";
import {
  FRAME_HEADER_BYTES,
  PROTOCOL_VERSION,
  RECORD_BYTES,
  RECORD_WITH_PAYLOAD_BYTES,
  REQUEST_BYTES,
  RequestDecoder,
  RequestType,
} from "./codec.ts";
import type { TunnelForm } from "./form.ts";
import { describeFailure } from "./tunnel_socket.ts";

/** Requests read at a time; as much may wait for each worker. */
const REQUEST_ROOM_BYTES = 1024 * REQUEST_BYTES;
/** Frames that may wait for a tcpcopy that reads slowly. */
const FRAME_ROOM_BYTES = 256 << 10;
/** No frame is longer: a count, and 16 records, or 6 with payload. */
const MAX_FRAME_BYTES = FRAME_HEADER_BYTES +
  Math.max(16 * RECORD_BYTES, 6 * RECORD_WITH_PAYLOAD_BYTES);

/** One worker's end of a connection. */
interface Branch {
  readonly fd: number;
  /** Offset of the requests that wait for the worker. */
  readonly requests: number;
  requestBytes: number;
  /** Offset of the beginning of a frame whose rest has not come yet. */
  readonly begun: number;
  begunBytes: number;
}

/** What the connections of one main thread share. */
export interface SplitOwner {
  readonly loop: EventLoop;
  /** How many workers there are. */
  readonly workers: number;
  /** How the workers' frames are made. */
  readonly form: Pick<TunnelForm, "mode" | "recordBytes">;
  /** How long a peer may take to send its version message. */
  readonly greetingTimeoutMs: number;
  /** Gives a worker its end of the pair, which it is to close. */
  hand(worker: number, fd: number, peer: Endpoint): void;
  /** The version message has come. */
  onGreeted(connection: SplitConnection): void;
  /** Called once, unless `close` was; the reason is a clause without a full stop. */
  onEnd(connection: SplitConnection, reason: string, isProtocolError: boolean): void;
}

/** See the top of the file. */
export class SplitConnection implements Guest {
  readonly endpoint: Endpoint;
  /** When it connected, or said something last. */
  heardAtMs: number;
  readonly #fd: number;
  readonly #owner: SplitOwner;
  readonly #connectedAtMs: number;
  readonly #loop: EventLoop;
  readonly #recordBytes: number;
  /** In front of the records of a frame; none where each record stands alone. */
  readonly #headerBytes: number;
  readonly #memory: Arena;
  /** None until something follows the version message: who only says hello costs the workers nothing. */
  readonly #branches: Branch[] = [];
  #greetingTimer: TimerHandle | undefined;
  /** Whether it has said hello. */
  #hasGreeted = false;
  /** Whether it has announced something, and whether a worker has sent it something. */
  #hasAnnounced = false;
  #hasServed = false;
  /** Where requests are read to; behind them stand those of which only the beginning has come. */
  readonly #input: number;
  #inputBytes = 0;
  readonly #frames: number;
  #frameBytes = 0;
  /** Some worker has not taken its requests: no more are read. */
  #requestsWait = false;
  /** tcpcopy has not taken its frames: no more are read. */
  #framesWait = false;
  #isClosed = false;
  /** Whether the loop knows of it. */
  #isStarted = false;
  #cancelTurnEnd: () => void;

  /**
   * @param fd a connected, non-blocking socket, which is this object's from now on
   * @throws SystemError when memory is short; then nothing is left open but `fd`
   */
  constructor(owner: SplitOwner, fd: number, endpoint: Endpoint) {
    const { loop, workers, form } = owner;
    this.endpoint = endpoint;
    this.#fd = fd;
    this.#owner = owner;
    this.#loop = loop;
    this.#connectedAtMs = loop.nowMs;
    this.heardAtMs = loop.nowMs;
    this.#recordBytes = form.recordBytes;
    this.#headerBytes = form.mode === "bare" ? 0 : FRAME_HEADER_BYTES;
    const perBranch = REQUEST_ROOM_BYTES + MAX_FRAME_BYTES;
    this.#memory = new Arena(REQUEST_ROOM_BYTES + FRAME_ROOM_BYTES + workers * perBranch + 64);
    this.#input = this.#memory.allocate(REQUEST_ROOM_BYTES, 1);
    this.#frames = this.#memory.allocate(FRAME_ROOM_BYTES, 1);
    this.#cancelTurnEnd = () => {};
  }

  /**
   * Begins to serve it. What it has sent by now is read at once: one that has come, announced and gone
   * costs the workers nothing.
   */
  start(): void {
    const { greetingTimeoutMs } = this.#owner;
    this.#receive();
    if (!this.#isClosed) this.#receive();
    if (this.#isClosed) return;
    const loop = this.#loop;
    this.#isStarted = true;
    loop.add(this.#fd, EPOLLIN, (events) => this.#onTunnel(events));
    this.#cancelTurnEnd = loop.onTurnEnd(() => this.#flushFrames());
    this.#greetingTimer = loop.after(greetingTimeoutMs, () => {
      this.end(`no version message came within ${greetingTimeoutMs} ms`);
    });
    this.#takeRequests();
  }

  get address(): number {
    return this.endpoint.address;
  }

  /** Whether it has said hello. */
  get hasGreeted(): boolean {
    return this.#hasGreeted;
  }

  usefulness(nowMs: number): Usefulness {
    return usefulnessOf(
      this.hasGreeted,
      this.#hasAnnounced,
      this.#hasServed,
      nowMs - this.#connectedAtMs,
    );
  }

  /** Ends the connection and its branches. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelTurnEnd();
    this.#endGreeting();
    for (const fd of [this.#fd, ...this.#branches.map((branch) => branch.fd)]) {
      if (this.#isStarted) this.#loop.remove(fd);
      closeFd(fd);
    }
    // Not at once: the call may come in the midst of using this memory.
    queueMicrotask(() => this.#memory.free());
  }

  /** Ends the connection, and tells the owner. */
  end(reason: string, isProtocolError = false): void {
    if (this.#isClosed) return;
    this.close();
    this.#owner.onEnd(this, reason, isProtocolError);
  }

  #endGreeting(): void {
    if (this.#greetingTimer !== undefined) this.#loop.clear(this.#greetingTimer);
    this.#greetingTimer = undefined;
  }

  /** Reads the version message. Returns whether the connection goes on. */
  #greet(): boolean {
    const decoder = new RequestDecoder({ onAnnounce: () => {}, onForget: () => {} });
    if (!decoder.feed(this.#memory.view, this.#input, REQUEST_BYTES)) {
      this.end(decoder.error, true);
      return false;
    }
    this.#hasGreeted = true;
    this.#endGreeting();
    this.#owner.onGreeted(this);
    return true;
  }

  /** Returns whether the connection goes on: descriptors may be short. */
  #openBranches(): boolean {
    const { workers } = this.#owner;
    const pairs: [number, number][] = [];
    try {
      for (let i = 0; i < workers; i++) pairs.push(openSocketPair("connection between threads"));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      for (const fd of pairs.flat()) closeFd(fd);
      this.end(error.message);
      return false;
    }
    pairs.forEach(([ours, theirs], worker) => {
      const branch: Branch = {
        fd: ours,
        requests: this.#memory.allocate(REQUEST_ROOM_BYTES, 1),
        requestBytes: 0,
        begun: this.#memory.allocate(MAX_FRAME_BYTES, 1),
        begunBytes: 0,
      };
      this.#branches.push(branch);
      this.#loop.add(ours, EPOLLIN, (events) => this.#onBranch(branch, events));
      this.#owner.hand(worker, theirs, this.endpoint);
    });
    return true;
  }

  // ------------------------------------------------------------------- from tcpcopy to the workers

  #onTunnel(events: number): void {
    if ((events & EPOLLOUT) !== 0) this.#flushFrames();
    if (!this.#isClosed && (events & ~EPOLLOUT) !== 0) this.#readRequests();
  }

  #readRequests(): void {
    // The workers' room is enough for all that is read here, since nothing waits in it.
    if (this.#requestsWait) return;
    this.#receive();
    this.#takeRequests();
  }

  /** Reads as much as there is room for. */
  #receive(): void {
    if (this.#inputBytes === REQUEST_ROOM_BYTES) return;
    const at = this.#input + this.#inputBytes;
    const count = receive(
      this.#fd,
      this.#memory.addressAt(at),
      REQUEST_ROOM_BYTES - this.#inputBytes,
    );
    if (count === -Errno.EAGAIN || count === -Errno.EINTR) return;
    if (count <= 0) {
      this.end(count === 0 ? "closed by the peer" : describeFailure("recv", -count));
      return;
    }
    this.#inputBytes += count;
    this.heardAtMs = this.#loop.nowMs;
  }

  /** Passes on what was read. */
  #takeRequests(): void {
    if (this.#isClosed) return;
    if (!this.#hasGreeted && (this.#inputBytes < REQUEST_BYTES || !this.#greet())) return;
    if (this.#branches.length === 0) {
      // The version message stays, for the workers.
      if (this.#inputBytes === REQUEST_BYTES || !this.#openBranches()) return;
    }
    this.#sortRequests();
    for (const branch of this.#branches) this.#sendRequests(branch);
    this.#setInterest();
  }

  /** Copies whole requests to the workers they are for; what is no request, all get to refuse. */
  #sortRequests(): void {
    const { bytes, view } = this.#memory;
    const end = this.#input + this.#inputBytes;
    let at = this.#input;
    for (; at + REQUEST_BYTES <= end; at += REQUEST_BYTES) {
      const type = view.getUint16(at + 6);
      if (type === RequestType.Announce) this.#hasAnnounced = true;
      const only = type === PROTOCOL_VERSION
        ? -1
        : partitionOf(view.getUint16(at + 4), this.#branches.length);
      for (let i = 0; i < this.#branches.length; i++) {
        if (only >= 0 && only !== i) continue;
        const branch = this.#branches[i];
        bytes.copyWithin(branch.requests + branch.requestBytes, at, at + REQUEST_BYTES);
        branch.requestBytes += REQUEST_BYTES;
      }
    }
    bytes.copyWithin(this.#input, at, end);
    this.#inputBytes = end - at;
  }

  #sendRequests(branch: Branch): void {
    if (this.#isClosed || branch.requestBytes === 0) return;
    const { bytes } = this.#memory;
    const sent = send(branch.fd, this.#memory.addressAt(branch.requests), branch.requestBytes);
    if (sent < 0 && sent !== -Errno.EAGAIN && sent !== -Errno.EINTR) {
      this.end(describeFailure("send", -sent));
      return;
    }
    if (sent > 0) {
      const from = branch.requests + sent;
      bytes.copyWithin(branch.requests, from, branch.requests + branch.requestBytes);
      branch.requestBytes -= sent;
    }
  }

  // ------------------------------------------------------------------- from the workers to tcpcopy

  #onBranch(branch: Branch, events: number): void {
    if ((events & EPOLLOUT) !== 0) {
      this.#sendRequests(branch);
      this.#setInterest();
    }
    if (!this.#isClosed && (events & ~EPOLLOUT) !== 0) this.#readFrames(branch);
  }

  /** Appends a worker's whole frames; the beginning of the next one is kept aside. */
  #readFrames(branch: Branch): void {
    const { bytes, view } = this.#memory;
    if (FRAME_ROOM_BYTES - this.#frameBytes < 2 * MAX_FRAME_BYTES) this.#flushFrames();
    if (this.#isClosed || this.#framesWait) return;
    let at = this.#frames + this.#frameBytes;
    bytes.copyWithin(at, branch.begun, branch.begun + branch.begunBytes);
    const room = FRAME_ROOM_BYTES - this.#frameBytes - branch.begunBytes;
    const count = receive(branch.fd, this.#memory.addressAt(at + branch.begunBytes), room);
    if (count === -Errno.EAGAIN || count === -Errno.EINTR) return;
    if (count <= 0) {
      // The worker has refused what came, or has ended.
      if (count === 0) this.end("what it sent is not the protocol", true);
      else this.end(describeFailure("recv", -count));
      return;
    }
    this.#hasServed = true;
    const end = at + branch.begunBytes + count;
    while (at + this.#headerBytes < end) {
      const records = this.#headerBytes === 0 ? 1 : view.getUint16(at);
      const next = at + this.#headerBytes + records * this.#recordBytes;
      if (next > end) break;
      at = next;
    }
    this.#frameBytes = at - this.#frames;
    branch.begunBytes = end - at;
    bytes.copyWithin(branch.begun, at, end);
  }

  #flushFrames(): void {
    if (this.#isClosed || this.#frameBytes === 0) return;
    const { bytes } = this.#memory;
    const sent = send(this.#fd, this.#memory.addressAt(this.#frames), this.#frameBytes);
    if (sent < 0 && sent !== -Errno.EAGAIN && sent !== -Errno.EINTR) {
      this.end(describeFailure("send", -sent));
      return;
    }
    if (sent > 0) {
      bytes.copyWithin(this.#frames, this.#frames + sent, this.#frames + this.#frameBytes);
      this.#frameBytes -= sent;
    }
    const waits = this.#frameBytes > 0;
    if (waits === this.#framesWait) return;
    this.#framesWait = waits;
    this.#setInterest();
  }

  // ------------------------------------------------------------------------------------------ both

  /** Reads from nobody whose bytes there is no room for. */
  #setInterest(): void {
    if (this.#isClosed) return;
    this.#requestsWait = this.#branches.some((branch) => branch.requestBytes > 0);
    this.#loop.modify(
      this.#fd,
      (this.#requestsWait ? 0 : EPOLLIN) | (this.#framesWait ? EPOLLOUT : 0),
    );
    for (const { fd, requestBytes } of this.#branches) {
      this.#loop.modify(
        fd,
        (this.#framesWait ? 0 : EPOLLIN) | (requestBytes > 0 ? EPOLLOUT : 0),
      );
    }
  }
}
