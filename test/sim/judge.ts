/** Says what must hold after a run, and finds what does not. Pure. */

import { Outcome, OUTCOME_NAMES } from "../../src/session/ledger.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import type { CapturedPacket } from "./captured_stream.ts";
import type { Scenario } from "./scenario.ts";
import { Ending, type Script } from "./script.ts";
import type { Delivery } from "./target_app.ts";
import type { RunResult, SessionEnd } from "./world.ts";

/** Returns a sentence for everything that is wrong; empty when nothing is. */
export function judge(result: RunResult): string[] {
  const faults = [...result.faults];
  judgeBooks(result, faults);
  for (const script of result.scenario.scripts) judgeScript(result, script, faults);
  judgeTraffic(result, faults);
  judgeOrder(result, faults);
  judgeLag(result, faults);
  if (isIdeal(result.scenario)) judgeSpeed(result, faults);
  return faults;
}

// ------------------------------------------------------------------------------------- the books

/** Everything seen has ended, and nothing is left over. */
function judgeBooks({ scenario, table, ends, intercept }: RunResult, faults: string[]): void {
  const { ledger, context, counters } = table;
  const booked = ledger.ended.reduce((sum, count) => sum + count, 0);
  // What is shed with its SYN never becomes a session.
  const shed = scenario.theme === "little memory" ? booked - ends.length : 0;
  // Nor does what proves nothing.
  const unproven = ledger.ended[Outcome.NotJoined] + ledger.ended[Outcome.NeverAccepted];
  if (ledger.seen !== booked || ledger.open !== 0 || booked !== ends.length + shed + unproven) {
    faults.push(`${ledger.seen} sessions seen, ${booked} booked, ${ends.length} ended`);
  }
  if (table.openSessions !== 0) faults.push(`${table.openSessions} sessions are open`);
  if (table.payloadBytes !== 0) faults.push(`${table.payloadBytes} bytes of payload are held`);
  if (context.store.used !== 0) faults.push(`${context.store.used} segments are held`);
  if (intercept.announced.size !== 0) faults.push(`${intercept.announced.size} routes are left`);
  if (table.knownFlows !== 0) faults.push(`${table.knownFlows} flows are left`);
  const account = counters.acknowledgedBytes + counters.lostBytes;
  if (account !== counters.capturedBytes) {
    faults.push(
      `${counters.capturedBytes} bytes captured, but ${counters.acknowledgedBytes} acknowledged ` +
        `and ${counters.lostBytes} lost`,
    );
  }
}

// ------------------------------------------------------------------------------------ one script

/** What a script's captured packets let expect. */
interface Expectation {
  /** The part of the stream that must arrive. */
  from: number;
  upTo: number;
  /** Whether a session exists at all. */
  isSeen: boolean;
  outcomes: readonly Outcome[];
  /** How the target's application must see the end; empty: however. */
  endings: readonly Delivery["ending"][];
}

function judgeScript(result: RunResult, script: Script, faults: string[]): void {
  const { scenario } = result;
  const expected = expect(result, script);
  const ends = endsOf(result, script);
  const copies = scenario.config.copies;
  const wanted = expected.isSeen ? copies : 0;
  if (scenario.theme === "little memory" && ends.length === 0) return;
  if (ends.length !== wanted) {
    faults.push(`script ${script.id}: ${ends.length} sessions instead of ${wanted}`);
  }
  // Where much is lost, five SYNs in a row may be, or five times the same answer.
  const losesMuch = Math.max(scenario.there.lossShare, scenario.back.lossShare) > 0.05;
  const unlucky: readonly Outcome[] = [Outcome.NoAnswer, Outcome.TimedOut];
  if (losesMuch && ends.some(({ outcome }) => unlucky.includes(outcome))) return;
  for (const { outcome } of ends) {
    if (!expected.outcomes.includes(outcome)) {
      faults.push(
        `script ${script.id}: ${OUTCOME_NAMES[outcome]} instead of ` +
          expected.outcomes.map((one) => OUTCOME_NAMES[one]).join(" or "),
      );
    }
  }
  judgeDeliveries(result, script, expected, faults);
}

