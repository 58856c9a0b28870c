/**
 * Stops sending to a target whose answers do not come by way of intercept. Pure.
 *
 * Answers that go elsewhere may reach real clients. So where the replay has the clients' own addresses,
 * a target is probed before anything else is sent to it; and whatever the addresses, sending stops
 * when a target falls silent, or when somebody who is no part of them resets its connections. Then
 * it is probed at growing intervals, and sending goes on when a probe has passed. Clients' networks
 * that alone get no answer are left out but for a SYN now and then.
 */

import type { Packet } from "../wire/packet.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { Door, Gate } from "./gate.ts";
import { Probe, ProbeResult } from "./probe.ts";
import type { FourTuple, SegmentWriter } from "./segment_writer.ts";
import type { TransferMap } from "./transfer.ts";
import { UnansweredNetworks } from "./unanswered_networks.ts";

/** Why nothing is sent to a target. */
export const StopCause = {
  /** It has not been probed yet. */
  Unproved: 0,
  /** It answers nothing. */
  Silent: 1,
  /** Its connections are reset as soon as they are there, and not by itself. */
  CutOff: 2,
} as const;
export type StopCause = typeof StopCause[keyof typeof StopCause];

/** What the interlock needs of the session table. */
export interface ProbeHost {
  /** Gives a probe a source address and port as if it were this client's, and announces the route. */
  reserveFlow(
    clientAddress: number,
    clientPort: number,
    target: number,
    nowMs: number,
  ): { tuple: FourTuple; sequence: number } | undefined;
  /** The probe is over. */
  releaseFlow(tuple: FourTuple, target: number, nowMs: number): void;
  /** Whether a reset means that the target has lost a connection on which it has just answered. */
  isCutOff(reset: Packet, nowMs: number): boolean;
  /** Every session sends at once what waits for an answer. */
  kickAll(nowMs: number): void;
}

/** Told what happens; `target` is a number of the TransferMap. */
export interface InterlockListener {
  /** @param unanswered packets in a row that want an answer and got none */
  onStop(target: number, cause: StopCause, unanswered: number): void;
  /** @param clientAddress the probe's source address, int32 */
  onProbing(target: number, clientAddress: number): void;
  /** @param nextInMs when the next probe comes; Infinity: none */
  onFailedProbe(
    target: number,
    result: ProbeResult,
    clientAddress: number,
    nextInMs: number,
  ): void;
  onGo(target: number): void;
  /** A client's network is left out, because the target answers others, but not this one. */
  onSilentNetwork(target: number, clientAddress: number): void;
}

/** How careful the interlock is. */
export interface InterlockRules {
  /** Whether a target is probed before anything else is sent to it. */
  probesFirst: boolean;
  /** Probes in a row that may fail, before a target has accepted a connection and later. */
  maxFailures: { first: number; later: number };
}

/**
 * A target that has answered nothing of so many packets for so long is silent; sooner where there are
 * many. An answer that comes late opens the way again.
 */
const SILENCE_MS = 3_000;
const SILENCE_PACKETS = 6;
const BUSY_SILENCE_MS = 1_000;
const BUSY_SILENCE_PACKETS = 64;
/** Stops in a row after which a late answer is not enough: a probe must pass. */
const MAX_LATE = 3;
/** Connections cut off, at least, and for each so many that were opened at most. */
const CUT_OFF = 5;
const OPENED_PER_CUT_OFF = 2;
/** Above this many connections older ones count half. */
const REMEMBERED = 64;
/** Pauses between probes. */
const FIRST_PAUSE_MS = 2_000;
const MAX_PAUSE_MS = 60_000;

/** The pause behind the n-th failure in a row, n from 1 on. */
function pauseMs(failures: number): number {
  return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
}

function silenceMs({ door }: Way): number {
  return door.asked < BUSY_SILENCE_PACKETS ? SILENCE_MS : BUSY_SILENCE_MS;
}

class Way {
  cause: StopCause = StopCause.Unproved;
  probe: Probe | undefined;
  nextProbeAtMs = 0;
  failures = 0;
  /** Stops in a row that came soon after the way was open again. */
  relapses = 0;
  openedAtMs = -Infinity;
  /** Whether the target has ever accepted a connection. */
  hasWorked = false;
  /** Since when packets wait for an answer; Infinity: none does. */
  askedSinceMs = Infinity;
  /** Connections the target has accepted, and those that were cut off; of late. */
  opened = 0;
  cutOff = 0;

  constructor(readonly door: Door) {}
}

