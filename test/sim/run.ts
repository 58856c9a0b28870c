/**
 * Runs simulations by seed.
 *
 *   deno run -A test/sim/run.ts --seed N [--trace] [--theme NAME]
 *   deno run -A test/sim/run.ts --from A --count N [--theme NAME]
 */

import { OUTCOME_NAMES } from "../../src/session/ledger.ts";
import { judge } from "./judge.ts";
import { makeScenario, type Theme } from "./scenario.ts";
import { play, type RunResult } from "./world.ts";

/** Plays one seed and judges it. */
export function runSeed(
  seed: number,
  theme?: Theme,
  trace?: (line: string) => void,
): { result: RunResult; faults: string[] } {
  const result = play(makeScenario(seed, theme), trace);
  return { result, faults: judge(result) };
}

/** How to play a seed again. */
export function replayCommand(seed: number): string {
  return `deno run -A test/sim/run.ts --seed ${seed} --trace`;
}

function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

function describe({ scenario, table, ends, endedMs, lastCapturedMs, turns }: RunResult): void {
  const { scripts, strictTurns, capture, there, back, app, tcp, tunnelMs, turnMs } = scenario;
  console.log({ theme: scenario.theme, strictTurns, tunnelMs, turnMs, lastCapturedMs, endedMs });
  console.log({ turns, capture, there, back, app, tcp, outage: scenario.outage });
  for (const { id, pace, ending, startMs, stream, requests, thinkMs, ...rest } of scripts) {
    console.log(
      `script ${id}: ${pace} ending ${ending} from ${startMs} ms, ${stream.length} bytes`,
    );
    console.log(`  think ${thinkMs} ms, ${JSON.stringify({ ...rest, options: undefined })}`);
    console.log(
      requests.map(({ start, end, requires, onlineBytes, targetBytes, answersRead }) =>
        `  [${start}, ${end}) requires ${requires} read ${answersRead} answers ${onlineBytes}/${targetBytes}`
      ).join("\n"),
    );
  }
  for (const { clientPort, copy, outcome, atMs } of ends) {
    console.log(`port ${clientPort} copy ${copy}: ${OUTCOME_NAMES[outcome]} at ${atMs} ms`);
  }
  console.log(JSON.stringify(table.counters));
}

function main(): void {
  const theme = option("--theme") as Theme | undefined;
  const seed = option("--seed");
  if (seed !== undefined) {
    const trace = Deno.args.includes("--trace") ? (line: string) => console.log(line) : undefined;
    const { result, faults } = runSeed(Number(seed), theme, trace);
    describe(result);
    for (const fault of faults) console.log(`FAULT ${fault}`);
    Deno.exit(faults.length === 0 ? 0 : 1);
  }
  const from = Number(option("--from") ?? 1);
  const count = Number(option("--count") ?? 100);
  const startedMs = performance.now();
  const failures = new Map<string, { count: number; first: string }>();
  let failed = 0;
  for (let at = from; at < from + count; at++) {
    let faults: string[];
    let name = "";
    try {
      const run = runSeed(at, theme);
      faults = run.faults;
      name = run.result.scenario.theme;
    } catch (error) {
      faults = [`threw ${error instanceof Error ? error.stack : error}`];
    }
    if (faults.length === 0) continue;
    failed++;
    const kind = `${name}: ${faults[0].replace(/\d+/g, "#").slice(0, 110)}`;
    const known = failures.get(kind);
    if (known === undefined) failures.set(kind, { count: 1, first: `${at} ${faults[0]}` });
    else known.count++;
  }
  for (const { count, first } of failures.values()) console.log(`${count} × seed ${first}`);
  const tookMs = Math.round(performance.now() - startedMs);
  console.log(`${failed} of ${count} seeds failed, ${tookMs} ms`);
  if (failed > 0) console.log(replayCommand(Number([...failures.values()][0].first.split(" ")[0])));
  Deno.exit(failed === 0 ? 0 : 1);
}

if (import.meta.main) main();
