/**
 * One run: the real session layer between a played capture, a network, a target and an intercept, all
 * in virtual time.
 */

import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { formatIpv4 } from "../../src/wire/ipv4.ts";
import { formatTcpFlags, TcpFlag } from "../../src/wire/tcp_flags.ts";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import type { Outcome } from "../../src/session/ledger.ts";
import type { Session } from "../../src/session/session.ts";
import { Gate } from "../../src/session/gate.ts";
import { Interlock, StopCause } from "../../src/session/interlock.ts";
import { SegmentWriter } from "../../src/session/segment_writer.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import type { PacketSink } from "../../src/session/sink.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import { Agenda } from "./agenda.ts";
import { type CapturedPacket, captureScript } from "./captured_stream.ts";
import { drawAttack } from "./attack.ts";
import { Intercept } from "./intercept.ts";
import { Link } from "./network.ts";
import { buildPacket } from "./packet_builder.ts";
import { Random } from "./random.ts";
import { ONLINE_PORT, type Scenario, TARGET_ADDRESS, TARGET_PORT } from "./scenario.ts";
import { Ending, type Script } from "./script.ts";
import { TargetApp } from "./target_app.ts";
import { TargetHost } from "./target_host.ts";

/** The end of one session. */
export interface SessionEnd {
  readonly clientAddress: number;
  readonly clientPort: number;
  readonly initialSequence: number;
  readonly copy: number;
  readonly outcome: Outcome;
  readonly atMs: number;
}

/** A session table that tells of every session's end. */
class ObservedTable extends SessionTable {
  readonly ends: SessionEnd[] = [];

  override ended(session: Session, outcome: Outcome, nowMs: number): void {
    super.ended(session, outcome, nowMs);
    this.ends.push({
      clientAddress: session.clientAddress,
      clientPort: session.clientWord >>> 16,
      initialSequence: session.initialSequence,
      copy: session.copy,
      outcome,
      atMs: nowMs,
    });
  }
}

/** Not zero, to find code that takes the offset for zero. */
const PACKET_AT = 64;

/** Passes finished packets on, or has no room. */
class SimulatedSink implements PacketSink {
  readonly bytes = new Uint8Array(1 << 16);
  readonly view = new DataView(this.bytes.buffer);
  readonly #unsentShare: number;
  readonly #random: Random;
  readonly #transmit: (bytes: Uint8Array) => void;

  constructor(unsentShare: number, random: Random, transmit: (bytes: Uint8Array) => void) {
    this.#unsentShare = unsentShare;
    this.#random = random;
    this.#transmit = transmit;
  }

  reserve(maxBytes: number): number {
    if (maxBytes > this.bytes.length - PACKET_AT) throw new Error("a packet of impossible length");
    if (this.#unsentShare > 0 && this.#random.chance(this.#unsentShare)) return -1;
    return PACKET_AT;
  }

  commit(lengthBytes: number): void {
    this.#transmit(this.bytes.slice(PACKET_AT, PACKET_AT + lengthBytes));
  }
}

/** What a run has come to. */
export interface RunResult {
  readonly scenario: Scenario;
  readonly table: SessionTable;
  readonly ends: readonly SessionEnd[];
  readonly app: TargetApp;
  readonly target: TargetHost;
  readonly intercept: Intercept;
  /** The packets that were handed to the session layer. */
  readonly captured: readonly CapturedPacket[];
  /** When the last of them was. */
  readonly lastCapturedMs: number;
  /** When the last session ended. */
  readonly endedMs: number;
  /** Faults seen while it ran. */
  readonly faults: string[];
  /** Most payload memory held at a time, bytes. */
  readonly peakBytes: number;
  readonly turns: number;
  /** Packets lost on the way to the target, and on the way back. */
  readonly lostThere: number;
  readonly lostBack: number;
}

/** Longest time a run may take: far above every time-out of the session layer. */
const LIMIT_MS = 600_000;
const MAX_FAULTS = 10;

/** Plays a scenario. */
export function play(scenario: Scenario, trace?: (line: string) => void): RunResult {
  return new World(scenario, trace).run();
}

class World {
  readonly #scenario: Scenario;
  readonly #trace: ((line: string) => void) | undefined;
  readonly #agenda = new Agenda();
  readonly #wheel = new TimerWheel(0);
  readonly #faults: string[] = [];
  readonly #table: ObservedTable;
  readonly #interlock: Interlock;
  readonly #app: TargetApp;
  readonly #target: TargetHost;
  readonly #intercept: Intercept;
  readonly #there: Link;
  readonly #back: Link;
  readonly #captured: CapturedPacket[];
  readonly #packet = new Packet();
  readonly #attacker: Random;
  #turnPlanned = false;
  #inbox: ((nowMs: number) => void)[] = [];
  #peakBytes = 0;
  #turns = 0;

