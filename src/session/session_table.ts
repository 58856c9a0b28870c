/**
 * All sessions: finds the one a packet belongs to, makes new ones, serves those that have something
 * to do, and keeps the ledger. Pure.
 *
 * Packets are handed in batches; `flush` then serves every touched session once, so that a session
 * acknowledges and sends at most once per batch, however many packets it was given.
 */

import { ChecksumState, checksumState } from "../wire/checksum_state.ts";
import { Packet } from "../wire/packet.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import { TcpOptions } from "../wire/tcp_options.ts";
import { AddressPool, mix, RECENTLY_CLOSED } from "./address_pool.ts";
import { Admission, type Opening, Verdict } from "./admission.ts";
import { BlockPool } from "./block_pool.ts";
import { ClientSample } from "./client_sample.ts";
import { CLOSED_ENTRIES, ClosedQueue } from "./closed_queue.ts";
import type { SessionConfig } from "./config.ts";
import { Delays } from "./delays.ts";
import { SessionCounters } from "./counters.ts";
import { type EndpointContext, EndpointState } from "./endpoint.ts";
import { FlowTable, flowWord } from "./flow_table.ts";
import type { HandshakeOptions } from "./handshake.ts";
import type { ServiceEvidence } from "./service_evidence.ts";
import { ForeignFlows } from "./foreign_flows.ts";
import { Ledger, Outcome } from "./ledger.ts";
import { markedSequence, MAX_GENERATIONS } from "./replay_mark.ts";
import { Rhythm } from "./rhythm.ts";
import { SegmentStore } from "./segment_store.ts";
import { type FourTuple, SegmentWriter } from "./segment_writer.ts";
import { Session, type SessionHost } from "./session.ts";
import type { PacketSink } from "./sink.ts";
import type { TransferMap } from "./transfer.ts";

/** Timers by session number; TimerWheel implements it. */
export interface SessionTimers {
  schedule(id: number, deadlineMs: number): void;
  cancel(id: number): void;
}

/** Tells the intercepts whose responses to send here; the tunnel client implements it. */
export interface RouteAnnouncer {
  announce(address: number, port: number, targetAddress: number, targetPort: number): void;
  forget(address: number, port: number, targetAddress: number, targetPort: number): void;
}

const SYN_ACK = TcpFlag.Syn | TcpFlag.Ack;
const HEADERS_BYTES = 40;
const TIMESTAMPS_BYTES = 12;
/** Above this share of the memory cap no new session begins. */
const SHED_SHARE = 0.9;
/**
 * Values among the captured flows, each with the number of its entry in the queue added. Its session
 * has ended; what is still captured is ignored.
 */
const FLOW_OVER = 0x40000000;
/** The same, and something was captured since the queue looked at it last. */
const FLOW_OVER_HEARD = FLOW_OVER + CLOSED_ENTRIES;
/** The session ended before its client was through: a while later the connection may be joined. */
const FLOW_LOST = FLOW_OVER_HEARD + CLOSED_ENTRIES;
/** Value among the replayed flows: in use by a probe; no entry of the queue has this number. */
const PROBED = RECENTLY_CLOSED + CLOSED_ENTRIES;
/** Sessions that send again in each ms after the tunnel was down. */
const KICKED_PER_MS = 20;
/** Routes that are announced again in a second because nothing is heard; as many at once. */
const ANNOUNCED_AGAIN_PER_SECOND = 1000;
/** Checksums are mostly right when so many are for each that is not. */
const MOSTLY_RIGHT = 8;
/** A target that said something so long ago or less has just answered. */
const JUST_NOW_MS = 2_000;
/** Sessions ended between two pauses for their resets to leave. */
const ABORT_BATCH = 256;
/** Offered when the client offered any, or when the SYN is made up. */
const MIN_WINDOW_SCALE = 7;

export class SessionTable implements SessionHost {
  readonly config: SessionConfig;
  /** Captured packets handed to the table, by the transfer they belong to. */
  readonly requestsOf: number[];
  readonly counters = new SessionCounters();
  readonly ledger = new Ledger();
  readonly context: EndpointContext;
  readonly delays = new Delays();
  /** Called for the first connection to a transfer's port that turns out to be encrypted. */
  onEncrypted: (transfer: number) => void = () => {};
  /** Called for a transfer's first connection of which nothing tells that the service accepted it. */
  onUnproven: (transfer: number) => void = () => {};
  /** Called for the first connection that another tcpcopy replays and that is left out. */
  onForeign: (packet: Packet) => void = () => {};
  /** Set by the owner as the tunnel comes and goes. */
  wayBackWorks = true;
  /** Set by the owner while memory or CPU are short: no new session begins. */
  shedding = false;
  /** Set by the owner: outside of sampling windows no new session begins, those open go on. */
  sampling = true;

