/**
 * One TCP connection at the target: an implementation of its own, so that a misunderstanding in the
 * session layer does not meet the same misunderstanding here. It behaves like a Linux server where
 * that matters: delayed acknowledgements, window updates, PAWS, challenge ACKs, time-outs.
 *
 * Everything that a client may never do is reported as a violation. The bytes of answers do not
 * exist, only their number: the session layer sees headers alone.
 */

import type { Packet } from "../../src/wire/packet.ts";
import { seqDiff, seqLess, seqLessEq, seqMax } from "../../src/wire/sequence.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import type { TcpOptions } from "../../src/wire/tcp_options.ts";
import type { Agenda, AgendaEvent } from "./agenda.ts";
import { buildPacket, type SegmentFields } from "./packet_builder.ts";

/** How a target's TCP is set up. */
export interface TargetTcp {
  mss: number;
  /** -1: no window scaling. */
  windowScale: number;
  timestamps: boolean;
  sack: boolean;
  receiveBufferBytes: number;
  delayedAckMs: number;
  /** How many of the first segments are acknowledged at once. */
  quickAcks: number;
  /** Largest payload of a packet as seen by a capture: more than the MSS with offloads. */
  responseBytes: number;
  /** Whether small segments wait until everything sent is acknowledged (Nagle's algorithm). */
  nagle: boolean;
}

/** What the application above hears of its connection. */
export interface ConnectionUser {
  onReadable(nowMs: number): void;
  onEof(nowMs: number): void;
  onReset(nowMs: number): void;
}

/** What a connection needs from its host. */
export interface ConnectionHost {
  readonly agenda: Agenda;
  readonly tcp: TargetTcp;
  send(bytes: Uint8Array): void;
  violation(text: string): void;
  established(connection: TargetConnection, nowMs: number): ConnectionUser;
  /** The connection is over; in TIME-WAIT the host keeps it for a while. */
  closed(connection: TargetConnection): void;
  /** The clock of the timestamps option. */
  timestamp(nowMs: number): number;
}

export type TargetState =
  | "syn-received"
  | "established"
  | "close-wait"
  | "last-ack"
  | "fin-wait-1"
  | "fin-wait-2"
  | "closing"
  | "time-wait"
  | "closed";

const MIN_RTO_MS = 200;
const MAX_RTO_MS = 30_000;
const MAX_RETRIES = 12;
const TIME_WAIT_MS = 60_000;

export class TargetConnection {
  state: TargetState = "syn-received";
  /** Whether the host's application has closed it: data that comes then is answered by RST. */
  isOrphan = false;
  /** Next sequence number expected. */
  rcvNxt: number;
  /** The client's newest timestamp. */
  recentTimestamp = 0;
  readonly usesTimestamps: boolean;
  readonly remoteAddress: number;
  readonly remotePort: number;

  readonly #host: ConnectionHost;
  readonly #localAddress: number;
  readonly #localPort: number;
  readonly #irs: number;
  readonly #iss: number;
  readonly #usesSack: boolean;
  readonly #scales: boolean;
  readonly #receiveScale: number;
  readonly #sendScale: number;
  readonly #sendMss: number;
  #user: ConnectionUser | undefined;

  #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  readonly #early: { left: number; bytes: Uint8Array }[] = [];
  #newestEarly = 0;
  #finSequence: number | undefined;
  #eofTold = false;
  #rightEdge: number;
  #lastWindow = 0;
  #lastAckSent: number;
  #unacknowledgedSegments = 0;
  #quickAcks: number;
  #ackTimer: AgendaEvent | undefined;
  #lastClientTimestampSent = 0;

  #sndUna: number;
  #sndNxt: number;
  #sndMax: number;
  #sndEnd: number;
  readonly #pushes: number[] = [];
  #finQueued = false;
  #peerWindow: number;
  #congestionWindow: number;
  #slowStart = 0x7fffffff;
  #duplicateAcks = 0;
  #recover: number | undefined;
  #smoothedMs = -1;
  #variationMs = 0;
  #backoff = 0;
  #retries = 0;
  #timer: AgendaEvent | undefined;

