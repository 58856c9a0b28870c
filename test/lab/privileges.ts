/**
 * What the programs keep of root's rights when they run, whether links lead them astray, and what of
 * root's files they can still use.
 *
 *     deno run -A test/lab/privileges.ts
 *
 * Needs root: in a user namespace there is no other user to become. The last line of the output is
 * the list of problems as JSON. Programs made by `deno task compile` can stand in for the sources:
 * TCPCOPY_LAB, INTERCEPT_LAB and TRAFFICDUMP_LAB.
 */

import { lchownSync } from "node:fs";
import { layottoConfiguration, QUICK } from "../trafficdump/dumper.ts";
import { NOBODY } from "../../ffi/privileges.ts";
import { isInside, isUserNamespace, runInside, watchParent } from "./enter.ts";
import { addresses, fileExists, type HostName, Lab } from "./hosts.ts";
import { leftPrivileges } from "./left_privileges.ts";
import type { LabProcess } from "./process.ts";
import { APPLICATION_PORT, ours, pause } from "./programs.ts";

const TIMEOUT_MS = 30_000;
const OTHER = 12345;

type ProgramName = Parameters<typeof ours>[0];

/** How each program is started, in which host, with which file to read again. */
interface Setup {
  name: ProgramName;
  host: HostName;
  args: (directory: string, logs?: string) => string[];
  /** What the log says when the configuration was read again. */
  reloaded: RegExp;
}

const SETUPS: readonly Setup[] = [
  {
    name: "intercept",
    host: "assistant",
    args: (directory) => [
      ...["-i", "eth0", "-F", `src host ${addresses.target}`, "--workers", "2"],
      ...["--config", `${directory}/intercept.json`],
    ],
    reloaded: /intercept\.json read again/,
  },
  {
    name: "tcpcopy",
    host: "online",
    args: (directory) => [
      ...["-x", `${APPLICATION_PORT}-${addresses.target}:${APPLICATION_PORT}`],
      ...["-s", addresses.assistant, "-c", "198.19.0.x", "--workers", "2"],
      ...["--config", `${directory}/tcpcopy.json`],
    ],
    reloaded: /tcpcopy\.json read again/,
  },
  {
    name: "trafficdump",
    host: "target",
    args: (directory, logs = `${directory}/logs`) => [
      ...["-c", `${directory}/trafficdump.json`, "--log-dir", logs],
      ...["--min-interval", "1"],
    ],
    reloaded: /SIGHUP: sampling is/,
  },
];

function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** Waits until a condition holds; false when it does not come. */
async function until(condition: () => boolean, process: LabProcess): Promise<boolean> {
  for (let leftMs = TIMEOUT_MS; leftMs > 0; leftMs -= 50) {
    if (condition()) return true;
    if (process.status !== undefined) return false;
    await pause(50);
  }
  return false;
}

/** Looks at a program while it runs, after a reload and at its end. */
async function look(lab: Lab, directory: string, setup: Setup): Promise<[LabProcess, string[]]> {
  const { name, host } = setup;
  const log = `${directory}/${name}.log`;
  const problems: string[] = [];
  const pidFile = `${directory}/${name}.pid`;
  // A parent that leaves a file open, as sloppy ones do.
  const process = lab.spawn(host, [
    ...["sh", "-c", 'exec 9>>"$0"; exec "$@"', `${directory}/left open`],
    ...[...ours(name), ...setup.args(directory), "-l", log, "-P", pidFile],
  ], { name });
  const expect = async (what: string, pattern: RegExp) => {
    if (await until(() => pattern.test(textOf(log)), process)) return;
    problems.push(`${name}: ${what} is missing: ${textOf(log)}${process.lastLines(5)}`);
  };
  const judge = (when: string) => {
    if (process.status !== undefined) return;
    problems.push(...leftPrivileges(process.pid).map((left) => `${name} ${when}: ${left}`));
  };
  await expect("readiness", / ready: /);
  judge("when ready");
  process.signal("SIGHUP");
  await expect("the reload", setup.reloaded);
  if (name === "trafficdump") {
    await expect("a window", /is open for/);
    const written = `${directory}/logs/dump/dump_static_conf.log`;
    if (!await until(() => textOf(written) !== "", process)) problems.push("nothing was dumped");
  }
  problems.push(...await rotate(process, log));
  judge("after a while");
  if (textOf(pidFile) !== `${process.pid}\n`) problems.push(`${name}: the process file is wrong`);
  return [process, problems];
}

/**
 * Rotates a log whose directory is root's: nobody can make no new one there, and writes the one that
 * logrotate makes.
 */
async function rotate(process: LabProcess, log: string): Promise<string[]> {
  const problems: string[] = [];
  const ask = async (signal: Deno.Signal, path: string, pattern: RegExp) => {
    process.signal(signal);
    if (await until(() => pattern.test(textOf(path)), process)) return;
    problems.push(`${process.name}: ${signal}: expected ${pattern} in ${path}: ${textOf(path)}`);
  };
  const old = `${log}.1`;
  const make = () => {
    Deno.writeTextFileSync(log, "");
    Deno.chmodSync(log, 0o640);
    Deno.chownSync(log, NOBODY, NOBODY);
  };
  Deno.renameSync(log, old);
  await ask("SIGUSR1", old, /warning: SIGUSR1: log file .* cannot be opened .*Permission denied/);
  make();
  await ask("SIGUSR1", log, /: SIGUSR1: log file .* opened again/);
  Deno.renameSync(log, old);
  make();
  await ask("SIGHUP", log, /: SIGHUP: log file .* opened again/);
  return problems;
}

