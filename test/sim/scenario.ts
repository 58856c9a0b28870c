/**
 * Draws from a seed what a run is about. Pure.
 *
 * A run has one theme, so that what must come out of it can be said: faults of the capture, of the
 * network and of the target are mixed only where the expectation stays sharp.
 */

import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../../src/session/config.ts";
import type { CaptureConditions } from "./captured_stream.ts";
import type { LinkConditions } from "./network.ts";
import { Random } from "./random.ts";
import { Ending, makeScript, type Pace, type Script } from "./script.ts";
import type { AppPlan } from "./target_app.ts";
import type { TargetTcp } from "./target_connection.ts";

/** What a run is about. */
export type Theme =
  | "clean"
  | "disturbed capture"
  | "lossy network"
  | "slow target"
  | "other lengths"
  | "another version"
  | "lags behind"
  | "closes early"
  | "resets early"
  | "resets midway"
  | "little memory"
  | "told to stop"
  | "refuses"
  | "silent"
  | "capture gap"
  | "mid-stream"
  | "capture stops"
  | "outage"
  | "reuse"
  | "copies"
  | "hostile"
  | "everything";

export interface Scenario {
  readonly seed: number;
  readonly theme: Theme;
  readonly scripts: readonly Script[];
  readonly capture: CaptureConditions;
  /** tcpcopy to target, and target to intercept. */
  readonly there: LinkConditions;
  readonly back: LinkConditions;
  readonly tunnelMs: number;
  /** The program serves its sessions at multiples of this. */
  readonly turnMs: number;
  readonly tcp: TargetTcp;
  readonly app: AppPlan;
  readonly config: SessionConfig;
  /** Share of packets for which the injector's queue has no room. */
  readonly unsentShare: number;
  /** Whether a request may never come before its client's answers have been written. */
  readonly strictTurns: boolean;
  /** How far a request may be behind its capture at the most; Infinity: however far. */
  readonly lagBoundMs: number;
  /** Whether the service's SYN-ACKs are captured too. */
  readonly seesAnswers: boolean;
  /** Whether somebody makes up packets. */
  readonly isAttacked: boolean;
  /** Script of which a data segment is missing in the capture, by id. */
  readonly gapScript: number | undefined;
  /** How many of each script's first packets were not captured. */
  readonly missedPackets: number;
  /** When the capture ends; Infinity: with the last packet. */
  readonly stopMs: number;
  readonly outage: { fromMs: number; untilMs: number } | undefined;
  /** When intercept loses all routes without a word; Infinity: never. */
  readonly routesLostMs: number;
  /** When the program ends all sessions. */
  readonly abortMs: number;
}

const ONLINE_ADDRESS = 0xc6120101 | 0; // 198.18.1.1
const CLIENT_NETWORK = 0xc6130000 | 0; // 198.19.0.0
/** Where the run sends to. */
export const TARGET_ADDRESS = 0xc6120201 | 0; // 198.18.2.1
export const TARGET_PORT = 8080;
export const ONLINE_PORT = 80;

export const THEMES: readonly [Theme, number][] = [
  ["clean", 14],
  ["disturbed capture", 10],
  ["lossy network", 14],
  ["slow target", 6],
  ["other lengths", 6],
  ["another version", 6],
  ["lags behind", 3],
  ["closes early", 6],
  ["resets early", 4],
  ["resets midway", 4],
  ["little memory", 1],
  ["told to stop", 2],
  ["refuses", 2],
  ["silent", 1],
  ["capture gap", 6],
  ["mid-stream", 6],
  ["capture stops", 5],
  ["outage", 5],
  ["reuse", 8],
  ["copies", 4],
  ["hostile", 8],
  ["everything", 10],
];

