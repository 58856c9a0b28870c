/**
 * Finds the strategies in a configuration document. Pure.
 *
 * Three shapes are understood: a Layotto configuration as it stands, with network filters of type
 * `tcpcopy` in it; `{"app": {…}, "global": {…}}` with one of them or both; and a single strategy,
 * which is then the application's.
 */

import { closest, unknownName } from "../closest.ts";
import { findFilters, isObject, strategyIn } from "./layotto.ts";
import { parseStrategy, type Strategy, StrategyError } from "./strategy.ts";

/** What a document says; `undefined` for a level it says nothing about. */
export interface StrategyDocument {
  app: Strategy | undefined;
  global: Strategy | undefined;
}

const LEVELS = ["app", "global"] as const;

/**
 * Reads a document.
 *
 * @param minIntervalS the lower bound of the interval, if it was lifted
 * @throws StrategyError when it is no JSON, has no strategy, or one that cannot be used
 */
export function parseStrategyDocument(text: string, minIntervalS?: number): StrategyDocument {
  const root = parseJsonObject(text);
  const rules = { minIntervalS };
  if (LEVELS.some((level) => level in root)) {
    for (const name of Object.keys(root)) {
      const refusal = unknownName(name, LEVELS);
      if (refusal !== undefined) throw new StrategyError(refusal);
    }
    const [app, global] = LEVELS.map((level) =>
      level in root ? at(level, () => parseStrategy(root[level], level, rules)) : undefined
    );
    return { app, global };
  }
  if (Object.keys(root).some((name) => name.toLowerCase() === "switch")) {
    return { app: parseStrategy(root, "app", rules), global: undefined };
  }
  const filters = findFilters(root);
  if (filters.length === 0) throw new StrategyError(nothingFound(root));
  // Layotto has one strategy for the whole process: that of the filter made last. Filters without
  // one only say which listeners it is for.
  const strategy = filters.map(strategyIn).findLast((found) => found !== undefined);
  const app = strategy === undefined
    ? undefined
    : at("strategy", () => parseStrategy(strategy.value, "app", { ...rules, needsAll: true }));
  return { app, global: undefined };
}

/**
 * Reads a text as a JSON object.
 *
 * @throws StrategyError for anything else
 */
export function parseJsonObject(text: string): Record<string, unknown> {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    throw new StrategyError(`expected JSON (${(error as Error).message})`);
  }
  if (!isObject(root)) throw new StrategyError("expected a JSON object");
  return root;
}

function at<T>(where: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof StrategyError ? new StrategyError(`${where}: ${error.message}`) : error;
  }
}

function nothingFound(root: Record<string, unknown>): string {
  for (const name of Object.keys(root)) {
    const meant = closest(name, [...LEVELS, "switch"]);
    if (meant !== undefined) return `unknown key "${name}"; did you mean "${meant}"?`;
  }
  return 'found no strategy: expected a "tcpcopy" filter in a listener (Layotto), ' +
    '{"app": {…}, "global": {…}}, or a strategy with "switch"';
}