  constructor(host: ConnectionHost, syn: Packet, options: TcpOptions, iss: number) {
    const { tcp } = host;
    this.#host = host;
    this.remoteAddress = syn.sourceAddress;
    this.remotePort = syn.sourcePort;
    this.#localAddress = syn.destinationAddress;
    this.#localPort = syn.destinationPort;
    this.#irs = syn.sequence;
    this.#iss = iss;
    this.rcvNxt = (syn.sequence + 1) | 0;
    this.#rightEdge = this.rcvNxt;
    this.#lastAckSent = this.rcvNxt;
    this.usesTimestamps = tcp.timestamps && options.hasTimestamps;
    this.recentTimestamp = options.tsval;
    this.#usesSack = tcp.sack && options.sackPermitted;
    this.#scales = tcp.windowScale >= 0 && options.windowScale >= 0;
    this.#receiveScale = this.#scales ? tcp.windowScale : 0;
    this.#sendScale = this.#scales ? options.windowScale : 0;
    this.#sendMss = Math.min(tcp.mss, options.mss > 0 ? options.mss : 536) -
      (this.usesTimestamps ? 12 : 0);
    this.#congestionWindow = 10 * this.#sendMss;
    this.#quickAcks = tcp.quickAcks;
    this.#sndUna = iss;
    this.#sndNxt = (iss + 1) | 0;
    this.#sndMax = this.#sndNxt;
    this.#sndEnd = this.#sndNxt;
    this.#peerWindow = syn.window;
    if (options.mss === 0) host.violation("a SYN without MSS");
    this.#sendSynAck();
  }

  get isClosed(): boolean {
    return this.state === "closed";
  }

  // ---------------------------------------------------------------------------- the application

  /** Bytes that can be read. */
  get readableBytes(): number {
    return this.#inboxBytes;
  }