/** Draws the scenario of a seed. */
export function makeScenario(seed: number, wanted?: Theme): Scenario {
  const random = new Random(seed);
  const drawn = drawTheme(random);
  const theme = wanted ?? drawn;
  const is = (...themes: Theme[]): boolean => themes.includes(theme);
  const isOther = is("another version", "lags behind");
  const isLossy = is("lossy network") ||
    (is("everything", "outage", "reuse", "slow target", "told to stop") && random.chance(0.5));
  const isDisturbed = is("disturbed capture") ||
    (is("everything", "capture gap", "lossy network", "reuse", "capture stops") &&
      random.chance(0.5));
  const mayGreet = !is("mid-stream", "closes early", "resets early", "resets midway");
  const greetingBytes = random.chance(0.15) && mayGreet ? random.int(1, 200) : 0;
  const app = drawApp(random, theme, greetingBytes);
  const lengths = is("other lengths") || isOther || (is("everything") && random.chance(0.3))
    ? random.pick(["shorter", "longer", "mixed"] as const)
    : "equal" as const;
  const pace = drawPace(random, theme, lengths !== "equal");
  const scripts = drawScripts(random, theme, pace, lengths, greetingBytes);
  const there = drawLink(random, isLossy);
  const back = drawLink(random, isLossy);
  // An answer that pauses may look finished, and so may the first of several.
  const pauses = app.parts > 1 && app.pauseMs >= 20;
  const isPrompt = app.serviceMs < 20 && app.readBytes === 0;
  // So may one of which the rest is lost again and again.
  const losesMuch = Math.max(there.lossShare, back.lossShare) > 0.01;
  const loses = (isLossy || is("outage")) &&
    (losesMuch || pace !== "ping-pong" || app.parts > 1 || lengths !== "equal");
  const strictTurns = loses || isOther
    ? false
    : lengths === "equal"
    ? !pauses && (pace === "ping-pong" || isPrompt)
    : app.parts === 1;
  const config = drawConfig(random, theme, seed);
  return {
    seed,
    theme,
    scripts,
    capture: {
      onlineAddress: ONLINE_ADDRESS,
      onlinePort: ONLINE_PORT,
      delayMs: random.pick([0, 1, 5, 20]),
      lossShare: isDisturbed ? random.pick([0, 0.02, 0.1]) : 0,
      copyShare: isDisturbed ? random.pick([0, 0.05, 0.3]) : 0,
      jitterMs: isDisturbed ? random.pick([0, 3]) : 0,
      offload: random.chance(0.4),
    },
    there,
    back,
    tunnelMs: random.pick([0, 0, 1, 2]),
    turnMs: random.pick(isOther ? [1, 1, 5] : [1, 1, 1, 1, 5, 60]),
    tcp: drawTcp(random, theme),
    app,
    config,
    unsentShare: isLossy && random.chance(0.2) ? 0.02 : 0,
    strictTurns,
    lagBoundMs: config.maxLagMs > 0 ? config.maxLagMs : Infinity,
    seesAnswers: is("hostile") || (seed & 1) === 0,
    isAttacked: is("hostile"),
    gapScript: is("capture gap") ? random.pick(scripts).id : undefined,
    missedPackets: is("mid-stream") ? random.int(1, 12) : 0,
    stopMs: is("capture stops") ? random.int(5, 1500) : Infinity,
    ...(is("outage") ? drawOutage(random) : { outage: undefined, routesLostMs: Infinity }),
    abortMs: is("told to stop") ? random.int(5, 1000) : Infinity,
  };
}

function drawTheme(random: Random): Theme {
  let at = random.next() * THEMES.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [theme, weight] of THEMES) {
    at -= weight;
    if (at < 0) return theme;
  }
  return "clean";
}

function drawPace(random: Random, theme: Theme, differs: boolean): Pace {
  if (theme === "another version" || theme === "lags behind") return "ping-pong";
  const alone: Theme[] = ["mid-stream", "closes early", "resets early", "resets midway"];
  if (differs || alone.includes(theme)) return "ping-pong";
  return random.pick(["ping-pong", "ping-pong", "pipelined", "overlapping"] as const);
}