/** The ends of a script's sessions. */
function endsOf({ ends, captured }: RunResult, script: Script): SessionEnd[] {
  const packets = captured.filter((packet) => packet.script === script);
  const first = beginning(packets);
  if (first === undefined) return [];
  const offset = hasSyn(packets) ? 0 : 1 + first.from;
  const sequence = (script.clientSequence + offset) | 0;
  return ends.filter(({ clientPort, initialSequence }) =>
    clientPort === script.clientPort && initialSequence === sequence
  );
}

/** The packet a session begins with: what completes the handshake, or a request in mid-stream. */
function beginning(packets: readonly CapturedPacket[]): CapturedPacket | undefined {
  if (!hasSyn(packets)) return joinPacket(packets);
  const syn = packets.findIndex(({ flags }) => flags & TcpFlag.Syn);
  return packets.find(({ flags }, index) =>
    index > syn && (flags & (TcpFlag.Ack | TcpFlag.Rst | TcpFlag.Syn)) === TcpFlag.Ack
  );
}

function hasSyn(packets: readonly CapturedPacket[]): boolean {
  return packets.some(({ flags }) => flags & TcpFlag.Syn);
}

function expect(result: RunResult, script: Script): Expectation {
  const { scenario, captured } = result;
  const packets = captured.filter((packet) => packet.script === script);
  const first = beginning(packets);
  const isSeen = first !== undefined;
  const none = { from: 0, upTo: 0, isSeen, endings: [] };
  if (first === undefined) return { ...none, outcomes: [] };
  if (scenario.app.syn === "refuse") return { ...none, outcomes: [Outcome.Refused] };
  if (scenario.app.syn === "ignore") return { ...none, outcomes: [Outcome.NoAnswer] };
  const from = hasSyn(packets) ? 0 : first.from;

  const fin = packets.find(({ flags }) => flags & TcpFlag.Fin);
  let covered = from;
  for (let grows = true; grows;) {
    grows = false;
    for (const packet of packets) {
      const behind = packet.from + packet.payloadBytes + (packet.flags & TcpFlag.Fin);
      if (packet.flags & TcpFlag.Rst) continue;
      if (packet.payloadBytes === 0 && packet !== fin) continue;
      if (packet.from <= covered && behind > covered) {
        covered = behind;
        grows = true;
      }
    }
  }
  const isGap = packets.some((packet) => packet.from + packet.payloadBytes > covered);
  const outcomes: Outcome[] = isGap ? [Outcome.CaptureGap] : [Outcome.Complete, Outcome.Continued];
  if (scenario.abortMs < Infinity) outcomes.push(Outcome.OpenAtExit);
  if (scenario.theme === "little memory") outcomes.push(Outcome.Shed);
  if (scenario.app.resetAtByte > 0) outcomes.push(Outcome.ResetByTarget);
  const hasFin = covered > script.stream.length;
  const isReset = !hasFin && (isGap || packets.some(({ flags }) => flags & TcpFlag.Rst) ||
    scenario.scripts.some((later) =>
      later.clientPort === script.clientPort && later.startMs > script.startMs
    ));
  return {
    from,
    upTo: Math.min(covered, script.stream.length),
    isSeen,
    outcomes,
    endings: isReset ? ["reset"] : script.ending === Ending.FinReset ? ["eof", "reset"] : ["eof"],
  };
}

/** Where a connection can be joined that is not known from its beginning, or undefined. */
function joinPacket(packets: readonly CapturedPacket[]): CapturedPacket | undefined {
  let last: CapturedPacket | undefined;
  for (const packet of packets) {
    if (packet.flags & (TcpFlag.Fin | TcpFlag.Rst)) return undefined;
    if (packet.payloadBytes === 0) continue;
    if (last !== undefined && packet.from === last.from + last.payloadBytes) {
      if (packet.read > last.read) return packet;
    }
    last = packet;
  }
  return undefined;
}

