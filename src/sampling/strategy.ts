/**
 * When to sample, as an operator says it: the strategy of Layotto's `tcpcopy` filter. Pure.
 *
 * There are two of them: the application's, and a global one that can override it for all
 * applications of an operator. What holds for both at a moment is `effectiveStrategy`.
 */

import { unknownName } from "../closest.ts";

/** What a switch can say; only the global one knows FORCE_OFF. */
export type SwitchState = "ON" | "OFF" | "FORCE_OFF";

/** One strategy, checked. */
export interface Strategy {
  readonly switch: SwitchState;
  /** From the end of a window to the beginning of the next, s. */
  readonly intervalS: number;
  /** How long a window is open, s; less than the interval. */
  readonly durationS: number;
  /** No sampling while the system's CPU is this busy, percent, 0..100 exclusive. */
  readonly cpuMaxPercent: number;
  /** No sampling while so much of the system's memory is in use, percent, 0..100 exclusive. */
  readonly memMaxPercent: number;
}

/** Whose strategy it is. */
export type StrategyLevel = "app" | "global";

/** How strictly a strategy is read. */
export interface StrategyRules {
  /** The lower bound of the interval, if it was lifted, s. */
  minIntervalS?: number;
  /** Nothing may be left out: Layotto takes a number that is missing for 0, and refuses that. */
  needsAll?: boolean;
}

/** What holds at a moment. */
export interface EffectiveStrategy extends Omit<Strategy, "switch"> {
  readonly isOn: boolean;
}

/** Bounds of the interval, s; the lower one can be lifted. */
export const MIN_INTERVAL_S = 30;
export const MAX_INTERVAL_S = 3600;

/** What holds before anybody has said anything, and for values left out. */
export const DEFAULT_STRATEGY: Strategy = {
  switch: "OFF",
  intervalS: MIN_INTERVAL_S,
  durationS: 1,
  cpuMaxPercent: 80,
  memMaxPercent: 70,
};

/** A strategy that cannot be used; the message says what was expected and what came. */
export class StrategyError extends Error {
  override readonly name = "StrategyError";
}

const SWITCHES: Record<StrategyLevel, readonly string[]> = {
  app: ["ON", "OFF"],
  global: ["ON", "OFF", "FORCE_OFF"],
};
const SECONDS = "a whole number of seconds";
const PERCENT = "a percentage above 0 and below 100";

/**
 * Checks a strategy as it stands in a JSON document: an object with `switch`, `interval`,
 * `duration`, `cpu_max_rate` and `mem_max_rate`, and nothing else. Names are taken in upper and lower
 * case; a number left out has its default, the switch must be there.
 *
 * @throws StrategyError
 */
export function parseStrategy(
  value: unknown,
  level: StrategyLevel,
  rules: StrategyRules = {},
): Strategy {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new StrategyError(`expected an object with "switch", came ${shown(value)}`);
  }
  const known = Object.keys(strategyJson(DEFAULT_STRATEGY));
  const fields: Fields = new Map(Object.entries(value).map(([name, v]) => [name.toLowerCase(), v]));
  for (const name of fields.keys()) {
    const refusal = unknownName(name, known);
    if (refusal !== undefined) throw new StrategyError(refusal);
  }
  const missing = known.find((name) => !fields.has(name));
  if (missing !== undefined && (rules.needsAll || missing === "switch")) {
    throw new StrategyError(`${missing}: expected ${expected(missing, level)}, came nothing`);
  }
  const state = fields.get("switch");
  if (typeof state !== "string" || !SWITCHES[level].includes(state)) {
    throw new StrategyError(`switch: expected ${expected("switch", level)}, came ${shown(state)}`);
  }
  const intervalS = seconds(fields, "interval", DEFAULT_STRATEGY.intervalS);
  const lowestS = Math.min(rules.minIntervalS ?? MIN_INTERVAL_S, MIN_INTERVAL_S);
  if (intervalS < lowestS || intervalS > MAX_INTERVAL_S) {
    const advice = intervalS < lowestS ? " (--min-interval allows shorter ones)" : "";
    throw new StrategyError(
      `interval: expected ${lowestS} to ${MAX_INTERVAL_S} seconds${advice}, came ${intervalS}`,
    );
  }
  const durationS = seconds(fields, "duration", DEFAULT_STRATEGY.durationS);
  if (durationS <= 0 || durationS >= intervalS) {
    throw new StrategyError(
      `duration: expected more than 0 and less than the interval of ${intervalS} seconds, ` +
        `came ${durationS}`,
    );
  }
  return {
    switch: state as SwitchState,
    intervalS,
    durationS,
    cpuMaxPercent: rate(fields, "cpu_max_rate", DEFAULT_STRATEGY.cpuMaxPercent),
    memMaxPercent: rate(fields, "mem_max_rate", DEFAULT_STRATEGY.memMaxPercent),
  };
}

/**
 * What holds: FORCE_OFF wins over all; an application that is ON has its own values; one that is OFF
 * follows the global switch and has the global values.
 */
export function effectiveStrategy(app: Strategy, global: Strategy): EffectiveStrategy {
  if (global.switch === "FORCE_OFF") {
    return { ...DEFAULT_STRATEGY, intervalS: MAX_INTERVAL_S, isOn: false };
  }
  if (app.switch === "ON") return { ...app, isOn: true };
  return { ...global, isOn: global.switch === "ON" };
}

/** A strategy as it stands in a JSON document. */
export function strategyJson(strategy: Strategy): Record<string, string | number> {
  return {
    switch: strategy.switch,
    interval: strategy.intervalS,
    duration: strategy.durationS,
    cpu_max_rate: strategy.cpuMaxPercent,
    mem_max_rate: strategy.memMaxPercent,
  };
}

function expected(name: string, level: StrategyLevel): string {
  if (name === "switch") return SWITCHES[level].map((state) => `"${state}"`).join(" or ");
  return name.endsWith("_rate") ? PERCENT : SECONDS;
}

/** Values by name, in lower case. */
type Fields = Map<string, unknown>;

function seconds(fields: Fields, name: string, fallback: number): number {
  const value = fields.has(name) ? fields.get(name) : fallback;
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new StrategyError(`${name}: expected ${SECONDS}, came ${shown(value)}`);
  }
  return value;
}

function rate(fields: Fields, name: string, fallback: number): number {
  const value = fields.has(name) ? fields.get(name) : fallback;
  if (typeof value !== "number" || !(value > 0 && value < 100)) {
    throw new StrategyError(`${name}: expected ${PERCENT}, came ${shown(value)}`);
  }
  return value;
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80);
}
