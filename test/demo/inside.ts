/**
 * The part of the demo that runs inside the sandbox: builds the hosts, replays, shows how it goes
 * and what came out. Everything it makes is inside the sandbox and gone with it.
 *
 *     deno run -A test/demo/inside.ts STARTED_MS SETUP_TEXT     (by main.ts)
 */

import { formatCount } from "../../src/observe/report.ts";
import { watchParent } from "../lab/enter.ts";
import { Lab } from "../lab/hosts.ts";
import { pause } from "../lab/programs.ts";
import { ExitCode } from "./exit_code.ts";
import { Replays } from "./replay.ts";
import { Screen } from "./screen.ts";
import { percent, type Result, table } from "./table.ts";

/** How long an interrupt may take from one process to the next. */
const INTERRUPT_MS = 200;

const screen = new Screen();

/** Runs one phase; a failure is shown in its line and ends the demo. */
async function phase<T>(
  name: string,
  doing: string,
  work: (update: (text: string) => void) => Promise<T>,
  done: (result: T) => string,
  isGood: (result: T) => boolean = () => true,
): Promise<T> {
  const line = screen.phase(name);
  line.update(doing);
  try {
    const result = await work((text) => line.update(text));
    line.done(done(result), isGood(result));
    return result;
  } catch (error) {
    // At a terminal an interrupt reaches every process here; if this is one, it ends this one too.
    await pause(INTERRUPT_MS);
    line.done("failed", false);
    throw error;
  }
}

async function demonstrate(): Promise<boolean> {
  const lab = await phase(
    "hosts",
    "building client, online, target and assistant",
    () => Lab.create({ offloads: true }),
    () => "client, online, target and assistant are up",
  );
  // On the sandbox's own file system: gone with it.
  const replays = new Replays(lab, await Deno.makeTempDir({ dir: "/run" }));
  try {
    await phase(
      "programs",
      "starting two versions of a shop, clients, intercept, tcpcopy",
      () => replays.start(),
      () => "two versions of a shop, clients, intercept, tcpcopy ready",
    );
    const live = await phase(
      "live",
      "the clients ask online, tcpcopy replays to the target",
      (update) => replays.live((online, target) => update(progress("online", online, target))),
      ({ comparison: c }) => progress("online", c.requestsOnline, c.requestsTarget),
      isWhole,
    );
    const offline = await phase(
      "offline",
      "playing the recording of these requests",
      (update) => replays.offline((online, target) => update(progress("recorded", online, target))),
      ({ comparison: c }) => progress("recorded", c.requestsOnline, c.requestsTarget),
      isWhole,
    );
    show([live, offline]);
    return conclude([live, offline], replays);
  } catch (error) {
    for (const program of replays.tested) tell(program.name, program.lastLines(5));
    throw error;
  }
}

function progress(whence: string, online: number, target: number): string {
  return `requests: ${formatCount(online)} ${whence}, ${formatCount(target)} on the target`;
}

/** Whether every connection there was arrived byte-exact. */
function isWhole({ comparison: { connections, exact } }: Result): boolean {
  return connections > 0 && exact === connections;
}

function show(results: readonly Result[]): void {
  screen.print();
  const [heading, ...lines] = table(results, screen.width, screen.micro);
  screen.print(screen.style("bold", heading));
  for (const line of lines) screen.print(line);
  screen.print();
  screen.paragraph(
    "Latency: from the last packet of a request to the first packet of its answer, at the server's " +
      "own network card by the kernel's clock; the same measure on both. Behind: how much later than " +
      "they were captured requests went to the target, p50/p99. CPU: user and system time " +
      "of the program, per request and as a share of one core; per request it falls as the rate " +
      "rises, because packets are then handled in batches.",
    "",
    "dim",
  );
}

/** The verdict; true when all is well. */
function conclude(results: readonly Result[], replays: Replays): boolean {
  const isGood = results.every(isWhole) && replays.problems.length === 0;
  const { connections } = results[0].comparison;
  const shares = results.map(({ name, comparison: { exact } }) =>
    `${name} ${formatCount(exact)} of ${formatCount(connections)} connections byte-exact ` +
    `(${percent(exact, connections)})`
  );
  screen.print();
  if (isGood) {
    screen.paragraph(
      `Everything arrived: all ${formatCount(connections)} connections byte-exact on the target, ` +
        "twice, and complete in tcpcopy's ledger, although the target is another version, whose " +
        "answers have other lengths.",
      "",
      "green",
    );
    screen.paragraph(
      'Next: "Your own three servers" in README.md does the same with yours, in three commands.',
    );
    return true;
  }
  screen.paragraph(`Not everything arrived: ${shares.join(", ")}.`, "", "red");
  for (const problem of replays.problems) screen.paragraph(`- ${problem}`, "  ");
  for (const program of replays.tested) tell(program.name, program.lastLines(5));
  return false;
}

function tell(name: string, lines: string): void {
  screen.paragraph(`${name} said: ${lines}`, "  ", "dim");
}

if (import.meta.main) {
  watchParent(() => Promise.resolve(screen.endLine()));
  const [startedMs, setupText] = Deno.args;
  screen.phase("setup", Number(startedMs)).done(setupText);
  let isGood = false;
  try {
    isGood = await demonstrate();
  } catch (error) {
    screen.paragraph(`The demo failed: ${(error as Error).message}`, "", "red");
  }
  // Whatever still runs in here ends with this process.
  Deno.exit(isGood ? ExitCode.Good : ExitCode.BadAndTold);
}
