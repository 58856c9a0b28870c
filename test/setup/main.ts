/**
 * Brings what the demo and the tests need of the system; quick and silent when all is there.
 *
 *     deno run -A test/setup/main.ts [demo|test] [--quiet]
 */

import { onSignals } from "../../src/loop/signals.ts";
import type { Purpose } from "./needs.ts";
import { provide } from "./setup.ts";

/** The exit code of a program ended by an interrupt. */
const INTERRUPTED = 130;

function parse(args: readonly string[]): { purpose: Purpose; quiet: boolean } | undefined {
  let purpose: Purpose = "test";
  let quiet = false;
  for (const arg of args) {
    if (arg === "demo" || arg === "test") purpose = arg;
    else if (arg === "--quiet") quiet = true;
    else return undefined;
  }
  return { purpose, quiet };
}

async function main(): Promise<number> {
  const given = parse(Deno.args);
  if (given === undefined) {
    console.error("usage: deno task setup [demo|test] [--quiet]");
    return 2;
  }
  const stop = new AbortController();
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], () => stop.abort());
  try {
    await provide(given.purpose, {
      onStep: given.quiet ? () => {} : (text) => console.log(`setup: ${text}`),
      signal: stop.signal,
    });
    return 0;
  } catch (error) {
    if (stop.signal.aborted) return INTERRUPTED;
    console.error(`setup: ${(error as Error).message}`);
    return 1;
  } finally {
    unsubscribe();
  }
}

if (import.meta.main) Deno.exit(await main());
