/**
 * Runs cases of the lab and prints a table.
 *
 *     deno run -A test/lab/run.ts --case mixed [--offloads] [--loss 1] [--loss-at switch]
 *         [--original both|intercept|tcpcopy] [--repeat N] [--scale 0.1] [--keep-logs DIR]
 *         [--receive-bytes 65536] [--tcpcopy-args "…"] [--intercept-args "…"] [--json] [--list]
 *         [--record] [--original-build SINGLE|BARE|PAYLOAD] [--gap-ms 10]
 *     deno run -A test/lab/run.ts --twist half,unanswered [--case keepalive] …
 *
 * Several cases: `--case keepalive,short`; all: `--case all`. With `--twist` (one, several, `all`)
 * the target answers otherwise than the online server, and the table says how far the replay got;
 * `--case` then chooses workloads. It enters the sandbox of `enter.ts` by itself. `--record` adds
 * the target's packets to the logs kept. The exit code is 0 only if everything arrived byte-exact.
 */

import { type Attack, attackedCases } from "./attacked_cases.ts";
import { numberArgument, parseArguments } from "./arguments.ts";
import { type Case, cases } from "./cases.ts";
import { isInside, runInside, watchParent } from "./enter.ts";
import { Lab, type LabOptions } from "./hosts.ts";
import { ledgerProblems, type LedgerText } from "./ledger_text.ts";
import { type NginxLoad, runNginx } from "./nginx.ts";
import { runLogins } from "./logins.ts";
import { runRedis } from "./redis.ts";
import { type ReplayResult, runReplay } from "./replay.ts";
import { strangerCases } from "./stranger_cases.ts";
import type { StrangerReport } from "./strangers.ts";
import { printTwistHeading, printTwistResult, type TwistFigures } from "./twist_table.ts";
import { combinations, twistedCases } from "./twisted_cases.ts";
import { serviceCases } from "./service_cases.ts";
import { scaled } from "./workloads.ts";

/** One line of the table; with `--json` one line of output. */
export interface CaseResult {
  name: string;
  connections: number;
  /** Share of connections (nginx: of requests) that arrived, 0 to 1. */
  share: number;
  early: number;
  /** Packets the lab lost on purpose. */
  lostPackets: number;
  seconds: number;
  tcpcopyCpuSeconds: number;
  interceptCpuSeconds: number;
  /** Everything that was not right, one line each; empty when all was. */
  problems: string[];
  /** What else was measured, by name. */
  figures?: Record<string, number>;
  /** What tcpcopy says became of the sessions, where nothing can be compared byte by byte. */
  ledger?: LedgerText;
  /** Only for a case with a twisted target. */
  twisted?: TwistFigures;
}

/** Also those that are no part of the matrix. */
const allCases: ReadonlyMap<string, Case> = new Map([
  ...cases,
  ...serviceCases,
  ...strangerCases,
  ...twistedCases,
  ...attackedCases,
]);

const options = [
  "case",
  "loss",
  "loss-at",
  "receive-bytes",
  "original",
  "original-build",
  "repeat",
  "scale",
  "keep-logs",
  "tcpcopy-args",
  "intercept-args",
  "twist",
  "gap-ms",
  "attack",
];
const switches = ["offloads", "record", "json", "list"];

/** The case as the command line changes it. */
function changed(made: Case, values: Map<string, string>): Case {
  const lab: LabOptions = { ...made.lab };
  if (values.has("offloads")) lab.offloads = true;
  if (values.has("loss")) lab.lossPercent = numberArgument(values, "loss", 0);
  const lossAt = values.get("loss-at");
  if (lossAt === "target" || lossAt === "switch") lab.lossAt = lossAt;
  else if (lossAt !== undefined) throw new Error(`--loss-at: expected target or switch`);
  if (values.has("receive-bytes")) {
    lab.targetReceiveBytes = numberArgument(values, "receive-bytes", 0);
  }
  const original = values.get("original") ?? "none";
  useBuild(values.get("original-build"));
  if (!["none", "both", "intercept", "tcpcopy"].includes(original)) {
    throw new Error(`--original: expected both, intercept or tcpcopy, came "${original}"`);
  }
  const maker = (role: string) =>
    original === "both" || original === role ? "original" as const : "ours" as const;
  const factor = numberArgument(values, "scale", 1);
  const plan = made.plan;
  const attack = plan.attack && { ...plan.attack, ...dose(values.get("attack")) };
  const gap = values.has("gap-ms") ? { gapMs: numberArgument(values, "gap-ms", 0) } : {};
  return {
    ...made,
    lab,
    plan: {
      ...plan,
      attack,
      workloads: plan.workloads.map((workload) => ({ ...scaled(workload, factor), ...gap })),
      record: values.has("record") ? ["target"] : [],
      tcpcopy: maker("tcpcopy"),
      intercept: maker("intercept"),
      tcpcopyArgs: [...plan.tcpcopyArgs ?? [], ...words(values.get("tcpcopy-args"))],
      interceptArgs: [...plan.interceptArgs ?? [], ...words(values.get("intercept-args"))],
    },
  };
}