function drawLink(random: Random, isLossy: boolean): LinkConditions {
  return {
    delayMs: random.pick([0, 0, 1, 3, 20, 120]),
    lossShare: isLossy ? random.pick([0, 0.01, 0.05, 0.1]) : 0,
    copyShare: isLossy ? random.pick([0, 0, 0.05]) : 0,
    lateShare: isLossy ? random.pick([0, 0, 0.1]) : 0,
    lateMs: random.pick([2, 10]),
  };
}

function drawTcp(random: Random, theme: Theme): TargetTcp {
  const mss = random.pick([1460, 1460, 1460, 1400, 536]);
  return {
    mss,
    windowScale: random.pick([-1, 0, 7, 7]),
    timestamps: random.chance(0.8),
    sack: random.chance(0.8),
    receiveBufferBytes: theme === "slow target"
      ? random.pick([2000, 8000, 30000])
      : random.pick([60000, 250000]),
    delayedAckMs: random.pick([20, 40, 40]),
    quickAcks: random.pick([0, 0, 16]),
    responseBytes: random.pick([mss, mss, 16 * mss]),
    nagle: random.chance(0.3),
  };
}

function drawApp(random: Random, theme: Theme, greetingBytes: number): AppPlan {
  const everything = theme === "everything";
  if (theme === "another version" || theme === "lags behind") {
    return drawOtherVersion(random, theme, greetingBytes);
  }
  const isSlow = theme === "slow target" || (everything && random.chance(0.3));
  return {
    syn: theme === "refuses" ? "refuse" : theme === "silent" ? "ignore" : "accept",
    greetingBytes,
    greetingMs: random.pick([0, 0, 30, 200]),
    serviceMs: isSlow ? random.pick([5, 50, 700]) : random.pick([0, 0, 0, 10]),
    parts: isSlow ? random.pick([1, 1, 3]) : random.pick([1, 1, 2]),
    pauseMs: isSlow ? random.pick([1, 10, 300]) : 0,
    answersPerConnection: theme === "closes early" || theme === "resets early"
      ? random.int(1, 4)
      : 0,
    resets: theme === "resets early",
    resetAtByte: theme === "resets midway" ? random.size(1, 10_000) : 0,
    readBytes: theme === "little memory"
      ? 10_000
      : isSlow && random.chance(theme === "slow target" ? 0.7 : 0.4)
      ? random.pick([1000, 5000, 30_000])
      : 0,
    readPauseMs: isSlow ? random.pick([1, 5, 20, 300]) : random.pick([1, 5, 20]),
    ignoresEof: false,
    unaskedMs: 0,
  };
}

/** A target that answers in its own way: in pieces, at other times, unasked; or very slowly. */
function drawOtherVersion(random: Random, theme: Theme, greetingBytes: number): AppPlan {
  const lags = theme === "lags behind";
  return {
    syn: "accept",
    greetingBytes,
    greetingMs: random.pick([0, 30]),
    serviceMs: lags ? random.pick([300, 1000]) : random.pick([0, 0, 10, 20]),
    parts: random.pick([1, 1, 3, 5]),
    pauseMs: random.pick([0, 5, 20]),
    answersPerConnection: 0,
    resets: false,
    resetAtByte: 0,
    readBytes: 0,
    readPauseMs: 1,
    ignoresEof: false,
    unaskedMs: !lags && random.chance(0.2) ? random.pick([100, 500]) : 0,
  };
}