  constructor(scenario: Scenario, trace?: (line: string) => void) {
    this.#scenario = scenario;
    this.#trace = trace;
    this.#attacker = new Random(scenario.seed ^ 0x3c6ef372);
    const random = new Random(scenario.seed ^ 0x7f4a7c15);
    const report = (text: string): void => {
      if (this.#faults.length < MAX_FAULTS) this.#faults.push(`${this.#agenda.nowMs} ms: ${text}`);
    };
    this.#captured = makeCapture(scenario, random.fork());
    this.#app = new TargetApp(
      this.#agenda,
      scenario.app,
      scenario.scripts,
      scenario.strictTurns,
      random.fork(),
      report,
    );
    this.#intercept = new Intercept(this.#agenda, scenario.tunnelMs, (packet) => {
      const copy = copyOf(packet);
      this.#toProgram((nowMs) => this.#onResponse(copy, nowMs));
    });
    this.#back = new Link(this.#agenda, scenario.back, random.fork(), (bytes) => {
      this.#intercept.receive(bytes);
    });
    this.#target = new TargetHost(
      this.#agenda,
      scenario.tcp,
      this.#app,
      {
        address: TARGET_ADDRESS,
        port: TARGET_PORT,
        mtuBytes: scenario.config.mtuBytes,
        sources: allowedSources(scenario),
      },
      random.fork(),
      (bytes) => {
        this.#note("<", bytes);
        this.#back.send(bytes);
      },
      report,
    );
    this.#there = new Link(this.#agenda, scenario.there, random.fork(), (bytes, nowMs) => {
      this.#note("  >", bytes);
      this.#target.receive(bytes, nowMs);
    });
    const sink = new SimulatedSink(scenario.unsentShare, random.fork(), (bytes) => {
      this.#note(">", bytes);
      this.#there.send(bytes);
    });
    const transfers = new TransferMap([{
      onlineAddress: undefined,
      onlinePort: ONLINE_PORT,
      targetAddress: TARGET_ADDRESS,
      targetPort: TARGET_PORT,
    }]);
    const gate = new Gate(sink, transfers);
    this.#table = new ObservedTable(
      scenario.config,
      transfers,
      gate,
      this.#wheel,
      this.#intercept,
    );
    if (scenario.isAttacked) {
      // Beside the service: whom it does not know it has not accepted.
      this.#table.evidence = { lookAgain() {}, hasConnection: () => false };
    }
    this.#interlock = this.#makeInterlock(sink, gate, transfers, report);
  }

  /** Answers are lost now and then, which is no reason to stop: only silence is, for want of routes. */
  #makeInterlock(
    sink: PacketSink,
    gate: Gate,
    transfers: TransferMap,
    report: (text: string) => void,
  ): Interlock {
    const { store, counters } = this.#table.context;
    const interlock = new Interlock(
      { probesFirst: false, maxFailures: { first: Infinity, later: Infinity } },
      gate,
      transfers,
      this.#table,
      new SegmentWriter(sink, store, counters, 0),
      {
        onStop: (_, cause) => {
          const { app, routesLostMs } = this.#scenario;
          const mayBeSilent = app.syn === "ignore" || this.#agenda.nowMs >= routesLostMs;
          if (cause !== StopCause.Silent || !mayBeSilent) {
            report(`the interlock stops the replay: cause ${cause}`);
          }
        },
        onProbing() {},
        onFailedProbe() {},
        onGo() {},
        onSilentNetwork() {},
      },
    );
    interlock.setWayBack(true, 0);
    return interlock;
  }

  #onResponse(bytes: Uint8Array, nowMs: number): void {
    const packet = parsed(this.#packet, bytes);
    if (!this.#interlock.onResponse(packet, nowMs)) this.#table.onResponse(packet, nowMs);
  }

  run(): RunResult {
    const lastCapturedMs = this.#planCapture();
    this.#planOutage();
    if (this.#scenario.routesLostMs < Infinity) {
      this.#agenda.at(this.#scenario.routesLostMs, () => {
        this.#trace?.(`${this.#agenda.nowMs} intercept loses its routes`);
        this.#intercept.loseRoutes();
      });
    }
    if (this.#scenario.abortMs < Infinity) {
      this.#agenda.at(
        this.#scenario.abortMs,
        () => this.#toProgram((nowMs) => this.#table.abortAll(nowMs)),
      );
    }
    this.#loop(() =>
      this.#table.openSessions > 0 || this.#inbox.length > 0 ||
      this.#agenda.nowMs < lastCapturedMs
    );
    const endedMs = this.#agenda.nowMs;
    if (this.#table.openSessions > 0) {
      this.#faults.push(`${this.#table.openSessions} sessions never ended`);
    }
    this.#interlock.close(endedMs);
    // What is still under way arrives, the target's time-outs pass, and ports become free again.
    const restMs = endedMs + 100_000 + this.#scenario.config.recentlyClosedMs;
    this.#loop(() => this.#agenda.nextMs() < restMs);
    this.#agenda.advance(restMs);
    this.#turn(restMs);
    // What was captured after a session's end keeps the flow in memory for another period.
    const { recentlyClosedMs, sessionTimeoutMs } = this.#scenario.config;
    this.#turn(restMs + recentlyClosedMs);
    // What proved nothing is remembered for as long as a silent session.
    this.#turn(restMs + sessionTimeoutMs);
    return {
      scenario: this.#scenario,
      table: this.#table,
      ends: this.#table.ends,
      app: this.#app,
      target: this.#target,
      intercept: this.#intercept,
      captured: this.#captured,
      lastCapturedMs,
      endedMs,
      faults: this.#faults,
      peakBytes: this.#peakBytes,
      turns: this.#turns,
      lostThere: this.#there.lost,
      lostBack: this.#back.lost,
    };
  }

  #planCapture(): number {
    const { scripts, stopMs } = this.#scenario;
    let lastMs = 0;
    for (const packet of this.#captured) {
      lastMs = packet.atMs;
      this.#plan(packet);
      if (this.#scenario.seesAnswers && packet.flags & TcpFlag.Syn) {
        this.#plan({ atMs: packet.atMs, bytes: answerTo(packet, this.#scenario) });
      }
    }
    if (this.#scenario.isAttacked) {
      for (const packet of drawAttack(this.#scenario, lastMs, this.#attacker)) this.#plan(packet);
    }
    const stops = stopMs < Infinity || scripts.some(({ ending }) => ending === Ending.Open);
    const endMs = stopMs < Infinity ? stopMs : lastMs + 1;
    if (stops) {
      this.#agenda.at(endMs, () => {
        this.#trace?.(`${this.#agenda.nowMs} the capture stops`);
        this.#toProgram(() => this.#table.stopCapture());
      });
      lastMs = Math.max(lastMs, endMs);
    }
    return lastMs;
  }

  /** Has a packet captured at its time. */
  #plan({ atMs, bytes }: { atMs: number; bytes: Uint8Array }): void {
    this.#agenda.at(atMs, () => {
      this.#note("captured", bytes);
      this.#toProgram((nowMs) => this.#table.onCaptured(parsed(this.#packet, bytes), nowMs));
    });
  }

  #planOutage(): void {
    const { outage } = this.#scenario;
    if (outage === undefined) return;
    this.#agenda.at(outage.fromMs, () => {
      this.#trace?.(`${this.#agenda.nowMs} intercept is down`);
      this.#intercept.goDown();
      this.#table.wayBackWorks = false;
      this.#interlock.setWayBack(false, this.#agenda.nowMs);
    });
    this.#agenda.at(outage.untilMs, () => {
      this.#trace?.(`${this.#agenda.nowMs} intercept is back`);
      this.#intercept.comeUp();
      this.#toProgram((nowMs) => {
        this.#table.wayBackWorks = true;
        this.#interlock.setWayBack(true, nowMs);
        for (let place = 0; place < this.#table.routePlaces; place++) {
          this.#table.visitRoute(place, (...route) => {
            this.#intercept.announce(...route);
            return true;
          });
        }
        this.#table.kickAll(nowMs);
      });
    });
  }

  /** Does something in the program's next turn. */
  #toProgram(action: (nowMs: number) => void): void {
    this.#inbox.push(action);
    if (this.#turnPlanned) return;
    this.#turnPlanned = true;
    const { turnMs } = this.#scenario;
    this.#agenda.at(Math.ceil(this.#agenda.nowMs / turnMs) * turnMs, () => {});
  }

  /** Runs while there is something to do and `wanted` says so. */
  #loop(wanted: () => boolean): void {
    const { turnMs } = this.#scenario;
    let idleTurns = 0;
    while (wanted()) {
      const timerMs = Math.ceil(this.#wheel.nextDeadlineMs() / turnMs) * turnMs;
      const nextMs = Math.min(this.#agenda.nextMs(), timerMs);
      if (nextMs === Infinity || nextMs > LIMIT_MS) return;
      const nowMs = Math.max(this.#agenda.nowMs, nextMs);
      idleTurns = nowMs === this.#agenda.nowMs ? idleTurns + 1 : 0;
      if (idleTurns > 1000) {
        this.#faults.push(`${nowMs} ms: the program spins`);
        return;
      }
      this.#agenda.advance(nowMs);
      if (nowMs % turnMs === 0) this.#turn(nowMs);
    }
  }

  /** One turn of the program's loop. */
  #turn(nowMs: number): void {
    this.#turns++;
    this.#turnPlanned = false;
    const inbox = this.#inbox;
    this.#inbox = [];
    for (const action of inbox) action(nowMs);
    this.#wheel.advance(nowMs, (slot) => this.#table.onTimer(slot));
    this.#interlock.advance(nowMs);
    this.#table.flush(nowMs);
    this.#interlock.serve(nowMs);
    this.#peakBytes = Math.max(this.#peakBytes, this.#table.payloadBytes);
  }

  #note(where: string, bytes: Uint8Array): void {
    if (this.#trace === undefined) return;
    const packet = parsed(new Packet(), bytes);
    const { sourcePort, destinationPort, sequence, acknowledgment, window } = packet;
    this.#trace(
      `${this.#agenda.nowMs} ${where} ${formatIpv4(packet.sourceAddress)}:${sourcePort} → ` +
        `${destinationPort} ${formatTcpFlags(packet.flags)} seq ${sequence >>> 0} ack ` +
        `${acknowledgment >>> 0} win ${window} len ${packet.payloadLength}`,
    );
  }
}

