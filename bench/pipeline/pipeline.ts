/**
 * A whole replay without a network, in virtual time: packets come from a capture file or a caller,
 * the target answers in the same turn, and every stage's share of the time is taken by the turn.
 */

import { PcapFileReader } from "../../src/capture/pcap_file.ts";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../../src/session/config.ts";
import { Gate } from "../../src/session/gate.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import { RECORD_BYTES, ResponseDecoder } from "../../src/tunnel/codec.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { writeTcpChecksumIpv4 } from "../../src/wire/tcp.ts";
import { NullSink, Target } from "./target.ts";
import { ONLINE_ADDRESS, SERVICE_PORT, TARGET_ADDRESS } from "./traffic.ts";

/** Packets handed over per turn, as a busy loop finds them. */
const PACKETS_PER_TURN = 256;
/** Long enough for everything that is remembered of ended connections to be forgotten. */
const BETWEEN_PASSES_MS = 20_000;
const MEMORY_BYTES = 4 << 20;
/** One turn in so many has its checksums computed once more, apart. */
const CHECKSUM_EVERY = 8;

/** Where the time of a turn goes. */
export const Stage = { Captured: 0, Serve: 1, Target: 2, Responses: 3, Acknowledge: 4 } as const;

export class Pipeline {
  readonly table: SessionTable;
  readonly sink = new NullSink(MEMORY_BYTES);
  readonly target = new Target(MEMORY_BYTES);
  /** Virtual time, ms; a turn takes one. */
  nowMs = 1;
  /** Packets taken, and sent. */
  captured = 0;
  sent = 0;
  /** Time by Stage, ms; only `turn` counts it. */
  readonly stageMs = new Float64Array(5);
  /** Time and packets of the checksums computed apart. */
  checksumMs = 0;
  checksums = 0;
  #turns = 0;
  readonly #wheel = new TimerWheel(0, 4096);
  readonly #packet = new Packet();
  readonly #decoder: ResponseDecoder;
  readonly #fire = (slot: number): void => this.table.onTimer(slot);

  constructor(config: Partial<SessionConfig> = {}) {
    const transfers = new TransferMap([{
      onlineAddress: ONLINE_ADDRESS,
      onlinePort: SERVICE_PORT,
      targetAddress: TARGET_ADDRESS,
      targetPort: SERVICE_PORT,
    }]);
    this.table = new SessionTable(
      { ...DEFAULT_SESSION_CONFIG, ...config },
      transfers,
      new Gate(this.sink, transfers),
      this.#wheel,
      { announce() {}, forget() {} },
    );
    const { table } = this;
    const packet = this.#packet;
    this.#decoder = new ResponseDecoder("combined", RECORD_BYTES, (bytes, view, offset, length) => {
      if (packet.parseIp(bytes, view, offset, length) === ParseResult.Tcp) {
        table.onResponse(packet, this.nowMs);
      }
    });
  }

  /** Takes one captured raw IPv4 packet. */
  take(linkType: number, bytes: Uint8Array, view: DataView, offset: number, length: number): void {
    const packet = this.#packet;
    if (packet.parse(linkType, bytes, view, offset, length) !== ParseResult.Tcp) return;
    this.captured++;
    this.table.onCaptured(packet, this.nowMs);
  }

  /** Plays one turn of a file. Returns false when the file has ended. */
  turn(file: PcapFileReader): boolean {
    const { stageMs } = this;
    const start = performance.now();
    let more = true;
    for (let i = 0; i < PACKETS_PER_TURN; i++) {
      more = file.next();
      if (!more) break;
      this.take(file.linkType, file.bytes, file.view, file.offset, file.capturedLength);
    }
    const captured = performance.now();
    this.serve();
    const served = performance.now();
    if (this.#turns++ % CHECKSUM_EVERY === 0) this.#timeChecksums();
    const sent = performance.now();
    this.answer();
    const answered = performance.now();
    this.respond();
    const responded = performance.now();
    this.serve();
    const acknowledged = performance.now();
    stageMs[Stage.Captured] += captured - start;
    stageMs[Stage.Serve] += served - captured;
    stageMs[Stage.Target] += answered - sent;
    stageMs[Stage.Responses] += responded - answered;
    stageMs[Stage.Acknowledge] += acknowledged - responded;
    this.finishTurn();
    return more;
  }

  /** A turn without captured packets: time passes and what is due happens. */
  idleTurn(stepMs = 1): void {
    this.nowMs += stepMs - 1;
    this.serve();
    this.answer();
    this.respond();
    this.serve();
    this.finishTurn();
  }

  /** After a pass: lets every session end, and forgets the connections. */
  settle(): void {
    for (let i = 0; i < 1000 && this.table.openSessions > 0; i++) this.idleTurn(100);
    if (this.table.openSessions > 0 || this.target.lost > 0) {
      throw new Error(
        `expected every session to end and no answer to be lost, but ${this.table.openSessions} ` +
          `sessions are open and ${this.target.lost} answers were lost`,
      );
    }
    this.idleTurn(BETWEEN_PASSES_MS);
    this.idleTurn(BETWEEN_PASSES_MS);
    this.table.startOver();
  }

  serve(): void {
    this.#wheel.advance(this.nowMs, this.#fire);
    this.table.flush(this.nowMs);
  }

  answer(): void {
    this.sent += this.target.receive(this.sink);
    this.sink.clear();
  }

  respond(): void {
    const { encoder, bytes, view } = this.target;
    this.#decoder.feed(bytes, view, encoder.start, encoder.pendingBytes);
    if (this.#decoder.error !== "") throw new Error(this.#decoder.error);
    encoder.clear();
  }

  /** Answers what the second serving sent, which arrives in the next turn, and moves time on. */
  finishTurn(): void {
    this.answer();
    this.respond();
    this.nowMs++;
  }

  #timeChecksums(): void {
    const { bytes, view, end } = this.sink;
    const start = performance.now();
    for (let at = 0; at < end;) {
      const total = view.getUint16(at + 2);
      writeTcpChecksumIpv4(bytes, view, at, at + 20, total - 20);
      this.checksums++;
      at += total;
    }
    this.checksumMs += performance.now() - start;
  }
}
