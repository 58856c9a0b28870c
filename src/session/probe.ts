/**
 * A connection to a target that carries nothing, to learn where the target's answers go. Pure.
 *
 * The SYN's answer shows whether they come by way of intercept. A real client that gets them, too,
 * resets the connection; whether it has, a keep-alive tells a while later: who still knows the
 * connection acknowledges it, who does not resets it.
 */

import type { Packet } from "../wire/packet.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import { packHandshake } from "./handshake.ts";
import { NONE } from "./segment_store.ts";
import type { FourTuple, SegmentWriter } from "./segment_writer.ts";

/** What a probe has come to. */
export const ProbeResult = {
  Running: 0,
  /** The target's answers come by way of intercept, and nobody else took part. */
  Passed: 1,
  /** Nothing came. */
  NoAnswer: 2,
  /** The target refused the connection: nothing listens there. */
  Refused: 3,
  /** The target answered, and then did not know the connection any more. */
  CutOff: 4,
  /** The target answered once, and then no more. */
  Lost: 5,
} as const;
export type ProbeResult = typeof ProbeResult[keyof typeof ProbeResult];

const Step = { Opening: 0, Settling: 1, Asking: 2, Over: 3 } as const;

/** Tries of the SYN, and pauses behind them: RFC 6298. */
const SYN_TRIES = 3;
const SYN_PAUSE_MS = 1_000;
/** In which the reset of a client at the other end of the world arrives. */
const SETTLE_MS = 1_000;
/** Keep-alives; a kernel answers at most two a second (RFC 5961 section 7). */
const ASK_TRIES = 4;
const ASK_PAUSE_MS = 700;

const WINDOW = 65535;
const OFFER = packHandshake({
  mss: 1460,
  windowScale: -1,
  sackPermitted: false,
  timestamps: false,
});

/** One probe. */
export class Probe {
  result: ProbeResult = ProbeResult.Running;
  /** When `advance` wants to be called. */
  deadlineMs = 0;
  readonly tuple: FourTuple;
  readonly #writer: SegmentWriter;
  /** The sequence number of the SYN. */
  readonly #sequence: number;
  #acknowledgment = 0;
  #step: number = Step.Opening;
  #tries = 0;

  /** Nothing is sent before `advance`. */
  constructor(writer: SegmentWriter, tuple: FourTuple, sequence: number) {
    this.#writer = writer;
    this.tuple = tuple;
    this.#sequence = sequence;
  }

  /** Does what is due. */
  advance(nowMs: number): void {
    if (this.#step === Step.Over || nowMs < this.deadlineMs) return;
    if (this.#step === Step.Opening) {
      if (this.#tries === SYN_TRIES) return this.#end(ProbeResult.NoAnswer);
      this.#writer.syn(this.tuple, this.#sequence, OFFER, nowMs);
      this.deadlineMs = nowMs + (SYN_PAUSE_MS << Math.min(this.#tries++, 1));
      return;
    }
    if (this.#step === Step.Settling) {
      this.#step = Step.Asking;
      this.#tries = 0;
    }
    if (this.#tries++ === ASK_TRIES) return this.#end(ProbeResult.Lost);
    this.#acknowledge(this.#sequence, nowMs);
    this.deadlineMs = nowMs + ASK_PAUSE_MS;
  }

  /** Takes a segment of the target's. */
  onSegment(packet: Packet, nowMs: number): void {
    const { flags } = packet;
    const isReset = (flags & TcpFlag.Rst) !== 0;
    const isAck = (flags & TcpFlag.Ack) !== 0;
    if (this.#step === Step.Over) return;
    if (this.#step === Step.Opening) {
      if (!isAck || packet.acknowledgment !== ((this.#sequence + 1) | 0)) return;
      if (isReset) return this.#end(ProbeResult.Refused);
      if ((flags & TcpFlag.Syn) === 0) return;
      this.#acknowledgment = (packet.sequence + 1) | 0;
      this.#step = Step.Settling;
      this.deadlineMs = nowMs + SETTLE_MS;
      this.#acknowledge((this.#sequence + 1) | 0, nowMs);
      return;
    }
    // Who does not know a connection answers without ACK (RFC 9293 section 3.5.2); with it the
    // target itself has ended the connection, and said so by way of intercept.
    if (isReset) this.#end(isAck ? ProbeResult.Passed : ProbeResult.CutOff);
    else if ((flags & TcpFlag.Syn) !== 0) this.#acknowledge((this.#sequence + 1) | 0, nowMs);
    else if (this.#step === Step.Asking && isAck) this.#end(ProbeResult.Passed);
  }

  #acknowledge(sequence: number, nowMs: number): void {
    this.#writer.write(
      this.tuple,
      sequence,
      TcpFlag.Ack,
      this.#acknowledgment,
      WINDOW,
      false,
      0,
      null,
      -1,
      NONE,
      0,
      0,
      nowMs,
    );
  }

  /** Leaves nothing open at the target. */
  #end(result: ProbeResult): void {
    this.result = result;
    this.#step = Step.Over;
    this.deadlineMs = Infinity;
    this.#writer.reset(this.tuple, (this.#sequence + 1) | 0);
  }

  /** Gives up. */
  cancel(): void {
    if (this.#step !== Step.Over) this.#end(ProbeResult.NoAnswer);
  }
}