/** The service's SYN-ACK to a captured SYN. */
function answerTo({ script, payloadBytes }: CapturedPacket, { capture }: Scenario): Uint8Array {
  return buildPacket({
    source: capture.onlineAddress,
    sourcePort: capture.onlinePort,
    destination: script.clientAddress,
    destinationPort: script.clientPort,
    sequence: script.serverSequence,
    acknowledgment: (script.clientSequence + 1 + payloadBytes) | 0,
    flags: TcpFlag.Syn | TcpFlag.Ack,
    window: 65_535,
    mss: 1460,
    windowScale: script.windowScale < 0 ? undefined : 7,
  });
}

/** Plays all scripts and takes away what the scenario says was not captured. */
function makeCapture(scenario: Scenario, random: Random): CapturedPacket[] {
  const all: CapturedPacket[] = [];
  for (const script of scenario.scripts) {
    let packets = captureScript(script, scenario.capture, random.fork());
    if (script.id === scenario.gapScript) packets = withoutSegment(packets, random);
    if (scenario.missedPackets > 0) packets = packets.slice(scenario.missedPackets);
    all.push(...packets);
  }
  all.sort((a, b) => a.atMs - b.atMs);
  cutWhereReused(all);
  const endMs = Math.min(scenario.stopMs, scenario.abortMs);
  return all.filter(({ atMs }) => atMs < endMs);
}