function judgeDeliveries(
  result: RunResult,
  script: Script,
  expected: Expectation,
  faults: string[],
): void {
  const { scenario, app } = result;
  const deliveries = app.deliveries.filter((delivery) => delivery.script === script);
  if (scenario.app.resetAtByte > 0) {
    judgeAfterReset(script, expected, deliveries, faults);
    return;
  }
  const reconnects = scenario.app.answersPerConnection > 0;
  // A reset discards what an application has not read yet.
  const mayBeCut = (expected.endings.includes("reset") && scenario.app.readBytes > 0) ||
    endsOf(result, script).some(({ outcome }) =>
      outcome === Outcome.OpenAtExit || outcome === Outcome.Shed
    );
  const isWhole = (upTo: number): boolean =>
    upTo === expected.upTo || (mayBeCut && upTo < expected.upTo);
  if (expected.upTo === expected.from) {
    if (deliveries.length > 0) faults.push(`script ${script.id}: bytes from nowhere`);
    return;
  }
  const chains = reconnects ? [deliveries] : deliveries.map((one) => [one]);
  if (chains.length !== scenario.config.copies && !(mayBeCut && chains.length === 0)) {
    faults.push(`script ${script.id}: ${chains.length} connections`);
  }
  for (const chain of chains) {
    let at = expected.from;
    for (const delivery of chain) {
      // A request of which the answer was lost with the connection may have been read twice.
      const isRepeated = scenario.app.resets &&
        script.requests.some(({ start, end }) => start === delivery.from && end === at);
      if (delivery.from !== at && !isRepeated) {
        faults.push(`script ${script.id}: goes on at byte ${delivery.from} instead of ${at}`);
      }
      at = delivery.upTo;
    }
    if (!isWhole(at)) {
      faults.push(`script ${script.id}: ends at byte ${at} instead of ${expected.upTo}`);
    }
    const last = chain.at(-1);
    if (last !== undefined && !mayBeCut) judgeEnding(scenario, script, expected, last, faults);
  }
}

/** Behind a reset in the middle of a request, the session goes on with it or with the next. */
function judgeAfterReset(
  script: Script,
  expected: Expectation,
  deliveries: readonly Delivery[],
  faults: string[],
): void {
  let upTo = 0;
  for (const delivery of deliveries) {
    const cut = script.requests.find(({ end }) => end >= upTo);
    if (delivery.from !== cut?.start && delivery.from !== cut?.end) {
      faults.push(`script ${script.id}: goes on at byte ${delivery.from} after ${upTo}`);
    }
    upTo = delivery.upTo;
  }
  const isLast = script.requests.findLast(({ start }) => start < upTo)?.end === expected.upTo;
  const isCut = deliveries.at(-1)?.gaveUp === true && isLast;
  if (upTo !== expected.upTo && !isCut) {
    faults.push(`script ${script.id}: ends at byte ${upTo} instead of ${expected.upTo}`);
  }
}

function judgeEnding(
  scenario: Scenario,
  script: Script,
  expected: Expectation,
  { ending, gaveUp }: Delivery,
  faults: string[],
): void {
  if (expected.endings.length === 0 || gaveUp || expected.endings.includes(ending)) return;
  // A reset is sent once; when it is lost, nobody hears of it.
  const isLossy = scenario.there.lossShare > 0 || scenario.unsentShare > 0;
  if (ending === "none" && expected.endings.includes("reset") && isLossy) return;
  faults.push(`script ${script.id}: ended by ${ending} instead of ${expected.endings.join("/")}`);
}

// --------------------------------------------------------------------------------------- traffic

/** Whether packets between the program and the target may be lost. */
function isLossless({ there, back, unsentShare, ...scenario }: Scenario): boolean {
  return there.lossShare + back.lossShare + unsentShare === 0 && !losesAnswers(scenario);
}

