/** What trafficdump captures: the ports of `-p`, or a Layotto configuration's listeners. */

import type { Logger } from "@logtape/logtape";
import type { CapturePair } from "../capture/bpf.ts";
import { formatEndpoint } from "../cli/addresses.ts";
import { UsageError } from "../cli/fatal.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { findFilters, type Listeners, listenersOf } from "../sampling/layotto.ts";
import { StrategyError } from "../sampling/strategy.ts";
import { parseJsonObject } from "../sampling/strategy_document.ts";
import type { TrafficdumpOptions } from "./options.ts";

/** What the options and the configuration come to. */
export interface CapturePlan {
  pairs: readonly CapturePair[];
  /** Whether the configuration is Layotto's. */
  isLayotto: boolean;
  /** Takes the configuration's text when it was read again: says what does not change with it. */
  onConfiguration(text: string): void;
}

/**
 * Finds out what is to be captured, and says in the log what cannot be.
 *
 * @throws UsageError for listeners of which nothing can be captured, and where a configuration that
 * cannot be read would have to name them
 */
export async function planCapture(
  options: Pick<TrafficdumpOptions, "config" | "ports" | "proxies">,
  log: Logger,
): Promise<CapturePlan> {
  const { config, ports, proxies } = options;
  const pairs = [...new Set(ports)].map((port) => ({ port }));
  const plan: CapturePlan = { pairs, isLayotto: false, onConfiguration: () => {} };
  if (config === undefined) return plan;
  const needsListeners = ports.length === 0 && proxies.length === 0;
  let listeners: Listeners;
  try {
    const root = parseJsonObject(readConfiguration(config));
    plan.isLayotto = findFilters(root).length > 0;
    if (!needsListeners) return plan;
    listeners = listenersOf(root);
  } catch (error) {
    if (!(error instanceof StrategyError)) throw error;
    // Whoever reads the strategy says the same, and may go on without it.
    if (!needsListeners) return plan;
    throw new UsageError(`-c ${config}: ${error.message}`);
  }
  plan.pairs = await pairsOf(listeners, log);
  plan.onConfiguration = watchListeners(listeners, log);
  return plan;
}

function readConfiguration(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new StrategyError(`it cannot be read: ${(error as Error).message}`);
  }
}

async function pairsOf({ captured, warnings }: Listeners, log: Logger): Promise<CapturePair[]> {
  if (captured.length === 0 && warnings.length > 0) {
    throw new UsageError(`-c: nothing can be captured: ${warnings.join("; ")}`);
  }
  for (const warning of warnings) log.warn(warning);
  return await Promise.all(captured.map(async ({ name, host, port }) => ({
    address: host === undefined ? undefined : await resolveIpv4(host, name),
    port,
  })));
}

/** "port 80, 192.0.2.1:8080" */
export function describePairs(pairs: readonly CapturePair[]): string {
  return pairs.map(({ address, port }) =>
    address === undefined ? `port ${port}` : formatEndpoint(address, port)
  ).join(", ");
}

/**
 * Compares the listeners of a configuration that was read again with those at the start. What is
 * captured was opened as root and stays: a change is said.
 *
 * @returns takes the configuration's text
 */
function watchListeners(before: Listeners, log: Logger): (text: string) => void {
  const captured = namesOf(before);
  let last = captured;
  return (text) => {
    const now = namesIn(text);
    if (now === last) return;
    last = now;
    if (now === captured) log.info(`the configuration's listeners are captured again: ${captured}`);
    else {
      log.warn(
        `the configuration's listeners have changed: ${now}; captured is, until a restart, what ` +
          `they were: ${captured}`,
      );
    }
  };
}

function namesIn(text: string): string {
  try {
    return namesOf(listenersOf(parseJsonObject(text)));
  } catch (error) {
    if (!(error instanceof StrategyError)) throw error;
    return error.message;
  }
}

function namesOf({ captured, warnings }: Listeners): string {
  return [...captured.map(({ name }) => name), ...warnings].join(", ") || "none";
}
