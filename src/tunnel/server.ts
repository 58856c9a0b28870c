/**
 * Intercept's end of the tunnel: takes the announcements of tcpcopy processes and sends each the
 * records of its connections. Touches sockets, native memory and the event loop.
 *
 * Whoever reaches the port can connect and announce, so nothing that one peer does may cost another
 * its answers. What always holds: a route leads to an open connection; bytes of a peer that are not
 * the protocol end its connection and nothing else; a peer that reads slowly loses records, never the
 * others; a connection announced by several is served to each of them; everything that grows has a
 * bound.
 */

import { Arena } from "../../ffi/arena.ts";
import { closeFd, type Endpoint } from "../../ffi/socket.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Packet } from "../wire/packet.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import { Admission, type AdmissionRules, DEFAULT_ADMISSION_RULES } from "./admission.ts";
import { type FrameMode, RECORD_BYTES, type RecordBytes, ResponseEncoder } from "./codec.ts";
import { HeldRecords } from "./held_records.ts";
import { LatestAnnouncements } from "./latest_announcements.ts";
import { TunnelListener } from "./listener.ts";
import { type PeerOwner, TunnelPeer } from "./peer.ts";
import { NO_ROUTE, type RouteHolder, RouteTable } from "./route_table.ts";
import { SinglePeers } from "./single_peers.ts";
import { TunnelServerStats } from "./stats.ts";
import { GREETING_TIMEOUT_MS } from "./tunnel_socket.ts";

/** How a {@link TunnelServer} works; only the first three have to be given. */
export interface TunnelServerOptions {
  loop: EventLoop;
  /** IPv4 address to listen on, int32; 0 for every address of the host. */
  address: number;
  /** Port to listen on; 0 lets the kernel choose, see `TunnelServer.port`. */
  port: number;
  /** How records are framed; "combined", the default, is what the original expects. */
  mode?: FrameMode;
  /** 64 (the default), or 192 for records with payload. */
  recordBytes?: RecordBytes;
  /** Most records in a combined frame; never more than the protocol allows, which is the default. */
  maxRecordsPerFrame?: number;
  /**
   * Every packet goes to the one tcpcopy that is connected, without announcements; a later one takes
   * its place, or is refused when it is protected.
   */
  single?: { isProtected: boolean };
  /** Whether connections are told apart without the target's address. Default false. */
  anyTargetAddress?: boolean;
  /** Who is let in; what is left out is as in DEFAULT_ADMISSION_RULES. */
  admission?: Partial<AdmissionRules>;
  /** What may wait for one slow peer. Default 1 MiB. */
  outputBytes?: number;
  /** Routes at a time; beyond it the address that has most gives some up. Default 2^20. */
  maxRoutes?: number;
  /** SYN-ACKs and RSTs held for a route that is not there yet. Default 4096. */
  maxHeldRecords?: number;
  /** How long they are held. Default 3000. */
  heldMaxAgeMs?: number;
  /** How long a peer may take to send its version message. Default 10,000. */
  greetingTimeoutMs?: number;
  /** A peer has connected and said hello. */
  onConnect?: (peer: Endpoint) => void;
  /** A peer is gone; the reason is a clause without a full stop. */
  onClose?: (peer: Endpoint, reason: string) => void;
  /** A connection was turned away; the reason is a clause without a full stop. */
  onRefuse?: (peer: Endpoint, reason: string) => void;
  /** A peer has announced a connection that one of another address had announced. */
  onShared?: (peer: Endpoint, earlier: Endpoint) => void;
}

const INPUT_BYTES = 65536;
/** Routes given up until it is looked up again who has most. */
const GREEDIEST_FOR = 64;
const SYN_ACK = TcpFlag.Syn | TcpFlag.Ack;

/**
 * Listens for tcpcopy and forwards what the target sends.
 *
 * @example
 * ```ts ignore
 * const server = new TunnelServer({ loop, address: 0, port: DEFAULT_TUNNEL_PORT });
 * server.start();
 * // For each captured packet from the target:
 * server.forward(packet);
 * ```
 */