/** Whether what the target says may not reach the session layer for a while. */
function losesAnswers(
  { outage, routesLostMs }: Pick<Scenario, "outage" | "routesLostMs">,
): boolean {
  return outage !== undefined || routesLostMs < Infinity;
}

/** No storm: what is sent stays in proportion to what comes in. */
function judgeTraffic(result: RunResult, faults: string[]): void {
  const { table, captured, target, scenario } = result;
  const { counters } = table;
  const segments = counters.capturedBytes / 500;
  const budget = 60 * (scenario.scripts.length * scenario.config.copies + 1) +
    scenario.config.copies * 3 * captured.length + 2 * target.sent + 3 * segments;
  if (counters.sentPackets > budget) {
    faults.push(`${counters.sentPackets} packets sent, the budget is ${Math.round(budget)}`);
  }
  // What is sent again stays in proportion to what was lost (or came late, which looks the same).
  const late = (scenario.there.lateShare + scenario.back.lateShare) * counters.sentPackets;
  const lost = result.lostThere + result.lostBack + counters.unsentPackets;
  const retransmits = 8 * scenario.scripts.length + 3 * lost + 2 * counters.timeouts + 2 * late;
  const isSelective = scenario.tcp.sack && scenario.scripts.every((script) => script.sackPermitted);
  const isPlain = isSelective && !losesAnswers(scenario) && scenario.app.readBytes === 0;
  if (counters.retransmits > retransmits && isPlain) {
    faults.push(`${counters.retransmits} retransmits after ${lost} losses`);
  }
  if (scenario.theme === "closes early" && counters.resets > 0) {
    faults.push(`${counters.resets} requests were sent to a target that had closed`);
  }
  if (isLossless(scenario) && target.liveConnections > 0) {
    faults.push(`${target.liveConnections} connections are left at the target`);
  }
  const limit = scenario.config.maxPayloadBytes;
  if (result.peakBytes > limit) faults.push(`${result.peakBytes} bytes of payload were held`);
  if (counters.sentAcks > counters.responsePackets + counters.timeouts + 5) {
    faults.push(`${counters.sentAcks} ACKs for ${counters.responsePackets} responses`);
  }
}

// ----------------------------------------------------------------------------------------- turns

/** Shares of requests that may come too early: while the target's rhythm is learned, and after. */
const MAX_EARLY_SHARE = 0.1;
const MAX_EARLY_AT_FIRST = 5;

/** Whatever the lengths, requests do not come before the answers their clients had read. */
function judgeOrder({ scenario, app }: RunResult, faults: string[]): void {
  if (scenario.theme !== "another version" || app.plan.unaskedMs > 0) return;
  if (app.early > MAX_EARLY_AT_FIRST + app.awaiting * MAX_EARLY_SHARE) {
    faults.push(`${app.early} of ${app.awaiting} requests came before the answers to wait for`);
  }
}

/** A session that is too far behind does not wait any more. */
function judgeLag({ scenario, table }: RunResult, faults: string[]): void {
  const { lagBoundMs, there, back, tunnelMs, turnMs, app } = scenario;
  const tripMs = there.delayMs + back.delayMs + tunnelMs + turnMs;
  const slackMs = 2 * tripMs + 2 * turnMs + app.greetingMs;
  if (table.delays.maxMs > lagBoundMs + slackMs) {
    faults.push(`a request was ${table.delays.maxMs} ms behind its capture, not ${lagBoundMs}`);
  }
}

// ----------------------------------------------------------------------------------------- speed

/** Whether nothing in the scenario gives a reason to wait or to send anything twice. */
function isIdeal({ theme, app, there, back, tcp }: Scenario): boolean {
  const lossless = there.lossShare + there.copyShare + there.lateShare + back.lossShare +
      back.copyShare + back.lateShare === 0;
  return lossless && (theme === "clean" || theme === "disturbed capture") &&
    app.serviceMs === 0 && app.readBytes === 0 && tcp.receiveBufferBytes >= 60_000;
}