/** See the top of the file. */
export class Interlock {
  readonly #rules: InterlockRules;
  readonly #transfers: TransferMap;
  readonly #host: ProbeHost;
  readonly #writer: SegmentWriter;
  readonly #listener: InterlockListener;
  readonly #ways: readonly Way[];
  #wayBackWorks = false;

  /** @param writer writes past the gate */
  constructor(
    rules: InterlockRules,
    gate: Gate,
    transfers: TransferMap,
    host: ProbeHost,
    writer: SegmentWriter,
    listener: InterlockListener,
  ) {
    this.#rules = rules;
    this.#transfers = transfers;
    this.#host = host;
    this.#writer = writer;
    this.#listener = listener;
    this.#ways = gate.doors.map((door) => {
      door.isShut = rules.probesFirst;
      door.wasOpen = !rules.probesFirst;
      return new Way(door);
    });
    if (!rules.probesFirst) return;
    this.#ways.forEach(({ door }, target) => {
      door.networks = new UnansweredNetworks();
      door.networks.onSilent = (address) => listener.onSilentNetwork(target, address);
    });
  }

  /** Whether packets wait for the interlock, and nothing else is in their way. */
  get holds(): boolean {
    return this.#wayBackWorks &&
      this.#ways.some(({ door }) => door.isShut && door.clientPort !== 0);
  }

  /** Nothing more is sent: a probe that is under way is ended. */
  close(nowMs: number): void {
    this.#ways.forEach((way, target) => {
      if (way.probe !== undefined) this.#endProbe(way, target, nowMs);
      way.nextProbeAtMs = Infinity;
    });
  }

  /** Some intercept is connected, or the last one is gone. */
  setWayBack(works: boolean, nowMs: number): void {
    const isNews = works !== this.#wayBackWorks;
    this.#wayBackWorks = works;
    this.#ways.forEach((way, target) => {
      way.askedSinceMs = Infinity;
      way.door.asked = 0;
      way.door.networks?.clear();
      // Its route may be unknown by now; the next one keeps the pause.
      if (isNews && way.probe !== undefined) this.#endProbe(way, target, nowMs);
    });
  }

  /**
   * Takes a packet of a target's that came by way of intercept.
   *
   * @returns whether it answers a probe, and is no session's
   */
  onResponse(packet: Packet, nowMs: number): boolean {
    let isProbes = false;
    for (let target = 0; target < this.#ways.length; target++) {
      const way = this.#ways[target];
      if (way.probe !== undefined && this.#isFor(way.probe, packet)) {
        way.probe.onSegment(packet, nowMs);
        if (way.probe.result !== ProbeResult.Running) this.#judge(way, target, nowMs);
        isProbes = true;
      }
    }
    if (isProbes) return true;
    const { flags } = packet;
    const target = this.#targetOf(packet);
    if (target < 0) return false;
    const way = this.#ways[target];
    way.askedSinceMs = Infinity;
    way.door.asked = 0;
    way.door.networks?.onAnswer(packet.destinationAddress);
    if ((flags & (TcpFlag.Syn | TcpFlag.Rst)) === TcpFlag.Syn) this.#countOpened(way);
    else if ((flags & (TcpFlag.Rst | TcpFlag.Ack)) === TcpFlag.Rst) {
      this.#onReset(way, target, packet, nowMs);
    }
    const isLate = way.door.isShut && way.cause === StopCause.Silent;
    if (isLate && way.relapses <= MAX_LATE) this.#open(way, target, nowMs);
    return false;
  }

  /** To be called when all that is due was sent, once a turn. */
  serve(nowMs: number): void {
    for (let target = 0; target < this.#ways.length; target++) {
      const way = this.#ways[target];
      if (way.door.networks !== undefined) way.door.networks.nowMs = nowMs;
      if (way.door.asked > 0 && way.askedSinceMs === Infinity) way.askedSinceMs = nowMs;
      const isWanted = way.door.isShut && way.door.clientPort !== 0 && this.#wayBackWorks;
      if (isWanted && way.probe === undefined && nowMs >= way.nextProbeAtMs) {
        this.#startProbe(way, target, nowMs);
      }
    }
  }

  /** When `advance` wants to be called. */
  nextDeadlineMs(): number {
    let deadlineMs = Infinity;
    for (const way of this.#ways) {
      const atMs = !way.door.isShut
        ? way.askedSinceMs + silenceMs(way)
        : way.probe !== undefined
        ? way.probe.deadlineMs
        : way.door.clientPort !== 0 && this.#wayBackWorks
        ? way.nextProbeAtMs
        : Infinity;
      if (atMs < deadlineMs) deadlineMs = atMs;
    }
    return deadlineMs;
  }

  /** Does what is due; what it decides is done with the next `serve`. */
  advance(nowMs: number): void {
    for (let target = 0; target < this.#ways.length; target++) {
      const way = this.#ways[target];
      if (way.probe !== undefined) {
        way.probe.advance(nowMs);
        if (way.probe.result !== ProbeResult.Running) this.#judge(way, target, nowMs);
      } else if (!way.door.isShut && nowMs - way.askedSinceMs >= silenceMs(way)) {
        if (way.door.asked >= SILENCE_PACKETS && this.#wayBackWorks) {
          this.#stop(way, target, StopCause.Silent, nowMs);
        } else way.askedSinceMs = nowMs; // few packets: looked at again when there are more
      }
    }
  }

  #isFor({ tuple }: Probe, packet: Packet): boolean {
    // Not the target's address: it may answer from another one (SessionConfig.anyTargetAddress).
    return packet.destinationPort === tuple.localPort &&
      packet.destinationAddress === tuple.localAddress && packet.sourcePort === tuple.remotePort;
  }

  #targetOf({ sourceAddress, sourcePort }: Packet): number {
    if (this.#ways.length === 1) return 0;
    const index = this.#transfers.targetIndex(sourceAddress, sourcePort);
    if (index >= 0) return index;
    for (let target = 0; target < this.#ways.length; target++) {
      if (this.#transfers.target(target).port === sourcePort) return target;
    }
    return -1;
  }

  #countOpened(way: Way): void {
    way.hasWorked = true;
    if (++way.opened + way.cutOff <= REMEMBERED) return;
    way.opened >>= 1;
    way.cutOff >>= 1;
  }

  #onReset(way: Way, target: number, packet: Packet, nowMs: number): void {
    if (way.door.isShut || !this.#host.isCutOff(packet, nowMs)) return;
    way.cutOff++;
    if (way.cutOff < CUT_OFF || way.cutOff * OPENED_PER_CUT_OFF < way.opened) return;
    this.#stop(way, target, StopCause.CutOff, nowMs);
  }

  #stop(way: Way, target: number, cause: StopCause, nowMs: number): void {
    const unanswered = way.door.asked;
    way.cause = cause;
    way.door.isShut = true;
    way.askedSinceMs = Infinity;
    way.door.asked = 0;
    const isRelapse = nowMs - way.openedAtMs < MAX_PAUSE_MS;
    way.relapses = isRelapse ? way.relapses + 1 : 0;
    way.nextProbeAtMs = nowMs + (isRelapse ? pauseMs(way.relapses) : 0);
    this.#listener.onStop(target, cause, unanswered);
  }

  #open(way: Way, target: number, nowMs: number): void {
    if (way.probe !== undefined) this.#endProbe(way, target, nowMs);
    const { door } = way;
    door.isShut = false;
    door.wasOpen = true;
    door.clientPort = 0;
    door.asked = 0;
    door.networks?.clear();
    way.askedSinceMs = Infinity;
    way.opened = 0;
    way.cutOff = 0;
    way.failures = 0;
    way.openedAtMs = nowMs;
    this.#listener.onGo(target);
    this.#host.kickAll(nowMs);
  }

  #startProbe(way: Way, target: number, nowMs: number): void {
    const { clientAddress, clientPort } = way.door;
    const flow = this.#host.reserveFlow(clientAddress, clientPort, target, nowMs);
    if (flow === undefined) {
      way.nextProbeAtMs = nowMs + FIRST_PAUSE_MS; // every port of this client is in use
      return;
    }
    way.probe = new Probe(this.#writer, flow.tuple, flow.sequence);
    if (way.failures === 0) this.#listener.onProbing(target, flow.tuple.localAddress);
    way.probe.advance(nowMs);
  }

  #endProbe(way: Way, target: number, nowMs: number): void {
    way.probe!.cancel();
    this.#host.releaseFlow(way.probe!.tuple, target, nowMs);
    way.probe = undefined;
  }

  #judge(way: Way, target: number, nowMs: number): void {
    const { result, tuple } = way.probe!;
    this.#endProbe(way, target, nowMs);
    if (result === ProbeResult.Passed) {
      way.hasWorked = true;
      this.#open(way, target, nowMs);
      return;
    }
    const { first, later } = this.#rules.maxFailures;
    const isHopeless = ++way.failures >= (way.hasWorked ? later : first);
    way.nextProbeAtMs = isHopeless ? Infinity : nowMs + pauseMs(way.failures);
    const nextInMs = way.nextProbeAtMs - nowMs;
    this.#listener.onFailedProbe(target, result, tuple.localAddress, nextInMs);
  }
}
