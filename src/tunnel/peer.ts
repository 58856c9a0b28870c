/**
 * One tcpcopy connected to intercept: reads its requests, sends it records. Touches its socket, the
 * memory it was given and the event loop.
 *
 * What always holds: its owner hears exactly once that it is gone; only whole frames enter its
 * output.
 */

import type { Arena } from "../../ffi/arena.ts";
import { Errno } from "../../ffi/errno.ts";
import { closeFd, type Endpoint, receive, send } from "../../ffi/socket.ts";
import { EPOLLIN, EPOLLOUT, type EventLoop, type TimerHandle } from "../loop/event_loop.ts";
import type { Packet } from "../wire/packet.ts";
import { type Guest, type Usefulness, usefulnessOf } from "./admission.ts";
import { RequestDecoder, type ResponseEncoder } from "./codec.ts";
import { RouteHolder } from "./route_table.ts";
import type { TunnelServerStats } from "./stats.ts";
import { describeFailure } from "./tunnel_socket.ts";

/** Reads per turn, so that one peer cannot keep the others waiting. */
const MAX_READS_PER_TURN = 4;

/** What the peers of one server share. */
export interface PeerOwner {
  readonly loop: EventLoop;
  readonly stats: TunnelServerStats;
  /** Holds the input buffer and every peer's output. */
  readonly memory: Arena;
  /** Offset and length of the input buffer; its contents live as long as one read. */
  readonly input: number;
  readonly inputBytes: number;
  /** How long a peer may take to send its version message. */
  readonly greetingTimeoutMs: number;
  /** The version message has come. */
  onGreeted(peer: TunnelPeer): void;
  onAnnounce(
    peer: TunnelPeer,
    client: number,
    clientPort: number,
    target: number,
    targetPort: number,
  ): void;
  onForget(
    peer: TunnelPeer,
    client: number,
    clientPort: number,
    target: number,
    targetPort: number,
  ): void;
  /** The peer has something to send; `flush` is to be called at the end of the turn. */
  onDirty(peer: TunnelPeer): void;
  /** The peer is gone and its socket closed. */
  onClose(peer: TunnelPeer, reason: string): void;
}

/** See the top of the file. */
export class TunnelPeer implements Guest {
  /** A number above 0 that no other connected peer has. */
  readonly id: number;
  readonly endpoint: Endpoint;
  /** Its routes. */
  readonly holder: RouteHolder;
  /** When it connected, or said something last. */
  heardAtMs: number;
  readonly #connectedAtMs: number;
  /** Whether a packet was queued for it. */
  #hasServed: boolean;
  readonly #owner: PeerOwner;
  readonly #inputAddress: bigint;
  readonly #output: ResponseEncoder;
  readonly #decoder: RequestDecoder;
  /** -1 once closed. */
  #fd: number;
  /** Whether the loop does not know of it yet. */
  #isStarting = true;
  /** Whether `onDirty` was called since the last flush. */
  #isDirty: boolean;
  /** Whether the socket took less than it was given; EPOLLOUT will tell when to go on. */
  #isBlocked: boolean;
  #greetingTimer: TimerHandle | undefined;

  /**
   * @param fd a connected, non-blocking socket; the peer closes it
   * @param output lies in the owner's memory
   */
  constructor(
    id: number,
    fd: number,
    endpoint: Endpoint,
    output: ResponseEncoder,
    owner: PeerOwner,
  ) {
    this.id = id;
    this.endpoint = endpoint;
    this.holder = new RouteHolder(id);
    this.#connectedAtMs = owner.loop.nowMs;
    this.heardAtMs = this.#connectedAtMs;
    this.#hasServed = false;
    this.#owner = owner;
    this.#inputAddress = owner.memory.addressAt(owner.input);
    this.#output = output;
    this.#decoder = new RequestDecoder({
      onAnnounce: (client, clientPort, target, targetPort) => {
        if (this.#fd >= 0) owner.onAnnounce(this, client, clientPort, target, targetPort);
      },
      onForget: (client, clientPort, target, targetPort) => {
        if (this.#fd >= 0) owner.onForget(this, client, clientPort, target, targetPort);
      },
    });
    this.#fd = fd;
    this.#isDirty = false;
    this.#isBlocked = false;
  }