/** Rounds a slow start from ten segments needs for so many bytes. */
function rounds(bytes: number, mss: number): number {
  return 1 + Math.max(0, Math.ceil(Math.log2(bytes / (10 * (mss - 12)))));
}

function judgeSpeed(result: RunResult, faults: string[]): void {
  const { table: { counters }, scenario } = result;
  for (
    const name of [
      "timeouts",
      "retransmits",
      "reconnects",
      "resets",
      "otherLengths",
      "unanswered",
    ] as const
  ) {
    // A hole in the capture lets the last segment wait: it may be sent again as a probe.
    if (name === "retransmits" && scenario.theme === "disturbed capture") continue;
    // Where clients go on before having read everything, the lengths do not always tell.
    const isSilent = name === "otherLengths" || name === "unanswered";
    if (isSilent && scenario.scripts.some(({ pace }) => pace !== "ping-pong")) continue;
    if (counters[name] !== 0) faults.push(`${counters[name]} ${name} without a reason`);
  }
  for (const script of scenario.scripts) {
    // Where clients go on before having read everything, the lengths do not always tell at once.
    const isPlain = script.pace === "ping-pong" ||
      (script.pace === "pipelined" && counters.otherLengths === 0 &&
        script.requests.every(({ onlineBytes }) => onlineBytes > 0));
    if (isPlain) judgeTurns(result, script, faults);
  }
}

/** Every turn reaches the target as soon as it can. */
function judgeTurns(result: RunResult, script: Script, faults: string[]): void {
  const { app, captured, scenario: { there, back, tunnelMs, turnMs, tcp, config } } = result;
  const times = app.times(script);
  const tripMs = there.delayMs + back.delayMs + tunnelMs + turnMs;
  const mss = Math.min(tcp.mss, script.mss, config.mssBytes);
  const capturedMs = firstCaptured(captured, script);
  const opening = beginning(captured.filter((packet) => packet.script === script))!;
  for (const request of script.requests) {
    const previous = script.requests[request.index - 1];
    if (previous !== undefined && previous.requires === request.requires) continue;
    const answers = script.requests.slice(0, request.index)
      .filter(({ requires }) => previous !== undefined && requires === previous.requires)
      .reduce((sum, { targetBytes }) => sum + targetBytes, 0);
    const answeredMs = previous === undefined
      ? opening.atMs + tripMs + app.plan.greetingMs
      : times[previous.index].answeredMs;
    const readyMs = Math.max(capturedMs[request.index], answeredMs);
    const limitMs = readyMs + tripMs * (1 + rounds(answers, mss)) + 2 * turnMs + 3;
    const { firstByteMs } = times[request.index];
    if (firstByteMs > limitMs) {
      faults.push(
        `script ${script.id}: request ${request.index} came at ${firstByteMs} ms, ` +
          `it could have come by ${limitMs} ms`,
      );
      return;
    }
  }
}

/** When the first byte of each request was captured, and everything before it. */
function firstCaptured(captured: readonly CapturedPacket[], script: Script): number[] {
  const data = captured.filter((packet) => packet.script === script && packet.payloadBytes > 0);
  const when: number[] = [];
  let at = 0;
  for (const { start } of script.requests) {
    // The earliest time at which every byte up to this one had come.
    let upTo = 0;
    for (let grows = true; grows && upTo <= start;) {
      grows = false;
      let best: CapturedPacket | undefined;
      for (const packet of data) {
        if (packet.from > upTo || packet.from + packet.payloadBytes <= upTo) continue;
        if (best === undefined || packet.atMs < best.atMs) best = packet;
      }
      if (best !== undefined) {
        at = Math.max(at, best.atMs);
        upTo = best.from + best.payloadBytes;
        grows = true;
      }
    }
    when.push(at);
  }
  return when;
}