/** Removes every packet that carries the first byte of one data segment. */
function withoutSegment(packets: CapturedPacket[], random: Random): CapturedPacket[] {
  const data = packets.filter(({ payloadBytes, from }) =>
    payloadBytes > 0 && from >= packets[0].payloadBytes
  );
  if (data.length === 0) return packets;
  const missing = random.pick(data).from;
  return packets.filter(({ from, payloadBytes }) =>
    missing < from || missing >= from + payloadBytes
  );
}

/** A client that comes back with a new connection sends nothing on the old one any more. */
function cutWhereReused(packets: CapturedPacket[]): void {
  const newest = new Map<number, Script>();
  let kept = 0;
  for (const packet of packets) {
    const { script } = packet;
    const key = script.clientPort;
    const current = newest.get(key);
    if (current === undefined || script.startMs > current.startMs) newest.set(key, script);
    else if (current !== script) continue;
    packets[kept++] = packet;
  }
  packets.length = kept;
}

function allowedSources(scenario: Scenario): Set<number> {
  const { clientAddresses } = scenario.config;
  return new Set(
    clientAddresses.length > 0
      ? clientAddresses
      : scenario.scripts.map(({ clientAddress }) => clientAddress),
  );
}

function parsed(packet: Packet, bytes: Uint8Array): Packet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const result = packet.parseIp(bytes, view, 0, bytes.length);
  if (result !== ParseResult.Tcp) throw new Error(`a packet does not parse: ${result}`);
  return packet;
}

function copyOf(packet: Packet): Uint8Array {
  const end = packet.payloadOffset + packet.capturedPayloadLength;
  return packet.bytes.slice(packet.ipOffset, end);
}