  readonly #transfers: TransferMap;
  readonly #timers: SessionTimers;
  readonly #routes: RouteAnnouncer;
  readonly #pool: BlockPool;
  readonly #options = new TcpOptions();
  readonly #syn = new Packet();
  /** What the session being made will offer. */
  readonly #offer: HandshakeOptions = {
    mss: 0,
    windowScale: -1,
    sackPermitted: false,
    timestamps: false,
  };
  /** (client address, port and transfer × copies + copy) → session, or one of the FLOW_ values. */
  readonly #capturedFlows = new FlowTable();
  /** (source address, port and target) → session, or RECENTLY_CLOSED and its entry's number. */
  readonly #replayFlows = new FlowTable();
  /** Flows that were open before the capture, and between two requests. */
  readonly #restingFlows = new FlowTable();
  /** Connections whose clients have proved nothing yet. */
  readonly #admission: Admission;
  readonly #foreign: ForeignFlows;
  readonly #addresses: AddressPool;
  readonly #sample: ClientSample;
  /** Replayed connections that ended shortly before. */
  readonly #closed: ClosedQueue;
  /** Captured connections whose session has ended; they stay until the client falls silent. */
  readonly #over: ClosedQueue;
  readonly #sessions: (Session | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  /** Sessions to be served, the first `#touchedCount`: cutting an array short would free its memory. */
  readonly #touched: (Session | undefined)[] = [];
  #touchedCount = 0;
  /** When each session's timer fires, Infinity when it is not set. */
  readonly #timerAtMs: number[] = [];
  #open = 0;
  /** Captured packets whose checksum was computed, and is right. */
  #rightChecksums = 0;
  /** How the target of each transfer answers. */
  readonly #rhythms: Rhythm[];
  /** Whether the connection seen last of each transfer began with TLS. */
  readonly #isTls: (boolean | undefined)[] = [];
  readonly #hadTls = new Set<number>();
  readonly #hadUnproven = new Set<number>();
  /** When each target may be retried next. */
  readonly #retryAtMs: number[];
  /** Where the announcements of unheard connections stand that may be made by now. */
  #announcedAgainAtMs = -1000;

  constructor(
    config: SessionConfig,
    transfers: TransferMap,
    sink: PacketSink,
    timers: SessionTimers,
    routes: RouteAnnouncer,
  ) {
    this.config = config;
    this.#transfers = transfers;
    this.#rhythms = transfers.transfers.map(() => new Rhythm());
    this.requestsOf = transfers.transfers.map(() => 0);
    this.#retryAtMs = transfers.transfers.map(() => 0);
    this.#timers = timers;
    this.#routes = routes;
    this.#pool = new BlockPool(config.maxPayloadBytes, config.mtuBytes - HEADERS_BYTES);
    const store = new SegmentStore(this.#pool);
    this.context = {
      store,
      writer: new SegmentWriter(sink, store, this.counters, config.clockOffsetMs),
      counters: this.counters,
      mtuBytes: config.mtuBytes,
      missesPackets: true,
    };
    this.#admission = new Admission(this.counters, transfers.transfers.length, {
      neverAccepted: () => this.#bookUnproven(Outcome.NeverAccepted),
      notJoined: () => this.#bookUnproven(Outcome.NotJoined),
    });
    this.#foreign = new ForeignFlows(config.sessionTimeoutMs);
    this.#addresses = new AddressPool(config.clientAddresses, this.#replayFlows, config);
    this.#sample = new ClientSample(config);
    this.#closed = new ClosedQueue(
      config.recentlyClosedMs,
      (address, word, entry) => this.#forget(address, word, entry),
    );
    this.#over = new ClosedQueue(
      config.recentlyClosedMs,
      (...expired) => this.#forgetCaptured(...expired),
    );
  }

  /** Sessions that have not ended. */
  get openSessions(): number {
    return this.#open;
  }

  /** Captured and replayed flows that are remembered. */
  get knownFlows(): number {
    return this.#capturedFlows.size + this.#replayFlows.size + this.#admission.size;
  }

  /** Set by the owner: what is known of the online service besides the captured packets. */
  set evidence(evidence: ServiceEvidence) {
    this.#admission.evidence = evidence;
  }

  /** Sets another cap of the payload memory, bytes; what is beyond it is not taken back. */
  limitPayload(maxBytes: number): void {
    this.config.maxPayloadBytes = maxBytes;
    this.#pool.limit(maxBytes);
  }

  /** Payload memory in use, bytes. */
  get payloadBytes(): number {
    return this.#pool.usedBytes;
  }

  // --------------------------------------------------------------------------- captured packets

  /**
   * Takes a captured packet of a real client, or a SYN-ACK of the online service; the packet is only
   * read during the call.
   */
  onCaptured(packet: Packet, nowMs: number): void {
    const { transfers } = this.#transfers;
    if (this.#transfers.mayLoop && this.#isOwn(packet)) return;
    let isRequest = false;
    for (let transfer = 0; transfer < transfers.length; transfer++) {
      if (
        !this.#transfers.matches(transfer, packet.destinationAddress, packet.destinationPort)
      ) continue;
      isRequest = true;
      this.requestsOf[transfer]++;
      if (this.#isCorrupt(packet)) return;
      this.#onCapturedFor(packet, transfer, nowMs);
    }
    if (!isRequest) this.onServiceAccepts(packet, nowMs);
  }

  /** Takes a packet of the online service, if it is a SYN-ACK: the service accepts a client. */
  onServiceAccepts(packet: Packet, nowMs: number): void {
    if ((packet.flags & SYN_ACK) !== SYN_ACK) return;
    const { transfers } = this.#transfers;
    for (let transfer = 0; transfer < transfers.length; transfer++) {
      if (!this.#transfers.matches(transfer, packet.sourceAddress, packet.sourcePort)) continue;
      const { destinationAddress: address, destinationPort: port } = packet;
      const word = flowWord(port, transfer * this.config.copies);
      const session = this.#sessionOf(this.#capturedFlows.get(address, word));
      if (session?.initialSequence === ((packet.acknowledgment - 1) | 0)) continue; // sent again
      const options = this.#options;
      options.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20);
      const isWanted = this.#isWanted(address, port, nowMs);
      this.#admission.onAnswer(packet, options, address, word, transfer, isWanted, nowMs);
    }
  }

  /** Whether a captured packet was not meant to be like that, by its checksum. */
  #isCorrupt(packet: Packet): boolean {
    const { checksums } = this.config;
    if (checksums === "do not matter") return false;
    const state = checksumState(packet);
    if (state === ChecksumState.Right) this.#rightChecksums++;
    if (state !== ChecksumState.Wrong) return false;
    this.counters.wrongChecksums++;
    return checksums === "must be right" ||
      this.#rightChecksums > MOSTLY_RIGHT * this.counters.wrongChecksums;
  }

  /** Whether a captured packet is one that was sent here: replaying it would never end. */
  #isOwn({ sourceAddress, sourcePort, destinationAddress, destinationPort }: Packet): boolean {
    const target = this.#transfers.targetIndex(destinationAddress, destinationPort);
    return target >= 0 && this.#replayFlows.get(sourceAddress, flowWord(sourcePort, target)) >= 0;
  }

  /**
   * Says that the client of an open connection has sent nothing since its last request was answered:
   * whatever is captured of it first begins a request. Addresses are int32.
   */
  noteResting(
    clientAddress: number,
    clientPort: number,
    serviceAddress: number,
    servicePort: number,
  ): void {
    const transfers = this.#transfers.transfers.length;
    for (let transfer = 0; transfer < transfers; transfer++) {
      if (!this.#transfers.matches(transfer, serviceAddress, servicePort)) continue;
      for (let copy = 0; copy < this.config.copies; copy++) {
        const word = flowWord(clientPort, transfer * this.config.copies + copy);
        this.#restingFlows.set(clientAddress, word, 0);
      }
    }
  }

  #onCapturedFor(packet: Packet, transfer: number, nowMs: number): void {
    const address = packet.sourceAddress;
    const { copies } = this.config;
    const word = flowWord(packet.sourcePort, transfer * copies);
    const value = this.#capturedFlows.get(address, word);
    const session = this.#sessionOf(value);
    if ((packet.flags & TcpFlag.Syn) !== 0) {
      this.#onSyn(packet, address, word, session, nowMs);
      return;
    }
    if (session === undefined || session.contested) {
      const admission = this.#admission;
      let verdict = admission.judgeOpening(packet, address, word, transfer);
      const isKnown = value !== -1 || this.#foreign.has(address, word);
      if (verdict === Verdict.None && !isKnown && this.#mayJoin(packet, nowMs)) {
        verdict = this.#restingFlows.get(address, word) >= 0
          ? Verdict.Joined
          : admission.judgeStranger(packet, address, word, nowMs);
      }
      if (verdict === Verdict.Accepted || verdict === Verdict.Joined) {
        this.#begin(packet, transfer, verdict, nowMs);
        return;
      }
    }
    this.#onCapturedBy(session, value, packet, address, word, nowMs);
    for (let copy = 1; copy < copies; copy++) {
      const itsValue = this.#capturedFlows.get(address, word + copy);
      const its = this.#sessionOf(itsValue);
      this.#onCapturedBy(its, itsValue, packet, address, word + copy, nowMs);
    }
  }

  /** The session among the values of the captured flows. */
  #sessionOf(value: number): Session | undefined {
    return value < 0 || value >= FLOW_OVER ? undefined : this.#sessions[value];
  }

  #onCapturedBy(
    session: Session | undefined,
    value: number,
    packet: Packet,
    address: number,
    word: number,
    nowMs: number,
  ): void {
    if (session !== undefined) {
      session.onCaptured(packet, nowMs);
      if (!session.ended) this.touch(session);
    } else if (value >= FLOW_OVER && value < FLOW_OVER_HEARD) {
      this.#capturedFlows.set(address, word, value + (FLOW_OVER_HEARD - FLOW_OVER));
    } else if (value >= FLOW_LOST) this.counters.unreplayedBytes += packet.payloadLength;
  }

  /** Anyone can send a SYN: it is remembered, and nothing else changes. */
  #onSyn(
    packet: Packet,
    address: number,
    word: number,
    session: Session | undefined,
    nowMs: number,
  ): void {
    if (packet.flags & (TcpFlag.Ack | TcpFlag.Rst)) return; // not a client's
    if (session !== undefined) {
      if (session.initialSequence === packet.sequence) return; // sent again
      session.contested = true;
    }
    const options = this.#options;
    options.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20);
    const isWanted = this.#isWanted(address, packet.sourcePort, nowMs);
    const isFirst = this.#admission.onSyn(packet, options, address, word, isWanted, nowMs);
    if (!isFirst) return;
    if (!isWanted) this.counters.sampledOut += this.config.copies;
    if (this.sampling) this.#noteDraw(address, isWanted, nowMs);
  }

  #noteDraw(address: number, isDrawn: boolean, nowMs: number): void {
    const chance = this.#sample.chanceOf(address, nowMs);
    if (chance === 0) return;
    this.counters.drawnFrom++;
    this.counters.drawnExpected += chance;
    if (isDrawn) this.counters.drawn++;
  }

  /** Whether sessions of this client begin at this time. */
  #isWanted(address: number, port: number, nowMs: number): boolean {
    return this.sampling && this.#sample.admits(address, port, nowMs);
  }

  /** Whether a connection of which the beginning was not seen may be joined with this packet. */
  #mayJoin({ sourceAddress, sourcePort }: Packet, nowMs: number): boolean {
    return this.config.joins && this.#isWanted(sourceAddress, sourcePort, nowMs);
  }

  /** Begins the sessions of a connection with the packet that proved it. */
  #begin(packet: Packet, transfer: number, verdict: Verdict, nowMs: number): void {
    const address = packet.sourceAddress;
    const { copies } = this.config;
    const first = flowWord(packet.sourcePort, transfer * copies);
    const isAccepted = verdict === Verdict.Accepted;
    const { opening } = this.#admission;
    const isForeign = isAccepted && opening.generation > this.config.maxGenerations;
    this.#restingFlows.delete(address, first);
    if (isForeign) this.#leaveOut(packet, first, nowMs);
    else this.#foreign.delete(address, first);
    if (isAccepted && !opening.isProved && !this.#hadUnproven.has(transfer)) {
      this.#hadUnproven.add(transfer);
      this.onUnproven(transfer);
    }
    for (let copy = 0; copy < copies; copy++) {
      const word = first + copy;
      const before = this.#sessionOf(this.#capturedFlows.get(address, word));
      if (before !== undefined) {
        before.detach();
        this.touch(before);
      }
      this.#capturedFlows.delete(address, word);
      if (isForeign || (isAccepted && !opening.isWanted)) continue;
      if (this.#isShort()) {
        if (isAccepted) this.#shed(packet, address, word, nowMs);
        continue;
      }
      const session = this.#create(packet, address, word, transfer, copy, isAccepted);
      if (isAccepted) {
        session.beginAccepted(opening, this.#synOf(opening), nowMs);
        session.onCaptured(packet, nowMs);
      } else session.beginAtTurn(packet, nowMs);
      if (!session.ended) this.touch(session);
    }
    this.#closed.expire(nowMs);
  }

  /** Remembers a connection that another tcpcopy replays, so that it is not joined either. */
  #leaveOut(packet: Packet, word: number, nowMs: number): void {
    this.#foreign.add(packet.sourceAddress, word, nowMs);
    if (this.counters.foreignConnections++ === 0) this.onForeign(packet);
  }

  /** The SYN that had payload. */
  #synOf({ syn }: Opening): Packet | undefined {
    if (syn === undefined) return undefined;
    this.#syn.parseIp(syn, new DataView(syn.buffer), 0, syn.length);
    return this.#syn;
  }

  /** Whether no more sessions may begin. */
  #isShort(): boolean {
    const { config } = this;
    return this.shedding || this.#open >= config.maxSessions ||
      this.#pool.usedBytes > config.maxPayloadBytes * SHED_SHARE;
  }

  #shed(packet: Packet, address: number, word: number, nowMs: number): void {
    this.ledger.seen++;
    this.counters.unreplayedBytes += packet.payloadLength;
    this.ledger.book(Outcome.Shed);
    this.#endCaptured(address, word, FLOW_LOST, nowMs);
  }

  /** A connection ends that never became a session; there would have been one for each copy. */
  #bookUnproven(outcome: Outcome): void {
    for (let copy = 0; copy < this.config.copies; copy++) {
      this.ledger.seen++;
      this.ledger.book(outcome);
    }
  }

  #create(
    packet: Packet,
    address: number,
    word: number,
    transfer: number,
    copy: number,
    isAccepted: boolean,
  ): Session {
    const { config } = this;
    this.ledger.seen++;
    this.#open++;
    const slot = this.#freeSlots.pop() ?? this.#sessions.length;
    const options = isAccepted
      ? this.#offerOf(this.#admission.opening)
      : this.#offerWithoutSyn(packet);
    const session = new Session(
      this,
      slot,
      address,
      word,
      transfer,
      copy,
      isAccepted ? this.#admission.opening.initialSequence : packet.sequence,
      options,
      config.mtuBytes - HEADERS_BYTES - (options.timestamps ? TIMESTAMPS_BYTES : 0),
    );
    this.#sessions[slot] = session;
    this.#timerAtMs[slot] = Infinity;
    this.#capturedFlows.set(address, word, slot);
    return session;
  }

  /** The client's own options. */
  #offerOf(opening: Opening): HandshakeOptions {
    const { mss, clientScale, sackPermitted, timestamps, generation } = opening;
    const offer = this.#offer;
    const maxMss = Math.min(this.config.mssBytes, this.config.mtuBytes - HEADERS_BYTES);
    offer.mss = mss > 0 && mss < maxMss ? mss : maxMss;
    offer.windowScale = clientScale < 0 ? -1 : Math.max(clientScale, MIN_WINDOW_SCALE);
    offer.sackPermitted = sackPermitted;
    offer.timestamps = timestamps;
    offer.generation = Math.min(generation + 1, MAX_GENERATIONS);
    return offer;
  }

  /** For a made-up SYN: what the client's later packets allow. */
  #offerWithoutSyn(packet: Packet): HandshakeOptions {
    const options = this.#options;
    const offer = this.#offer;
    options.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20);
    offer.mss = Math.min(this.config.mssBytes, this.config.mtuBytes - HEADERS_BYTES);
    offer.windowScale = MIN_WINDOW_SCALE;
    offer.sackPermitted = true;
    offer.timestamps = options.hasTimestamps;
    offer.generation = 1;
    return offer;
  }

  // ---------------------------------------------------------------------- the targets' responses

  /** Takes the headers of a target's packet; `packet` is only read during the call. */
  onResponse(packet: Packet, nowMs: number): void {
    this.counters.responsePackets++;
    const value = this.#replayOf(packet);
    if (value < 0) {
      this.counters.strayResponses++;
      return;
    }
    this.#options.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20);
    if (value >= RECENTLY_CLOSED) {
      this.#answerForClosed(packet, nowMs);
      return;
    }
    const session = this.#sessions[value]!;
    session.onResponse(packet, this.#options, nowMs);
    this.touch(session);
  }

  /** What the replayed flows know of a target's packet: a session, RECENTLY_CLOSED or more, or -1. */
  #replayOf(packet: Packet): number {
    let target = this.#transfers.targetIndex(packet.sourceAddress, packet.sourcePort);
    if (target < 0 && this.config.anyTargetAddress) target = this.#targetByClient(packet);
    if (target < 0) return -1;
    const word = flowWord(packet.destinationPort, target);
    return this.#replayFlows.get(packet.destinationAddress, word);
  }

  /** Whether a reset means that the target has lost a connection on which it has just answered. */
  isCutOff(reset: Packet, nowMs: number): boolean {
    const value = this.#replayOf(reset);
    if (value < 0 || value >= RECENTLY_CLOSED) return false;
    const { endpoint } = this.#sessions[value]!;
    return endpoint.state === EndpointState.Established && !endpoint.peerFin &&
      reset.sequence === endpoint.rcvNxt &&
      nowMs - Math.max(endpoint.answeredAtMs, endpoint.progressAtMs) < JUST_NOW_MS;
  }

  /** The target behind an address translation: known by its port and by whom it answers. */
  #targetByClient({ destinationAddress, destinationPort, sourcePort }: Packet): number {
    const { targetCount } = this.#transfers;
    for (let target = 0; target < targetCount; target++) {
      if (this.#transfers.target(target).port !== sourcePort) continue;
      const word = flowWord(destinationPort, target);
      if (this.#replayFlows.get(destinationAddress, word) >= 0) return target;
    }
    return -1;
  }

  /** What a client in TIME-WAIT or CLOSED answers, without keeping a connection for it. */
  #answerForClosed(packet: Packet, nowMs: number): void {
    if (packet.flags & (TcpFlag.Rst | TcpFlag.Syn)) return;
    const tuple = {
      localAddress: packet.destinationAddress,
      localPort: packet.destinationPort,
      remoteAddress: packet.sourceAddress,
      remotePort: packet.sourcePort,
    };
    const { writer } = this.context;
    const { hasTimestamps, tsval } = this.#options;
    if (packet.flags & TcpFlag.Fin) {
      const behind = (packet.sequence + packet.payloadLength + 1) | 0;
      writer.acknowledge(tuple, packet.acknowledgment, behind, hasTimestamps, tsval, nowMs);
    } else if (packet.payloadLength > 0) writer.reset(tuple, packet.acknowledgment);
  }

  /** The tunnel works again: sessions that have waited send again soon, a few in each ms. */
  kickAll(nowMs: number): void {
    let kicked = 0;
    for (const session of this.#sessions) {
      if (session === undefined || session.ended) continue;
      if (session.kick(nowMs + Math.floor(kicked / KICKED_PER_MS), nowMs)) kicked++;
      this.touch(session);
    }
  }

  /** Places that connections towards targets may have, for `visitRoute`; never fewer than before. */
  get routePlaces(): number {
    return this.#sessions.length;
  }

  /**
   * Calls back for the connection at a place, 0 to `routePlaces` - 1, to announce its route again.
   *
   * @returns what `visit` returned; true where there is none
   */
  visitRoute(
    place: number,
    visit: (address: number, port: number, targetAddress: number, targetPort: number) => boolean,
  ): boolean {
    const session = this.#sessions[place];
    if (session === undefined || !session.connected) return true;
    const { localAddress, localPort, remoteAddress, remotePort } = session.endpoint;
    return visit(localAddress, localPort, remoteAddress, remotePort);
  }

  // --------------------------------------------------------------------------- time and serving

  /** Puts a session on the list of those `flush` serves. */
  touch(session: Session): void {
    if (session.touched) return;
    session.touched = true;
    this.#touched[this.#touchedCount++] = session;
  }

  /** Every session is served with the next `flush`. */
  touchAll(): void {
    for (const session of this.#sessions) {
      if (session !== undefined && !session.ended) this.touch(session);
    }
  }

  /** The session's timer fired. */
  onTimer(slot: number): void {
    this.#timerAtMs[slot] = Infinity;
    const session = this.#sessions[slot];
    if (session !== undefined) this.touch(session);
  }

  /** Serves every touched session; to be called once per batch of packets and timers. */
  flush(nowMs: number): void {
    this.#closed.expire(nowMs);
    this.#over.expire(nowMs);
    this.#admission.expire(nowMs, this.config.sessionTimeoutMs);
    const touched = this.#touched;
    for (let i = 0; i < this.#touchedCount; i++) {
      const session = touched[i]!;
      touched[i] = undefined; // an ended session is not to be kept alive from here
      session.touched = false;
      if (session.ended) continue;
      session.serve(nowMs);
      if (session.ended) continue;
      const deadlineMs = session.deadlineMs();
      // A timer that fires too early costs one more look; moving it every time costs more.
      if (deadlineMs < this.#timerAtMs[session.slot]) {
        this.#timerAtMs[session.slot] = deadlineMs;
        this.#timers.schedule(session.slot, deadlineMs);
      }
    }
    this.#touchedCount = 0;
  }

  /**
   * What is captured from now on was captured at another time: the same clients may come again, with
   * connections that have nothing to do with those before. No session may be open.
   */
  startOver(): void {
    this.#capturedFlows.clear();
    this.#over.clear();
    this.#admission.endAll();
  }

  /** No more packets will be captured: every session comes to its end. */
  stopCapture(): void {
    this.#admission.endAll();
    for (const session of this.#sessions) {
      if (session === undefined || session.ended) continue;
      session.stopCapture();
      if (!session.ended) this.touch(session);
    }
  }

  /** Ends every session at once; the targets' connections are reset. */
  abortAll(nowMs: number): void {
    for (const _ of this.abortInBatches(nowMs));
  }

  /** The same, with a pause after each batch for the resets to leave. */
  *abortInBatches(nowMs: number): Generator<undefined> {
    this.#admission.endAll();
    this.#touched.length = 0;
    this.#touchedCount = 0;
    let aborted = 0;
    for (const session of this.#sessions) {
      if (session === undefined || session.ended) continue;
      session.abort(Outcome.OpenAtExit, nowMs);
      if (++aborted % ABORT_BATCH === 0) yield;
    }
  }

  // ------------------------------------------------------------------------------- SessionHost

  connect(session: Session, nowMs: number): boolean {
    const { endpoint } = session;
    const transfer = this.#transfers.transfers[session.transfer];
    const target = this.#transfers.targetOf[session.transfer];
    const clientPort = session.clientWord >>> 16;
    const pool = this.#addresses;
    this.#closed.expire(nowMs);
    if (!pool.choose(session.clientAddress, clientPort, session.copy, target)) {
      this.counters.withoutPort++;
      return false;
    }
    if (pool.port !== clientPort) this.counters.movedPorts++;
    endpoint.localAddress = pool.address;
    endpoint.localPort = pool.port;
    endpoint.remoteAddress = transfer.targetAddress;
    endpoint.remotePort = transfer.targetPort;
    this.#replayFlows.set(pool.address, flowWord(pool.port, target), session.slot);
    this.#routes.announce(
      pool.address,
      pool.port,
      transfer.targetAddress,
      transfer.targetPort,
    );
    return true;
  }

  announceAgain({ endpoint }: Session, nowMs: number): void {
    const atMs = Math.max(this.#announcedAgainAtMs, nowMs - 1000) +
      1000 / ANNOUNCED_AGAIN_PER_SECOND;
    if (atMs > nowMs) return; // its next time-out will ask again
    this.#announcedAgainAtMs = atMs;
    this.counters.announcedAgain++;
    this.#routes.announce(
      endpoint.localAddress,
      endpoint.localPort,
      endpoint.remoteAddress,
      endpoint.remotePort,
    );
  }

  disconnect(session: Session, nowMs: number): void {
    const { localAddress, localPort } = session.endpoint;
    if (localPort === 0) return; // never connected
    const target = this.#transfers.targetOf[session.transfer];
    const word = flowWord(localPort, target);
    if (this.#replayFlows.get(localAddress, word) !== session.slot) return;
    const entry = this.#closed.push(localAddress, word, nowMs);
    this.#replayFlows.set(localAddress, word, RECENTLY_CLOSED + entry);
  }

  rhythmOf(transfer: number): Rhythm {
    return this.#rhythms[transfer];
  }

  expectsTls(transfer: number): boolean {
    return this.#isTls[transfer] === true;
  }

  noteBeginning({ transfer }: Session, isEncrypted: boolean): void {
    const isNews = isEncrypted && !this.#hadTls.has(transfer);
    this.#isTls[transfer] = isEncrypted;
    if (!isNews) return;
    this.#hadTls.add(transfer);
    this.onEncrypted(transfer);
  }

  retryAtMs({ transfer }: Session, wantedMs: number): number {
    const target = this.#transfers.targetOf[transfer];
    const atMs = Math.max(wantedMs, this.#retryAtMs[target]);
    this.#retryAtMs[target] = atMs + 1000 / this.config.maxRetriesPerSecond;
    return Math.ceil(atMs);
  }

  /**
   * Gives a probe a source address and port as if it were this client's, and announces the route.
   *
   * @returns undefined when no port is free
   */
  reserveFlow(
    clientAddress: number,
    clientPort: number,
    target: number,
    nowMs: number,
  ): { tuple: FourTuple; sequence: number } | undefined {
    const pool = this.#addresses;
    this.#closed.expire(nowMs);
    if (!pool.choose(clientAddress, clientPort, 0, target)) return undefined;
    const { address, port } = this.#transfers.target(target);
    this.#replayFlows.set(pool.address, flowWord(pool.port, target), PROBED);
    this.#routes.announce(pool.address, pool.port, address, port);
    const tuple = {
      localAddress: pool.address,
      localPort: pool.port,
      remoteAddress: address,
      remotePort: port,
    };
    return { tuple, sequence: this.#initialSequence(tuple, nowMs) };
  }

  /** The probe is over: the port is free again a while later. */
  releaseFlow({ localAddress, localPort }: FourTuple, target: number, nowMs: number): void {
    const word = flowWord(localPort, target);
    // Where ports are short a session may have got it meanwhile: then it goes with that.
    if (this.#replayFlows.get(localAddress, word) !== PROBED) return;
    const entry = this.#closed.push(localAddress, word, nowMs);
    this.#replayFlows.set(localAddress, word, RECENTLY_CLOSED + entry);
  }

  initialSequence(session: Session, nowMs: number): number {
    return this.#initialSequence(session.endpoint, nowMs);
  }

  #initialSequence(tuple: FourTuple, nowMs: number): number {
    const { localAddress, localPort, remoteAddress, remotePort } = tuple;
    // RFC 6528: a clock of one tick per 4 µs and a hash of the four-tuple. For one four-tuple the
    // numbers grow, so a target's TIME-WAIT accepts the SYN.
    const hash = mix(localAddress ^ mix(localPort ^ this.config.secret)) ^
      mix(remoteAddress ^ mix(remotePort));
    return markedSequence((Math.imul(nowMs + this.config.clockOffsetMs, 250) + hash) | 0);
  }

  ended(session: Session, outcome: Outcome, nowMs: number): void {
    this.ledger.book(outcome);
    this.#open--;
    if (
      session.attached &&
      this.#capturedFlows.get(session.clientAddress, session.clientWord) === session.slot
    ) {
      const state = session.clientMayGoOn ? FLOW_LOST : FLOW_OVER;
      this.#endCaptured(session.clientAddress, session.clientWord, state, nowMs);
    }
    this.#timers.cancel(session.slot);
    this.#timerAtMs[session.slot] = Infinity;
    this.#sessions[session.slot] = undefined;
    this.#freeSlots.push(session.slot);
  }

  /**
   * What is captured of this connection begins no new session: until the client falls silent
   * (FLOW_OVER), or for a while (FLOW_LOST).
   */
  #endCaptured(address: number, word: number, state: number, nowMs: number): void {
    const entry = this.#over.push(address, word, nowMs);
    this.#capturedFlows.set(address, word, state + entry);
  }

  #forgetCaptured(
    address: number,
    word: number,
    entry: number,
    mayStay: boolean,
    nowMs: number,
  ): void {
    const value = this.#capturedFlows.get(address, word);
    // In use again, forgotten already, or ended once more since.
    if (value < FLOW_OVER || (value - FLOW_OVER) % CLOSED_ENTRIES !== entry) return;
    const isHeard = value >= FLOW_OVER_HEARD && value < FLOW_LOST;
    if (isHeard && mayStay) this.#endCaptured(address, word, FLOW_OVER, nowMs);
    else this.#capturedFlows.delete(address, word);
  }

  /** A connection that ended some time ago: its route goes and its port is free again. */
  #forget(address: number, word: number, entry: number): void {
    // Otherwise it is in use again, or has ended once more since.
    if (this.#replayFlows.get(address, word) !== RECENTLY_CLOSED + entry) return;
    this.#replayFlows.delete(address, word);
    const target = this.#transfers.target(word & 0xffff);
    this.#routes.forget(address, word >>> 16, target.address, target.port);
  }
}