  /** Takes up to `most` bytes in order. */
  read(most: number): Uint8Array {
    const taken = new Uint8Array(Math.min(most, this.#inboxBytes));
    let at = 0;
    while (at < taken.length) {
      const chunk = this.#inbox[0];
      const piece = chunk.subarray(0, taken.length - at);
      taken.set(piece, at);
      at += piece.length;
      if (piece.length === chunk.length) this.#inbox.shift();
      else this.#inbox[0] = chunk.subarray(piece.length);
    }
    this.#inboxBytes -= taken.length;
    // A window that was nearly closed is told of when it has opened (RFC 9293 section 3.8.6.2.2).
    const opened = this.#window() - seqDiff(this.#rightEdge, this.rcvNxt);
    const worthIt = Math.min(this.#host.tcp.receiveBufferBytes >> 1, this.#host.tcp.mss);
    if (this.state !== "closed" && opened >= worthIt && this.#lastWindow < worthIt) {
      this.#sendAck();
    }
    if (this.#inboxBytes === 0) this.#tellEof();
    return taken;
  }

  /** Appends `bytes` to the answer. */
  write(bytes: number): void {
    if (bytes === 0 || this.#finQueued || this.state === "closed") return;
    this.#sndEnd = (this.#sndEnd + bytes) | 0;
    this.#pushes.push(this.#sndEnd);
    this.#output();
  }

  /** Closes as close(2) does: FIN behind what was written; unread bytes make it a reset. */
  close(): void {
    if (this.state === "closed" || this.isOrphan) return;
    this.isOrphan = true;
    if (this.#inboxBytes > 0) {
      this.abort();
      return;
    }
    if (this.#finQueued) return;
    this.#finQueued = true;
    this.state = this.state === "close-wait" ? "last-ack" : "fin-wait-1";
    this.#output();
  }

  /** Resets the connection. */
  abort(): void {
    if (this.state === "closed") return;
    this.#send({ flags: TcpFlag.Rst | TcpFlag.Ack, sequence: this.#sndMax });
    this.#finish();
  }

  // ------------------------------------------------------------------------------- from the client

  /** Takes a segment; its checksums have been verified. */
  receive(packet: Packet, options: TcpOptions, nowMs: number): void {
    const { flags } = packet;
    if (this.#checkTimestamps(packet, options)) return;
    const right = (packet.sequence + packet.payloadLength) | 0;
    if (flags & TcpFlag.Rst) {
      this.#onReset(packet, nowMs);
      return;
    }
    if (flags & TcpFlag.Syn) {
      if (packet.sequence === this.#irs && this.state === "syn-received") this.#sendSynAck();
      else this.#sendAck(); // a challenge, RFC 5961
      return;
    }
    if ((flags & TcpFlag.Ack) === 0) {
      this.#host.violation("a segment without ACK in an open connection");
      return;
    }
    if (seqLess(this.#rightEdge, right)) {
      this.#host.violation(
        `${seqDiff(right, this.#rightEdge)} bytes beyond the window that was advertised`,
      );
    }
    const isOld = seqLess(right, this.rcvNxt);
    if (isOld) {
      this.#sendAck();
      // An old segment may still carry a valid acknowledgement.
      if (this.state === "syn-received") return;
    }
    if (seqLess(this.#sndMax, packet.acknowledgment)) {
      this.#host.violation("an acknowledgement of what was never sent");
      return;
    }
    if (this.state === "syn-received") {
      if (packet.acknowledgment !== ((this.#iss + 1) | 0)) return;
      this.state = "established";
      this.#sndUna = packet.acknowledgment;
      this.#clearTimer();
      this.#peerWindow = packet.window << this.#sendScale;
      this.#user = this.#host.established(this, nowMs);
    }
    this.#checkSack(packet, options);
    this.#onAcknowledgment(packet, options, nowMs);
    if (!this.isClosed && !isOld) this.#onPayload(packet, nowMs);
    this.#output();
  }

  /** Whether the segment is to be ignored: older than one seen before (PAWS). */
  #checkTimestamps(packet: Packet, options: TcpOptions): boolean {
    if (!this.usesTimestamps || packet.flags & TcpFlag.Rst) return false;
    if (packet.flags & TcpFlag.Syn) return false;
    if (!options.hasTimestamps) {
      this.#host.violation("a segment without the timestamps that were agreed on");
      return false;
    }
    if (seqLess(this.#lastClientTimestampSent, options.tsecr)) {
      this.#host.violation("echoes a timestamp that was never sent");
    }
    if (seqLess(options.tsval, this.recentTimestamp)) {
      this.#sendAck();
      return true;
    }
    if (seqLessEq(packet.sequence, this.#lastAckSent)) this.recentTimestamp = options.tsval;
    return false;
  }

  /** What a client reports to have received lies behind a hole and was sent; no block comes twice. */
  #checkSack(packet: Packet, options: TcpOptions): void {
    if (options.sackCount > 0 && !this.#usesSack) this.#host.violation("SACK without agreement");
    for (let i = 0; i < options.sackCount; i++) {
      const left = options.sackLeft[i];
      const right = options.sackRight[i];
      if (
        !seqLess(packet.acknowledgment, left) || !seqLess(left, right) ||
        seqLess(this.#sndMax, right)
      ) this.#host.violation("a SACK block that reports what was not sent");
      for (let other = 0; other < i; other++) {
        if (seqLess(left, options.sackRight[other]) && seqLess(options.sackLeft[other], right)) {
          this.#host.violation("SACK blocks that overlap");
        }
      }
    }
  }

  #onReset(packet: Packet, nowMs: number): void {
    if (packet.sequence === this.rcvNxt) {
      const user = this.#user;
      this.#finish();
      user?.onReset(nowMs);
    } else if (
      seqLess(this.rcvNxt, packet.sequence) && seqLess(packet.sequence, this.#rightEdge)
    ) this.#sendAck();
  }

  #onAcknowledgment(packet: Packet, options: TcpOptions, nowMs: number): void {
    const acknowledgment = packet.acknowledgment;
    if (seqLess(acknowledgment, this.#sndUna)) return;
    const window = packet.window << this.#sendScale;
    const isUpdate = window !== this.#peerWindow;
    this.#peerWindow = window;
    if (acknowledgment === this.#sndUna) {
      const isDuplicate = packet.payloadLength === 0 && !isUpdate &&
        (packet.flags & TcpFlag.Fin) === 0 && this.#sndUna !== this.#sndMax;
      if (isDuplicate && ++this.#duplicateAcks === 3 && this.#recover === undefined) {
        this.#recover = this.#sndMax;
        this.#slowStart = Math.max(2 * this.#sendMss, seqDiff(this.#sndMax, this.#sndUna) >> 1);
        this.#congestionWindow = this.#slowStart + 3 * this.#sendMss;
        this.#sendPiece(this.#sndUna);
      } else if (isDuplicate && this.#recover !== undefined) {
        this.#congestionWindow += this.#sendMss;
      }
      return;
    }
    const acknowledged = seqDiff(acknowledgment, this.#sndUna);
    this.#sndUna = acknowledgment;
    this.#sndNxt = seqMax(this.#sndNxt, acknowledgment);
    this.#retries = 0;
    this.#backoff = 0;
    if (this.usesTimestamps && options.hasTimestamps) {
      this.#sampleRtt(seqDiff(this.#host.timestamp(nowMs), options.tsecr));
    }
    while (this.#pushes.length > 0 && seqLessEq(this.#pushes[0], acknowledgment)) {
      this.#pushes.shift();
    }
    this.#duplicateAcks = 0;
    if (this.#recover !== undefined && seqLess(acknowledgment, this.#recover)) {
      this.#sendPiece(acknowledgment); // the next hole, RFC 6582
    } else if (this.#recover !== undefined) {
      this.#recover = undefined;
      this.#congestionWindow = this.#slowStart;
    } else if (this.#congestionWindow < this.#slowStart) this.#congestionWindow += acknowledged;
    else this.#congestionWindow += Math.ceil(this.#sendMss ** 2 / this.#congestionWindow);
    this.#clearTimer();
    if (this.#sndUna !== this.#sndMax) this.#armTimer();
    if (this.#isFinAcknowledged()) this.#onFinAcknowledged();
  }

  #isFinAcknowledged(): boolean {
    return this.#finQueued && seqLess(this.#sndEnd, this.#sndUna);
  }

  #onFinAcknowledged(): void {
    if (this.state === "fin-wait-1") this.state = "fin-wait-2";
    else if (this.state === "closing") this.#timeWait();
    else if (this.state === "last-ack") this.#finish();
  }

  #onPayload(packet: Packet, nowMs: number): void {
    const { payloadLength } = packet;
    const isFin = (packet.flags & TcpFlag.Fin) !== 0;
    if (payloadLength === 0 && !isFin) return;
    const left = packet.sequence;
    const right = (left + payloadLength) | 0;
    if (payloadLength > 0 && seqLess(this.rcvNxt, right)) {
      if (this.isOrphan) {
        // Nobody will read this.
        this.#send({ flags: TcpFlag.Rst, sequence: packet.acknowledgment });
        this.#finish();
        return;
      }
      if (this.#finSequence !== undefined && seqLess(this.#finSequence, right)) {
        this.#host.violation("payload behind the FIN");
      }
    }
    if (isFin) {
      if (this.#finSequence !== undefined && this.#finSequence !== right) {
        this.#host.violation("the FIN has moved");
      }
      this.#finSequence = right;
    }
    const expected = this.rcvNxt;
    if (payloadLength > 0 && seqLess(this.rcvNxt, right)) {
      const from = packet.payloadOffset;
      this.#keep(left, packet.bytes.slice(from, from + payloadLength));
      this.#deliver();
    }
    const eof = this.#finSequence === this.rcvNxt;
    if (eof) {
      this.rcvNxt = (this.rcvNxt + 1) | 0;
      this.#onFin();
    }
    const advanced = seqDiff(this.rcvNxt, expected);
    const outOfOrder = advanced === 0 || this.#early.length > 0 ||
      advanced > payloadLength + (eof ? 1 : 0);
    this.#unacknowledgedSegments++;
    if (this.#quickAcks > 0) {
      this.#quickAcks--;
      this.#sendAck();
    } else if (
      outOfOrder || eof || seqDiff(this.rcvNxt, this.#lastAckSent) > this.#host.tcp.mss
    ) this.#sendAck();
    else {this.#ackTimer ??= this.#host.agenda.after(this.#host.tcp.delayedAckMs, () =>
        this.#sendAck());}
    if (this.#inboxBytes > 0) this.#user?.onReadable(nowMs);
    this.#tellEof();
  }

  /** Keeps the bytes not held yet. */
  #keep(left: number, bytes: Uint8Array): void {
    if (seqLess(left, this.rcvNxt)) {
      bytes = bytes.subarray(seqDiff(this.rcvNxt, left));
      left = this.rcvNxt;
    }
    const room = seqDiff(this.#rightEdge, left);
    if (bytes.length > room) bytes = bytes.subarray(0, Math.max(0, room));
    if (bytes.length === 0) return;
    let at = 0;
    while (at < this.#early.length && seqLess(this.#early[at].left, left)) at++;
    this.#early.splice(at, 0, { left, bytes });
    this.#newestEarly = left;
  }

  #deliver(): void {
    while (this.#early.length > 0 && seqLessEq(this.#early[0].left, this.rcvNxt)) {
      const { left, bytes } = this.#early.shift()!;
      const fresh = bytes.subarray(seqDiff(this.rcvNxt, left));
      if (seqDiff(this.rcvNxt, left) >= bytes.length) continue;
      this.rcvNxt = (this.rcvNxt + fresh.length) | 0;
      this.#inbox.push(fresh);
      this.#inboxBytes += fresh.length;
    }
  }

  #onFin(): void {
    switch (this.state) {
      case "established":
        this.state = "close-wait";
        break;
      case "fin-wait-1":
        if (this.#isFinAcknowledged()) this.#timeWait();
        else this.state = "closing";
        break;
      case "fin-wait-2":
        this.#timeWait();
        break;
    }
  }

  #tellEof(): void {
    if (this.#eofTold || this.#inboxBytes > 0 || this.#finSequence === undefined) return;
    if (!seqLess(this.#finSequence, this.rcvNxt)) return;
    this.#eofTold = true;
    this.#user?.onEof(this.#host.agenda.nowMs);
  }

  // ----------------------------------------------------------------------------------- sending

  #window(): number {
    const free = Math.max(0, this.#host.tcp.receiveBufferBytes - this.#inboxBytes);
    const offered = Math.min(free, 65535 << this.#receiveScale);
    // What was offered once is not taken back.
    return Math.max(offered, seqDiff(this.#rightEdge, this.rcvNxt));
  }

  #send(fields: Partial<SegmentFields> & { flags: number; sequence: number }): void {
    const nowMs = this.#host.agenda.nowMs;
    const isSyn = (fields.flags & TcpFlag.Syn) !== 0;
    const scale = isSyn ? 0 : this.#receiveScale;
    const window = Math.min(65535, this.#window() >>> scale);
    const isReset = (fields.flags & TcpFlag.Rst) !== 0;
    if (!isReset) {
      this.#rightEdge = seqMax(this.#rightEdge, (this.rcvNxt + (window << scale)) | 0);
      this.#lastWindow = window << scale;
      this.#lastAckSent = this.rcvNxt;
      this.#unacknowledgedSegments = 0;
      if (this.#ackTimer !== undefined) this.#ackTimer.cancelled = true;
      this.#ackTimer = undefined;
    }
    const stamp = this.#host.timestamp(nowMs);
    if (this.usesTimestamps && !isReset) this.#lastClientTimestampSent = stamp;
    const sack = this.#usesSack && !isSyn && !isReset ? this.#sackBlocks() : [];
    this.#host.send(buildPacket({
      source: this.#localAddress,
      sourcePort: this.#localPort,
      destination: this.remoteAddress,
      destinationPort: this.remotePort,
      acknowledgment: this.rcvNxt,
      window,
      timestamps: this.usesTimestamps && !isReset
        ? { value: stamp, echo: this.recentTimestamp }
        : undefined,
      sack,
      ...fields,
    }));
  }

  /** What lies behind a hole: the block that grew last comes first (RFC 2018 section 4). */
  #sackBlocks(): [number, number][] {
    const blocks: [number, number][] = [];
    for (const { left, bytes } of this.#early) {
      const right = (left + bytes.length) | 0;
      const last = blocks.at(-1);
      if (last !== undefined && seqLessEq(left, last[1])) last[1] = seqMax(last[1], right);
      else blocks.push([left, right]);
    }
    const newest = this.#newestEarly;
    const first = blocks.findIndex(([left, right]) =>
      seqLessEq(left, newest) && seqLess(newest, right)
    );
    if (first > 0) blocks.unshift(...blocks.splice(first, 1));
    return blocks.slice(0, 3);
  }

  #sendSynAck(): void {
    this.#send({
      flags: TcpFlag.Syn | TcpFlag.Ack,
      sequence: this.#iss,
      mss: this.#host.tcp.mss,
      windowScale: this.#scales ? this.#host.tcp.windowScale : undefined,
      sackPermitted: this.#usesSack,
    });
    this.#armTimer();
  }

  #sendAck(): void {
    if (this.state === "closed") return;
    this.#send({ flags: TcpFlag.Ack, sequence: this.#sndNxt });
  }

  #output(): void {
    if (this.state === "syn-received" || this.state === "closed") return;
    const finishes = this.#finQueued ? 1 : 0;
    const limit = (this.#sndEnd + finishes) | 0;
    while (seqLess(this.#sndNxt, limit)) {
      const inFlight = seqDiff(this.#sndNxt, this.#sndUna);
      const allowed = Math.min(this.#congestionWindow, this.#peerWindow) - inFlight;
      if (inFlight > 0 && allowed < Math.min(this.#sendMss, seqDiff(limit, this.#sndNxt))) break;
      const left = seqDiff(this.#sndEnd, this.#sndNxt);
      if (this.#host.tcp.nagle && inFlight > 0 && left < this.#sendMss && !this.#finQueued) break;
      const sent = this.#sendPiece(this.#sndNxt, Math.max(1, allowed));
      this.#sndNxt = (this.#sndNxt + sent) | 0;
      this.#sndMax = seqMax(this.#sndMax, this.#sndNxt);
    }
    if (this.#timer === undefined && this.#sndUna !== this.#sndMax) this.#armTimer();
  }

  /** Sends a packet that begins at `sequence`. Returns how much sequence space it took. */
  #sendPiece(sequence: number, allowed = this.#sendMss): number {
    const { responseBytes } = this.#host.tcp;
    const left = Math.max(0, seqDiff(this.#sndEnd, sequence));
    const most = Math.max(
      this.#sendMss,
      Math.floor(Math.min(allowed, responseBytes) / this.#sendMss) * this.#sendMss,
    );
    const length = Math.min(left, most, Math.max(allowed, 1));
    const right = (sequence + length) | 0;
    const isFin = this.#finQueued && right === this.#sndEnd;
    const isPush = this.#pushes.some((end) => seqLess(sequence, end) && seqLessEq(end, right));
    this.#send({
      flags: TcpFlag.Ack | (isPush && length > 0 ? TcpFlag.Psh : 0) | (isFin ? TcpFlag.Fin : 0),
      sequence,
      absentPayloadBytes: length,
    });
    return length + (isFin ? 1 : 0);
  }

  // --------------------------------------------------------------------------------------- time

  #sampleRtt(rttMs: number): void {
    if (rttMs < 0 || rttMs > 60_000) return;
    if (this.#smoothedMs < 0) {
      this.#smoothedMs = rttMs;
      this.#variationMs = rttMs / 2;
      return;
    }
    this.#variationMs += (Math.abs(this.#smoothedMs - rttMs) - this.#variationMs) / 4;
    this.#smoothedMs += (rttMs - this.#smoothedMs) / 8;
  }

  #rtoMs(): number {
    const base = this.#smoothedMs < 0
      ? 1000
      : Math.max(MIN_RTO_MS, this.#smoothedMs + 4 * this.#variationMs);
    return Math.min(MAX_RTO_MS, base * 2 ** this.#backoff);
  }

  #clearTimer(): void {
    if (this.#timer !== undefined) this.#timer.cancelled = true;
    this.#timer = undefined;
  }

  #armTimer(): void {
    this.#clearTimer();
    this.#timer = this.#host.agenda.after(this.#rtoMs(), () => this.#onTimeout());
  }

  #onTimeout(): void {
    this.#timer = undefined;
    if (this.state === "closed" || this.#sndUna === this.#sndMax) return;
    if (++this.#retries > MAX_RETRIES) {
      this.#finish();
      return;
    }
    this.#backoff++;
    if (this.state === "syn-received") {
      this.#sendSynAck();
      return;
    }
    this.#slowStart = Math.max(2 * this.#sendMss, seqDiff(this.#sndMax, this.#sndUna) >> 1);
    this.#congestionWindow = this.#sendMss;
    this.#recover = undefined;
    this.#duplicateAcks = 0;
    this.#sndNxt = this.#sndUna;
    this.#output();
    this.#armTimer();
  }

  #timeWait(): void {
    this.state = "time-wait";
    this.#clearTimer();
    this.#timer = this.#host.agenda.after(TIME_WAIT_MS, () => this.#finish());
  }

  /** Forgets the connection. */
  #finish(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#clearTimer();
    if (this.#ackTimer !== undefined) this.#ackTimer.cancelled = true;
    this.#host.closed(this);
  }

  /** The host gives the four-tuple to a new connection. */
  replace(): void {
    this.#finish();
  }
}