/** "PACKETS@PER_SECOND" */
function dose(text: string | undefined): Partial<Attack> {
  if (text === undefined) return {};
  const match = /^(\d+)@(\d+)$/.exec(text);
  if (match === null) throw new Error(`--attack: expected PACKETS@PER_SECOND, came "${text}"`);
  return { packets: Number(match[1]), perSecond: Number(match[2]) };
}

/** Takes another build of the originals, which TCPCOPY_ORIG_SINGLE and the like name. */
function useBuild(build: string | undefined): void {
  if (build === undefined) return;
  for (const variable of ["TCPCOPY_ORIG", "INTERCEPT_ORIG"]) {
    const path = Deno.env.get(`${variable}_${build}`);
    if (path !== undefined) Deno.env.set(variable, path);
  }
}

function words(text: string | undefined): string[] {
  return (text ?? "").split(" ").filter((word) => word !== "");
}

/** The lab that is up, for the interrupt. */
let openLab: Lab | undefined;

async function runCase(made: Case, directory: string): Promise<[CaseResult, ReplayResult?]> {
  const lab = await Lab.create(made.lab);
  openLab = lab;
  try {
    if (made.nginx !== undefined) {
      const result = await runNginx(lab, made.plan, made.nginx, directory);
      const lostPackets = await lab.lostPackets() ?? 0;
      const twisted = made.twisted && nginxTwistFigures(made.twisted, made.nginx, result);
      return [{ name: made.name, lostPackets, ...result, ...(twisted && { twisted }) }];
    }
    const service = await runService(lab, made, directory);
    if (service !== undefined) {
      return [{ name: made.name, lostPackets: await lab.lostPackets() ?? 0, ...service }];
    }
    const result = await runReplay(lab, { ...made.plan, directory });
    return [summarize(made, result, await lab.lostPackets()), result];
  } finally {
    await lab.close();
  }
}

async function runService(lab: Lab, made: Case, directory: string) {
  if (made.redis !== undefined) return await runRedis(lab, made.plan, made.redis, directory);
  if (made.logins !== undefined) return await runLogins(lab, made.plan, made.logins, directory);
  return undefined;
}

function summarize(made: Case, result: ReplayResult, lost: number | undefined): CaseResult {
  const { comparison, problems } = result;
  const mostEarly = comparison.requestsOnline * (made.maxEarlyShare ?? 0);
  const early = comparison.early <= mostEarly ? [] : [
    `${comparison.early} requests reached the target before the reply they had waited for`,
    ...comparison.earlyConnections,
  ];
  const faults = [];
  if (comparison.earlyOnline > 0) {
    faults.push(`${comparison.earlyOnline} requests were early online: lab fault`);
  }
  if (lost === 0) faults.push("no packet was lost, though some should be: lab fault");
  return {
    name: made.name,
    connections: comparison.online,
    share: comparison.share,
    early: comparison.early,
    lostPackets: lost ?? 0,
    seconds: result.totalSeconds,
    tcpcopyCpuSeconds: result.cpuSeconds.tcpcopy,
    interceptCpuSeconds: result.cpuSeconds.intercept,
    problems: [...problems, ...faults, ...comparison.mismatches, ...early],
    ...(made.plan.strangers && { figures: strangerFigures(result) }),
    ...(made.twisted && { twisted: twistFigures(made.twisted, result) }),
    ...(made.plan.attack && { figures: attackFigures(result), ledger: result.ledger }),
  };
}

function attackFigures(result: ReplayResult): Record<string, number> {
  return {
    attackPackets: result.attackPackets,
    onlineConnections: result.connections.online,
    targetConnections: result.connections.target,
    peakMemoryMb: result.peakMemoryBytes / (1 << 20),
  };
}

function strangerFigures({ strangers, logs }: ReplayResult): Record<string, number> {
  const sum = (of: (report: StrangerReport) => number) =>
    strangers.reduce((total, report) => total + of(report), 0);
  return {
    strangerConnections: sum(({ connections }) => connections),
    strangersSentAway: sum(({ closed }) => closed),
    strangerAnnouncements: sum(({ announcements }) => announcements),
    interceptLogBytes: logs.intercept.length,
  };
}

function twistFigures(
  names: { base: string; twist: string },
  { comparison, pace, clientSeconds, ledger }: ReplayResult,
): TwistFigures {
  return {
    ...names,
    ...pace,
    connections: comparison.online,
    requests: comparison.requestsOnline,
    loadSeconds: clientSeconds,
    ledgerProblems: describeLedger(ledger),
  };
}

function nginxTwistFigures(
  names: { base: string; twist: string },
  { connections }: NginxLoad,
  result: Awaited<ReturnType<typeof runNginx>>,
): TwistFigures {
  return {
    ...names,
    connections,
    requests: result.connections,
    shareAtLoadEnd: result.shareAtEnd,
    loadSeconds: result.loadSeconds,
    secondsToAll: result.secondsToAll,
    ledgerProblems: describeLedger(result.ledger),
  };
}