  /**
   * Begins to serve it. What it has sent by now is read at once: one that has come, announced and gone
   * never costs the loop anything.
   */
  start(): void {
    const { loop, greetingTimeoutMs } = this.#owner;
    this.#isStarting = true;
    this.#read();
    if (this.#fd >= 0) this.#read();
    this.#isStarting = false;
    if (this.#fd < 0) return;
    loop.add(
      this.#fd,
      EPOLLIN | (this.#isBlocked ? EPOLLOUT : 0),
      (events) => this.#onEvents(events),
    );
    if (this.hasGreeted) return;
    this.#greetingTimer = loop.after(greetingTimeoutMs, () => {
      this.end(`no version message came within ${greetingTimeoutMs} ms`);
    });
  }

  get address(): number {
    return this.endpoint.address;
  }

  /** Whether it has said hello. */
  get hasGreeted(): boolean {
    return this.#decoder.greeted;
  }

  usefulness(nowMs: number): Usefulness {
    return usefulnessOf(
      this.hasGreeted,
      this.holder.routes > 0,
      this.#hasServed,
      nowMs - this.#connectedAtMs,
    );
  }

  /** Queues the record of a packet. Returns false when it had to be dropped. */
  append(packet: Packet): boolean {
    this.#hasServed = true;
    if (!this.#output.append(packet)) {
      if (!this.flush() || !this.#output.append(packet)) return this.#drop();
    }
    return this.#queued();
  }

  /** Queues a record written earlier. Returns false when it had to be dropped. */
  appendRecord(view: DataView, offset: number): boolean {
    if (!this.#output.appendRecord(view, offset)) {
      if (!this.flush() || !this.#output.appendRecord(view, offset)) return this.#drop();
    }
    return this.#queued();
  }

  /** Sends what waits, as far as the socket takes it. Returns false when the peer is gone. */
  flush(): boolean {
    this.#isDirty = false;
    if (this.#fd < 0) return false;
    const output = this.#output;
    output.endFrame();
    const pending = output.pendingBytes;
    if (pending === 0 || this.#isBlocked) return true;
    const { loop, memory, stats } = this.#owner;
    const sent = send(this.#fd, memory.addressAt(output.start), pending);
    stats.sendCalls++;
    if (sent < 0 && sent !== -Errno.EAGAIN && sent !== -Errno.EINTR) {
      this.end(describeFailure("send", -sent));
      return false;
    }
    if (sent > 0) {
      stats.sentBytes += sent;
      output.consume(sent);
    }
    if (output.pendingBytes > 0) {
      this.#isBlocked = true;
      if (!this.#isStarting) loop.modify(this.#fd, EPOLLIN | EPOLLOUT);
    }
    return true;
  }

  /** Ends the connection; does nothing when it has ended. */
  end(reason: string): void {
    if (this.#fd < 0) return;
    this.#endGreeting();
    if (!this.#isStarting) this.#owner.loop.remove(this.#fd);
    closeFd(this.#fd);
    this.#fd = -1;
    this.#owner.onClose(this, reason);
  }

  #queued(): boolean {
    this.#owner.stats.records++;
    if (!this.#isDirty) {
      this.#isDirty = true;
      this.#owner.onDirty(this);
    }
    return true;
  }

  #drop(): boolean {
    this.#owner.stats.dropped++;
    return false;
  }

  #onEvents(events: number): void {
    if ((events & EPOLLOUT) !== 0) {
      this.#isBlocked = false;
      if (!this.flush()) return;
      if (!this.#isBlocked) this.#owner.loop.modify(this.#fd, EPOLLIN);
    }
    // Errors and hang-ups are found out by reading.
    if ((events & ~EPOLLOUT) !== 0) this.#read();
  }

  #read(): void {
    const { memory, input, inputBytes, stats, loop } = this.#owner;
    this.heardAtMs = loop.nowMs;
    for (let reads = 0; reads < MAX_READS_PER_TURN && this.#fd >= 0; reads++) {
      const count = receive(this.#fd, this.#inputAddress, inputBytes);
      if (count === -Errno.EAGAIN || count === -Errno.EINTR) return;
      if (count <= 0) {
        this.end(count === 0 ? "closed by the peer" : describeFailure("recv", -count));
        return;
      }
      const wasGreeted = this.hasGreeted;
      const isGood = this.#decoder.feed(memory.view, input, count);
      // Delivering a held record may have shown that the peer is gone.
      if (this.#fd < 0) return;
      if (!isGood) {
        stats.protocolErrors++;
        this.end(this.#decoder.error);
        return;
      }
      if (this.hasGreeted && !wasGreeted) {
        this.#endGreeting();
        this.#owner.onGreeted(this);
      }
      if (count < inputBytes) return;
    }
  }

  /** The version message has come, or will not come any more. */
  #endGreeting(): void {
    if (this.#greetingTimer === undefined) return;
    this.#owner.loop.clear(this.#greetingTimer);
    this.#greetingTimer = undefined;
  }
}
