/**
 * When to sample, as an operator says it: the strategy of Layotto's `tcpcopy` filter. Pure.
 *
 * There are two of them: the application's, and a global one that can override it for all
 * applications of an operator. What holds for both at a moment is `effectiveStrategy`.
 */

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

/**
 * Checks a strategy as it stands in a JSON document: an object with `switch`, `interval`,
 * `duration`, `cpu_max_rate` and `mem_max_rate`. Names are taken in upper and lower case; what is
 * not known is left alone; a number left out has its default, the switch must be there.
 *
 * @param minIntervalS the lower bound of the interval, if it was lifted
 * @throws StrategyError
 */
export function parseStrategy(
  value: unknown,
  level: StrategyLevel,
  minIntervalS = MIN_INTERVAL_S,
): Strategy {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new StrategyError(`expected an object with "switch", came ${shown(value)}`);
  }
  const fields = new Map(Object.entries(value).map(([name, v]) => [name.toLowerCase(), v]));
  const state = fields.get("switch");
  if (typeof state !== "string" || !SWITCHES[level].includes(state)) {
    const expected = SWITCHES[level].map((name) => `"${name}"`).join(" or ");
    throw new StrategyError(`switch: expected ${expected}, came ${shown(state)}`);
  }
  const lowestS = Math.min(minIntervalS, MIN_INTERVAL_S);
  const intervalS = integer(fields, "interval", DEFAULT_STRATEGY.intervalS);
  if (intervalS < lowestS || intervalS > MAX_INTERVAL_S) {
    throw new StrategyError(
      `interval: expected ${lowestS} to ${MAX_INTERVAL_S} seconds, came ${intervalS}`,
    );
  }
  const durationS = integer(fields, "duration", DEFAULT_STRATEGY.durationS);
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

function integer(fields: Map<string, unknown>, name: string, fallback: number): number {
  const value = fields.get(name) ?? fallback;
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new StrategyError(`${name}: expected a whole number of seconds, came ${shown(value)}`);
  }
  return value;
}

function rate(fields: Map<string, unknown>, name: string, fallback: number): number {
  const value = fields.get(name) ?? fallback;
  if (typeof value !== "number" || !(value > 0 && value < 100)) {
    throw new StrategyError(
      `${name}: expected a percentage between 0 and 100, came ${shown(value)}`,
    );
  }
  return value;
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80);
}