export class TunnelServer {
  readonly stats: TunnelServerStats;
  readonly latest = new LatestAnnouncements();
  /** Most records in a combined frame, for connections from now on. */
  maxRecordsPerFrame: number | undefined;
  readonly #options: TunnelServerOptions;
  readonly #loop: EventLoop;
  readonly #mode: FrameMode;
  readonly #recordBytes: RecordBytes;
  readonly #outputBytes: number;
  readonly #memory: Arena;
  /** Offset of the first peer's output; the others follow. */
  readonly #outputs: number;
  readonly #routes: RouteTable;
  /** Who gives routes up when there are too many, and for how many more. */
  #greediest: TunnelPeer | undefined;
  #greediestFor: number;
  readonly #held: HeldRecords;
  readonly #admission: Admission<TunnelPeer>;
  /** By id less one. */
  readonly #peers: (TunnelPeer | undefined)[];
  readonly #peerOwner: PeerOwner;
  readonly #isAnyTarget: boolean;
  /** In single mode: the connections of the one tcpcopy. */
  readonly #single: SinglePeers | undefined;
  /** Peers to flush at the end of the turn. */
  readonly #dirty: TunnelPeer[];
  #listener: TunnelListener | undefined;
  #isClosed: boolean;
  #cancelTurnEnd: () => void;