/** A configuration that root alone can read is used, and the log says that it will not be again. */
async function secret(lab: Lab, directory: string): Promise<string[]> {
  const problems: string[] = [];
  for (const { name, host, args } of SETUPS) {
    const path = `${directory}/${name}.json`;
    Deno.chmodSync(path, 0o600);
    // There is no intercept any more.
    const lonely = name === "tcpcopy" ? ["-L"] : [];
    const process = lab.spawn(host, [...ours(name), ...args(directory), ...lonely], { name });
    const warned = () => /\.json will not be read again: .* nobody/.test(process.output);
    if (!await until(warned, process)) problems.push(`${name}: ${process.lastLines(5)}`);
    process.signal("SIGUSR1");
    const answered = () => /SIGUSR1: there is no --log-file/.test(process.output);
    if (!await until(answered, process)) problems.push(`${name}: ${process.lastLines(5)}`);
    await process.stop();
  }
  return problems;
}

/** Ends a program; the file with its number goes with it. */
async function end(process: LabProcess, directory: string): Promise<string[]> {
  const { code } = await process.stop();
  const problems = code === 0 ? [] : [`${process.name} ended with code ${code}`];
  for (let leftMs = TIMEOUT_MS; leftMs > 0; leftMs -= 50) {
    if (!fileExists(`${directory}/${process.name}.pid`)) return problems;
    await pause(50);
  }
  return [...problems, `${process.name} left its process file behind`];
}

/** Starts a program with what it must refuse; returns what is wrong with how it does. */
async function refuse(
  lab: Lab,
  setup: Setup,
  args: string[],
  words: RegExp,
): Promise<string[]> {
  const process = lab.spawn(setup.host, [...ours(setup.name), ...args], { name: setup.name });
  const timer = setTimeout(() => process.signal("SIGTERM"), TIMEOUT_MS);
  const { code } = await process.ended;
  clearTimeout(timer);
  const isRefused = code === 1 && words.test(process.output);
  return isRefused
    ? []
    : [`${setup.name} ${args.join(" ")}: code ${code}, ${process.lastLines(5)}`];
}

/** What another user lays out for root: links to what root could spoil. */
async function baits(lab: Lab, directory: string): Promise<string[]> {
  const shared = `${directory}/shared`;
  const victim = `${directory}/victim`;
  Deno.mkdirSync(shared);
  Deno.chmodSync(shared, 0o1777);
  Deno.mkdirSync(victim);
  Deno.chownSync(victim, OTHER, OTHER);
  Deno.writeTextFileSync(`${victim}/file`, "");
  const link = (target: string, name: string) => {
    Deno.symlinkSync(target, `${shared}/${name}`);
    lchownSync(`${shared}/${name}`, OTHER, OTHER);
  };
  link(`${victim}/file`, "log");
  link(victim, "logs");
  const problems: string[] = [];
  for (const setup of SETUPS) {
    for (const option of ["-l", "-P"]) {
      const words = /is a symbolic link of user 12345/;
      problems.push(
        ...await refuse(lab, setup, [...setup.args(directory), option, `${shared}/log`], words),
      );
    }
  }
  const [, , dump] = SETUPS;
  const behindLink = dump.args(directory, `${shared}/logs`);
  problems.push(...await refuse(lab, dump, behindLink, /is a symbolic link of user 12345/));
  // A directory nobody cannot write in stays as it is, and what to do is said.
  Deno.mkdirSync(`${directory}/own/dump`, { recursive: true });
  const own = dump.args(directory, `${directory}/own`);
  problems.push(...await refuse(lab, dump, own, /cannot write in \S+\/own\/dump: .*chown -R/));
  const owners = [victim, `${victim}/file`, `${directory}/own/dump`].map((path) =>
    Deno.statSync(path).uid
  );
  if (owners.join() !== `${OTHER},0,0`) problems.push(`owners have become ${owners.join()}`);
  if (textOf(`${victim}/file`) !== "") problems.push("the victim's file was written");
  const names = Array.from(Deno.readDirSync(victim), (entry) => entry.name);
  if (names.join() !== "file") problems.push(`in the victim's directory: ${names.join()}`);
  return problems;
}

async function main(): Promise<number> {
  if (!isInside()) return await runInside(new URL(import.meta.url).pathname, Deno.args);
  if (isUserNamespace()) {
    console.log(JSON.stringify(["needs root"]));
    return 1;
  }
  const directory = await Deno.makeTempDir({ dir: "/run" });
  // Nobody must be able to read the configurations, but for one.
  Deno.chmodSync(directory, 0o755);
  Deno.writeTextFileSync(`${directory}/intercept.json`, JSON.stringify({ "max-combined": 8 }));
  Deno.writeTextFileSync(`${directory}/tcpcopy.json`, JSON.stringify({ percentage: 100 }));
  Deno.writeTextFileSync(
    `${directory}/trafficdump.json`,
    layottoConfiguration(QUICK, APPLICATION_PORT),
  );
  const lab = await Lab.create();
  watchParent(async () => await lab.close());
  try {
    const problems: string[] = [];
    const running: LabProcess[] = [];
    for (const setup of SETUPS) {
      const [process, found] = await look(lab, directory, setup);
      running.push(process);
      problems.push(...found);
    }
    for (const process of running.reverse()) problems.push(...await end(process, directory));
    problems.push(...await baits(lab, directory));
    problems.push(...await secret(lab, directory));
    console.log(JSON.stringify(problems));
    return problems.length === 0 ? 0 : 1;
  } finally {
    await lab.close();
  }
}

if (import.meta.main) Deno.exit(await main());
