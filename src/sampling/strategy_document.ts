/**
 * Finds the strategies in a configuration document. Pure.
 *
 * Three shapes are understood: a Layotto configuration as it stands, with a network filter of type
 * `tcpcopy` anywhere in it; `{"app": {…}, "global": {…}}` with one of them or both; and a single
 * strategy, which is then the application's.
 */

import { parseStrategy, type Strategy, StrategyError } from "./strategy.ts";

/** What a document says. */
export interface StrategyDocument {
  app: Strategy | undefined;
  global: Strategy | undefined;
  /** Ports of the listeners whose filters the strategies are, in order, each once. */
  ports: number[];
}

/** Deeper nesting is no configuration. */
const MAX_DEPTH = 200;

/**
 * Reads a document.
 *
 * @throws StrategyError when it is no JSON, has no strategy, or one that cannot be used
 */
export function parseStrategyDocument(text: string, minIntervalS?: number): StrategyDocument {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    throw new StrategyError(`expected JSON (${(error as Error).message})`);
  }
  if (!isObject(root)) throw new StrategyError("expected a JSON object");
  if ("app" in root || "global" in root) {
    return {
      app: "app" in root ? part("app", root.app, minIntervalS) : undefined,
      global: "global" in root ? part("global", root.global, minIntervalS) : undefined,
      ports: [],
    };
  }
  const found: Found[] = [];
  findFilters(root, undefined, 0, found);
  if (found.length > 0) {
    // As in Layotto, there is one application strategy: that of the filter made last.
    const { strategy } = found[found.length - 1];
    const ports = found.map(({ address }) => portOf(address)).filter((port) => port > 0);
    return {
      app: parseStrategy(strategy, "app", minIntervalS),
      global: undefined,
      ports: [...new Set(ports)],
    };
  }
  if (Object.keys(root).some((name) => name.toLowerCase() === "switch")) {
    return { app: parseStrategy(root, "app", minIntervalS), global: undefined, ports: [] };
  }
  throw new StrategyError(
    'found no strategy: expected a "tcpcopy" filter with config.strategy (Layotto), ' +
      '{"app": {…}, "global": {…}}, or a strategy with "switch"',
  );
}

function part(level: "app" | "global", value: unknown, minIntervalS?: number): Strategy {
  try {
    return parseStrategy(value, level, minIntervalS);
  } catch (error) {
    if (error instanceof StrategyError) throw new StrategyError(`${level}: ${error.message}`);
    throw error;
  }
}

interface Found {
  strategy: unknown;
  /** Address of the nearest listener around the filter. */
  address: string | undefined;
}

function findFilters(
  value: unknown,
  address: string | undefined,
  depth: number,
  found: Found[],
): void {
  if (depth > MAX_DEPTH) return;
  if (Array.isArray(value)) {
    for (const item of value) findFilters(item, address, depth + 1, found);
    return;
  }
  if (!isObject(value)) return;
  if (value.type === "tcpcopy" && isObject(value.config) && "strategy" in value.config) {
    found.push({ strategy: value.config.strategy, address });
    return;
  }
  const own = typeof value.address === "string" && "filter_chains" in value
    ? value.address
    : address;
  for (const item of Object.values(value)) findFilters(item, own, depth + 1, found);
}

function portOf(address: string | undefined): number {
  const port = Number(/:(\d{1,5})$/.exec(address ?? "")?.[1] ?? 0);
  return port <= 65_535 ? port : 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