function drawScripts(
  random: Random,
  theme: Theme,
  pace: Pace,
  lengths: "equal" | "shorter" | "longer" | "mixed",
  greetingBytes: number,
): Script[] {
  const isOther = theme === "another version" || theme === "lags behind";
  const count = isOther ? random.int(8, 16) : random.int(1, 4);
  const isReuse = theme === "reuse";
  const recognisable = ["mid-stream", "closes early", "resets early", "resets midway"]
    .includes(theme);
  const big = random.chance(0.12);
  const givesUp = recognisable && theme !== "mid-stream";
  const scripts: Script[] = [];
  const sequences = new Map<number, number>();
  let reuseMs = 0;
  for (let id = 0; id < count; id++) {
    const who = isReuse ? 0 : id;
    const requestCount = isOther
      ? random.int(8, 40)
      : random.chance(0.04) && theme !== "mid-stream"
      ? 0
      : random.size(1, 12);
    // A client's next connection from the same port begins at a newer sequence number.
    const sequence = sequences.get(who) ?? random.int32();
    sequences.set(who, (sequence + random.int(1_000_000, 500_000_000)) | 0);
    scripts.push(makeScript(random.fork(), {
      id,
      clientAddress: (CLIENT_NETWORK + 1 + who) | 0,
      clientPort: 40000 + who,
      clientSequence: sequence,
      startMs: isReuse ? reuseMs += random.pick([30, 300, 7000]) : random.int(0, 50),
      pace,
      ending: drawEnding(random, theme, requestCount),
      requestCount,
      maxRequestBytes: theme === "little memory"
        ? 400_000
        : theme === "slow target" && random.chance(0.5)
        ? 60_000
        : big
        ? 150_000
        : random.pick([100, 1000, 1000, 5000, 20000]),
      maxAnswerBytes: big ? 200_000 : random.pick([100, 1000, 1000, 5000, 20000]),
      // Pieces of very small answers are as long as answers by chance.
      minAnswerBytes: isOther ? 50 : 1,
      greetingBytes,
      thinkMs: random.pick([0, 0, 5, 100]),
      fastOpen: random.chance(0.05) && theme !== "mid-stream" && greetingBytes === 0,
      lengths,
      recognisable,
      // Without an answer to wait for, two requests are one turn, and a turn is not divided.
      silentRequests: random.chance(0.15) && pace !== "overlapping" && !givesUp,
      unansweredShare: isOther && random.chance(0.3) ? 0.02 : 0,
    }));
  }
  return scripts;
}

function drawEnding(random: Random, theme: Theme, requestCount: number): Ending {
  if (theme === "capture stops" && random.chance(0.4)) return Ending.Open;
  if (requestCount === 0) return Ending.ClientFin;
  return random.pick([
    Ending.ClientFin,
    Ending.ClientFin,
    Ending.HalfClose,
    Ending.ServerFin,
    Ending.Reset,
    Ending.FinReset,
  ]);
}

function drawConfig(random: Random, theme: Theme, seed: number): SessionConfig {
  const config: SessionConfig = {
    ...DEFAULT_SESSION_CONFIG,
    mtuBytes: random.pick([1500, 1500, 1400]),
    mssBytes: random.pick([1460, 1460, 1200]),
    maxPayloadBytes: theme === "little memory" ? 1 << 20 : 16 << 20,
    sessionTimeoutMs: 120_000,
    maxLagMs: 0,
    answerTimeoutMs: 60_000,
    clockOffsetMs: random.int(0, 2_000_000_000),
    secret: seed,
  };
  if (theme === "lags behind") config.maxLagMs = random.pick([500, 2000]);
  if (theme === "another version") config.answerTimeoutMs = 5000;
  if (theme === "copies") {
    config.copies = random.int(1, 3);
    if (random.chance(0.7)) {
      config.clientAddresses = Int32Array.from(
        { length: random.int(1, 3) },
        (_, i) => (CLIENT_NETWORK + 0x100 + i) | 0,
      );
    }
  }
  return config;
}

/** Intercept is down for a while, or loses its routes without being down. */
function drawOutage(random: Random): Pick<Scenario, "outage" | "routesLostMs"> {
  const fromMs = random.int(0, 300);
  const untilMs = fromMs + random.pick([5, 100, 1000, 8000, 30000]);
  return random.chance(0.6)
    ? { outage: { fromMs, untilMs }, routesLostMs: Infinity }
    : { outage: undefined, routesLostMs: fromMs };
}