  /** @throws RangeError for options that make no sense, SystemError when memory is short */
  constructor(options: TunnelServerOptions) {
    const rules = { ...DEFAULT_ADMISSION_RULES, ...options.admission };
    const { maxConnections } = rules;
    const seed = (Math.random() * 0x100000000) | 0;
    this.stats = new TunnelServerStats();
    this.maxRecordsPerFrame = options.maxRecordsPerFrame;
    this.#isAnyTarget = options.anyTargetAddress ?? false;
    this.#single = options.single && new SinglePeers(options.single.isProtected);
    this.#options = options;
    this.#loop = options.loop;
    this.#mode = options.mode ?? "combined";
    this.#recordBytes = options.recordBytes ?? RECORD_BYTES;
    this.#outputBytes = options.outputBytes ?? 1 << 20;
    this.#memory = new Arena(INPUT_BYTES + maxConnections * this.#outputBytes);
    this.#peerOwner = this.#makePeerOwner(this.#memory.allocate(INPUT_BYTES));
    this.#outputs = this.#memory.allocate(maxConnections * this.#outputBytes, 1);
    this.#routes = new RouteTable(
      options.maxRoutes ?? 1 << 20,
      seed,
      () => this.#greediestHolder(),
    );
    this.#greediest = undefined;
    this.#greediestFor = 0;
    this.#held = new HeldRecords(
      options.maxHeldRecords ?? 4096,
      this.#recordBytes,
      options.heldMaxAgeMs ?? 3000,
      seed,
      this.#isAnyTarget,
    );
    this.#admission = new Admission(rules, this.stats);
    this.#peers = new Array<TunnelPeer | undefined>(maxConnections).fill(undefined);
    this.#dirty = [];
    this.#isClosed = false;
    this.#cancelTurnEnd = this.#loop.onTurnEnd(() => this.#flushAll());
  }

  /**
   * Begins to listen.
   *
   * @throws SystemError when the address or port cannot be had
   */
  start(): void {
    const { address, port } = this.#options;
    this.#listener = new TunnelListener(
      this.#loop,
      address,
      port,
      (fd, peer) => this.#welcome(fd, peer),
    );
  }

  /**
   * Takes a connection made elsewhere, as if it had been accepted here.
   *
   * @param fd a connected, non-blocking socket, which is the server's from now on
   * @param peer whose it is
   */
  adopt(fd: number, peer: Endpoint): void {
    const refusal = this.#isClosed
      ? "the tunnel was closed"
      : this.#admission.refusalOf(peer.address, this.#loop.nowMs);
    if (refusal === "") this.#addPeer(fd, peer);
    else this.#refuse(fd, peer, refusal);
  }

  /** The port listened on. */
  get port(): number {
    return this.#listener?.port ?? this.#options.port;
  }

  /** Connected peers. */
  get connections(): number {
    return this.#admission.guests.size;
  }

  /** Connections announced and not forgotten; each as often as there are peers that announced it. */
  get routes(): number {
    return this.#routes.size;
  }

  /** Routes that had to give way because there were too many. */
  get routesEvicted(): number {
    return this.#routes.evicted;
  }

  /** Held records that nobody asked for in time, or that newer ones pushed out. */
  get heldLost(): number {
    return this.#held.expired + this.#held.evicted;
  }

  /**
   * Sends a packet of the target's to whoever announced its connection. The record leaves at the end
   * of the loop's turn.
   *
   * @param packet a parsed packet, from target to client; only looked at during the call
   */
  forward(packet: Packet): void {
    this.stats.packets++;
    if (packet.ipVersion !== 4) {
      this.stats.notIpv4++;
      return;
    }
    if (this.#single !== undefined) {
      const only = this.#single.choose(packet);
      if (only === undefined) this.stats.unrouted++;
      else only.append(packet);
      return;
    }
    const routes = this.#routes;
    const first = routes.find(
      packet.destinationAddress,
      packet.destinationPort,
      this.#isAnyTarget ? 0 : packet.sourceAddress,
      packet.sourcePort,
    );
    const nowMs = this.#loop.nowMs;
    for (let route = first; route !== NO_ROUTE;) {
      const next = routes.following(route); // a peer that turns out to be gone takes its routes along
      this.#peers[routes.use(route, nowMs | 0) - 1]?.append(packet);
      route = next;
    }
    if (first === NO_ROUTE) this.#forwardUnrouted(packet);
    // Whoever announces the connection a moment too late still gets to know the target's answer.
    else if ((packet.flags & SYN_ACK) === SYN_ACK) this.#held.hold(packet, true, nowMs);
  }

  /** Closes every connection and stops listening. No callback is called any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelTurnEnd();
    this.#listener?.close();
    this.#listener = undefined;
    for (const peer of this.#peers) peer?.end("the tunnel was closed");
    // Not at once: the call may come from a callback in the midst of reading this memory.
    queueMicrotask(() => this.#memory.free());
  }

  #forwardUnrouted(packet: Packet): void {
    const { flags } = packet;
    const isWorthHolding = (flags & SYN_ACK) === SYN_ACK || (flags & TcpFlag.Rst) !== 0;
    if (!isWorthHolding || this.#isClosed) {
      this.stats.unrouted++;
      return;
    }
    this.stats.held++;
    this.#held.hold(packet, false, this.#loop.nowMs);
  }

  #makePeerOwner(input: number): PeerOwner {
    return {
      loop: this.#loop,
      stats: this.stats,
      memory: this.#memory,
      input,
      inputBytes: INPUT_BYTES,
      greetingTimeoutMs: this.#options.greetingTimeoutMs ?? GREETING_TIMEOUT_MS,
      onAnnounce: (peer, client, clientPort, target, targetPort) =>
        this.#announce(peer, client, clientPort, target, targetPort),
      onForget: (peer, client, clientPort, target, targetPort) =>
        this.#forget(peer, client, clientPort, target, targetPort),
      onGreeted: (peer) => this.#options.onConnect?.(peer.endpoint),
      onDirty: (peer) => this.#dirty.push(peer),
      onClose: (peer, reason) => this.#onPeerClosed(peer, reason),
    };
  }

  #announce(
    peer: TunnelPeer,
    client: number,
    clientPort: number,
    target: number,
    targetPort: number,
  ): void {
    this.stats.announced++;
    if (this.#single !== undefined) return;
    if (this.#isAnyTarget) target = 0;
    this.latest.add(client, clientPort, target, targetPort);
    const nowMs = this.#loop.nowMs;
    const routes = this.#routes;
    const { holder } = peer;
    const earlier = routes.find(client, clientPort, target, targetPort);
    if (!routes.add(holder, client, clientPort, target, targetPort, nowMs | 0)) return;
    if (earlier !== NO_ROUTE) this.#noteShared(peer, earlier);
    const heldAt = this.#held.find(client, clientPort, target, targetPort, nowMs);
    if (heldAt < 0) return;
    if (peer.appendRecord(this.#held.view, heldAt)) this.stats.heldDelivered++;
  }

  /** Somebody else has announced what this peer has announced now: perhaps it should not be here. */
  #noteShared(peer: TunnelPeer, earlier: number): void {
    const other = this.#peers[this.#routes.holderOf(earlier) - 1];
    if (other === undefined || other.address === peer.address) return;
    this.stats.shared++;
    this.#options.onShared?.(peer.endpoint, other.endpoint);
  }

  #forget(
    peer: TunnelPeer,
    client: number,
    clientPort: number,
    target: number,
    targetPort: number,
  ): void {
    this.stats.forgotten++;
    if (this.#isAnyTarget) target = 0;
    this.#routes.remove(peer.holder, client, clientPort, target, targetPort);
  }

  /** Of the address with most routes, the connection with most of them. */
  #greediestHolder(): RouteHolder {
    if (this.#greediestFor-- > 0 && this.#greediest !== undefined) {
      if (this.#greediest.holder.routes > 0) return this.#greediest.holder;
    }
    const perAddress = new Map<number, number>();
    for (const { address, holder } of this.#admission.guests) {
      perAddress.set(address, (perAddress.get(address) ?? 0) + holder.routes);
    }
    let greediest: TunnelPeer | undefined;
    for (const peer of this.#admission.guests) {
      const more = greediest === undefined
        ? 1
        : perAddress.get(peer.address)! - perAddress.get(greediest.address)! ||
          peer.holder.routes - greediest.holder.routes;
      if (more > 0) greediest = peer;
    }
    this.#greediest = greediest;
    this.#greediestFor = GREEDIEST_FOR;
    return greediest!.holder;
  }

  #welcome(fd: number, endpoint: Endpoint): void {
    const nowMs = this.#loop.nowMs;
    const refusal = this.#single?.admits(nowMs) === false
      ? "another tcpcopy is connected"
      : this.#admission.refusalOf(endpoint.address, nowMs);
    if (refusal !== "") {
      this.#refuse(fd, endpoint, refusal);
      return;
    }
    this.stats.accepted++;
    this.#addPeer(fd, endpoint);
  }

  #refuse(fd: number, endpoint: Endpoint, reason: string): void {
    this.stats.refused++;
    closeFd(fd);
    this.#options.onRefuse?.(endpoint, reason);
  }

  #addPeer(fd: number, endpoint: Endpoint): void {
    const slot = this.#peers.indexOf(undefined);
    const output = new ResponseEncoder(
      this.#memory.bytes,
      this.#memory.view,
      this.#outputs + slot * this.#outputBytes,
      this.#outputBytes,
      this.#mode,
      this.#recordBytes,
      this.maxRecordsPerFrame,
    );
    const peer = new TunnelPeer(slot + 1, fd, endpoint, output, this.#peerOwner);
    this.#peers[slot] = peer;
    this.#admission.add(peer);
    this.#single?.add(peer);
    peer.start();
  }

  #onPeerClosed(peer: TunnelPeer, reason: string): void {
    this.#routes.removeAll(peer.holder);
    this.#peers[peer.id - 1] = undefined;
    this.#admission.remove(peer);
    if (this.#greediest === peer) this.#greediest = undefined;
    this.#single?.remove(peer);
    this.stats.closed++;
    if (!this.#isClosed) this.#options.onClose?.(peer.endpoint, reason);
  }

  #flushAll(): void {
    for (let i = 0; i < this.#dirty.length; i++) this.#dirty[i].flush();
    this.#dirty.length = 0;
  }
}
