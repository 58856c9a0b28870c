/** Runs one case of the lab in a sandbox of its own, for the tests. */

import { enter } from "./enter.ts";
import type { CaseResult } from "./run.ts";

const CASE_TIMEOUT_MS = 180_000;

/**
 * Runs the case.
 *
 * @param args further arguments of `run.ts`
 * @throws Error with what it wrote on standard error, when there is no result
 */
export async function runCase(name: string, args: readonly string[]): Promise<CaseResult> {
  const script = new URL("run.ts", import.meta.url).pathname;
  const child = await enter(script, ["--case", name, "--json", ...args], "piped");
  // The end of its input tells the sandbox to end; one that does not is killed, with all in it.
  const timers = [
    setTimeout(() => child.stdin.close(), CASE_TIMEOUT_MS),
    setTimeout(() => child.kill("SIGKILL"), CASE_TIMEOUT_MS + 15_000),
  ];
  const [, text, errors] = await Promise.all([
    child.status,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  for (const timer of timers) clearTimeout(timer);
  await child.stdin.close().catch(() => {}); // closed already when the time was up
  const line = text.trim().split("\n").pop();
  if (line) return JSON.parse(line) as CaseResult;
  throw new Error(errors.trim() || `no result after ${CASE_TIMEOUT_MS / 1000} s`);
}