function describeLedger(ledger: LedgerText | undefined): string {
  return ledger === undefined ? "no ledger" : ledgerProblems(ledger).join(", ");
}

function heading(): string {
  return row(
    "case",
    "connections",
    "exact",
    "early",
    "lost",
    "seconds",
    "cpu tcpcopy",
    "intercept",
  );
}

function row(name: string, ...fields: string[]): string {
  return name.padEnd(20) + fields.map((field) => field.padStart(12)).join("");
}

function printResult(result: CaseResult): void {
  console.log(row(
    result.name,
    String(result.connections),
    formatShare(result.share),
    String(result.early),
    String(result.lostPackets),
    result.seconds.toFixed(1),
    result.tcpcopyCpuSeconds.toFixed(2),
    result.interceptCpuSeconds.toFixed(2),
  ));
  for (const problem of result.problems) console.log(`    ${problem}`);
  for (const [name, value] of Object.entries(result.figures ?? {})) {
    console.log(`    ${name}: ${value.toFixed(3)}`);
  }
  if (result.ledger !== undefined) {
    const { sessions, outcomes, troubles } = result.ledger;
    const parts = Object.entries(outcomes).map(([outcome, count]) => `${count} ${outcome}`);
    console.log(`    ledger: ${sessions} sessions, ${[...parts, ...troubles].join(", ")}`);
  }
}

/** Percent with one decimal, rounded down: 100 % only when it is. */
export function formatShare(share: number): string {
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

async function saveLogs(directory: string, target: string, result?: ReplayResult): Promise<void> {
  await Deno.mkdir(target, { recursive: true });
  for await (const entry of Deno.readDir(directory)) {
    if (entry.isFile) await Deno.copyFile(`${directory}/${entry.name}`, `${target}/${entry.name}`);
  }
  for (const [name, text] of Object.entries(result?.logs ?? {})) {
    await Deno.writeTextFile(`${target}/${name.replaceAll(/[^\w.-]/g, "-")}.out`, text);
  }
}

async function main(values: Map<string, string>): Promise<boolean> {
  const chosen = chooseCases(values);
  const keepLogs = values.get("keep-logs");
  let isAllRight = true;
  if (!values.has("json")) printHeading(chosen);
  for (let round = 0; round < numberArgument(values, "repeat", 1); round++) {
    /** By workload, what the `equal` twist came to in this round. */
    const equalShares = new Map<string, number>();
    for (const made of chosen) {
      // On the sandbox's own tmpfs: gone with it.
      const directory = await Deno.makeTempDir({ dir: "/run" });
      try {
        const [result, replay] = await runCase(made, directory);
        if (result.twisted !== undefined) relate(result.twisted, equalShares);
        if (values.has("json")) console.log(JSON.stringify(result));
        else if (result.twisted !== undefined) printTwistResult(result, result.twisted);
        else printResult(result);
        const logs = `${keepLogs}/${made.name.replace("/", "-")}-${round}`;
        if (keepLogs) await saveLogs(directory, logs, replay);
        isAllRight &&= result.share >= (made.nginx ? 0.999 : 1) && result.problems.length === 0;
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    }
  }
  return isAllRight;
}

function printHeading(chosen: readonly Case[]): void {
  if (chosen.some(({ twisted }) => twisted !== undefined)) printTwistHeading();
  else console.log(heading());
}

/** Notes what the `equal` twist came to, and relates the others to it. */
function relate(figures: TwistFigures, equalShares: Map<string, number>): void {
  const { base, twist, shareAtLoadEnd } = figures;
  if (twist === "equal") equalShares.set(base, shareAtLoadEnd);
  const equal = equalShares.get(base);
  if (equal) figures.shareOfEqual = shareAtLoadEnd / equal;
}

function chooseCases(values: Map<string, string>): Case[] {
  const given = split(values.get("case"));
  const chosenTwists = split(values.get("twist"));
  if (chosenTwists.length > 0) {
    const bases = values.get("case") === "all" ? [] : given;
    return combinations(chosenTwists, bases).map((made) => changed(made, values));
  }
  const names = values.get("case") === "all" ? [...cases.keys()] : given;
  if (names.length === 0) throw new Error("--case NAME is missing; --list shows the names");
  return names.map((name) => {
    const made = allCases.get(name);
    if (made === undefined) throw new Error(`unknown case "${name}"; --list shows the names`);
    return changed(made, values);
  });
}

function split(text: string | undefined): string[] {
  return (text ?? "").split(",").filter((name) => name !== "");
}

async function start(): Promise<number> {
  const values = parseArguments(Deno.args, options, switches, ["case", "twist"]);
  if (values.has("list")) {
    for (const made of [...cases, ...strangerCases, ...twistedCases].map(([, made]) => made)) {
      console.log(`${made.name.padEnd(22)}${made.title}`);
    }
    return 0;
  }
  chooseCases(values);
  if (!isInside()) return await runInside(new URL(import.meta.url).pathname, Deno.args);
  watchParent(async () => await openLab?.close());
  return await main(values) ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await start());
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(2);
  }
}
