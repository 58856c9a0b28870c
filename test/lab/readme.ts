/**
 * The README's commands for three servers, as they stand there, between the lab's hosts.
 *
 *     deno run -A test/lab/readme.ts
 *
 * The programs are found by their names, as in /usr/local/bin: the sources, or the executables that
 * TCPCOPY_LAB and INTERCEPT_LAB name. Without root only executables run: root's caches are nobody
 * else's. The last line of the output is the list of problems as JSON.
 */

import { Stage } from "../switches/stage.ts";
import { isInside, isUserNamespace, runInside, watchParent } from "./enter.ts";
import { addresses, type HostName, REPLAY_NETWORK, requirePrograms, run } from "./hosts.ts";
import type { LabProcess } from "./process.ts";
import { ours } from "./programs.ts";

const ONLINE_PORT = 80;
const TARGET_PORT = 8080;
const TIMEOUT_MS = 30_000;
/** In place of the user that the README has made. */
const USER = "12345";

const readme = Deno.readTextFileSync(new URL("../../README.md", import.meta.url));

/** The commands of the first indented block behind some words of the README. */
export function commandsBehind(words: string): string[] {
  const at = readme.indexOf(words);
  if (at < 0) throw new Error(`the README has no "${words}"`);
  const [, block] = /\n\n((?: {4}.*\n)+)/.exec(readme.slice(at)) ?? [];
  if (block === undefined) throw new Error(`the README has no commands behind "${words}"`);
  return block.trimEnd().replaceAll("\\\n", "").split("\n").map((line) => line.trim());
}

/** Starts the README's commands, with the programs where they are looked for. */
class Commands {
  readonly #stage: Stage;
  readonly #path: string;

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#path = stage.path("bin");
    Deno.mkdirSync(this.#path);
    Deno.chmodSync(stage.directory, 0o755);
    for (const program of ["tcpcopy", "intercept"] as const) {
      const file = `${this.#path}/${program}`;
      const words = ours(program).map((word) => `'${word}'`).join(" ");
      Deno.writeTextFileSync(file, `#!/bin/sh\nexec ${words} "$@"\n`);
      Deno.chmodSync(file, 0o755);
    }
  }

  /** Starts commands on a host; the last one may stay. */
  start(host: HostName, commands: readonly string[]): LabProcess {
    const begin = `PATH=${this.#path}:$PATH\nset -e\n`;
    const last = commands.at(-1)!.replace(/^(?=tcpcopy|intercept|env)/, "exec ");
    const script = begin + [...commands.slice(0, -1), last].join("\n");
    return this.#stage.lab.spawn(host, ["sh", "-c", script], {
      name: commands.at(-1)!.split(" ")[0],
      cwd: this.#stage.directory,
    });
  }
}

/** Has some clients talk to the online server; says what the target has not got of it. */
async function replayed(stage: Stage, name: string): Promise<string[]> {
  const online = `${addresses.online}:${ONLINE_PORT}`;
  const ids = await stage.clients({}, "client", online);
  const records = await stage.arrived(ids, ids.count, "target", TARGET_PORT);
  const problems = records.length === ids.count
    ? []
    : [`${name}: ${records.length} of ${ids.count} connections have arrived`];
  const strange = records.filter(({ peer }) => !peer.startsWith("198.19.0."));
  return [...problems, ...strange.map(({ peer }) => `${name}: a connection came from ${peer}`)];
}

/** The steps one to three. */
async function threeServers(stage: Stage): Promise<string[]> {
  // What the README has its reader do must be what makes it work.
  await run(["ip", "-n", "target", "route", "del", REPLAY_NETWORK]);
  const sysctl = ["nsenter", "--net=/run/netns/assistant", "sysctl", "-n"];
  await run([...sysctl, "-w", "net.ipv4.ip_forward=1"]);
  const commands = new Commands(stage);
  const target = commands.start("target", commandsBehind("**1. Target**"));
  if ((await target.ended).code !== 0) return [`on the target: ${target.output}`];
  const intercept = commands.start("assistant", commandsBehind("**2. Assistant**"));
  await intercept.waitFor(/\bready\b/, TIMEOUT_MS);
  const asRoot = commandsBehind("**3. Online server**");
  const tcpcopy = commands.start("online", asRoot);
  await tcpcopy.waitFor(/\bready\b/, TIMEOUT_MS);
  const problems = await replayed(stage, "three servers");
  const forwards = await run([...sysctl, "net.ipv4.ip_forward"]);
  if (forwards.trim() !== "0") problems.push(`the assistant forwards: ${forwards}`);
  const { code } = await tcpcopy.stop();
  if (code !== 0) problems.push(`tcpcopy ended with code ${code}: ${tcpcopy.lastLines(3)}`);
  if (Deno.env.has("TCPCOPY_LAB") && !isUserNamespace()) {
    problems.push(...await withoutRoot(stage, commands, asRoot));
  }
  await intercept.stop();
  return problems;
}

/** The same tcpcopy as a user with two capabilities. */
async function withoutRoot(
  stage: Stage,
  commands: Commands,
  asRoot: readonly string[],
): Promise<string[]> {
  const [make, start] = commandsBehind("### Without root");
  if (!/^useradd .* tcpcopy$/.test(make)) return [`no user is made: ${make}`];
  if (!start.endsWith(` ${asRoot}`)) return [`another tcpcopy: ${start}`];
  // The user is not made; what it would have in its home is here.
  const cache = Deno.makeTempDirSync();
  Deno.chownSync(cache, Number(USER), Number(USER));
  const changed = start.replaceAll("=tcpcopy", `=${USER}`)
    .replace("--reset-env", "").replace("setpriv", `env XDG_CACHE_HOME=${cache} setpriv`);
  try {
    const tcpcopy = commands.start("online", [changed]);
    await tcpcopy.waitFor(/\bready\b/, TIMEOUT_MS);
    const problems = await replayed(stage, "without root");
    const status = Deno.readTextFileSync(`/proc/${tcpcopy.pid}/status`);
    if (!new RegExp(`^Uid:\\s+${USER}\\s`, "m").test(status)) problems.push(`it is ${status}`);
    if (/warning/.test(tcpcopy.output)) problems.push(`it warns: ${tcpcopy.output}`);
    await tcpcopy.stop();
    return problems;
  } finally {
    Deno.removeSync(cache, { recursive: true });
  }
}

async function main(): Promise<number> {
  if (!isInside()) return await runInside(new URL(import.meta.url).pathname, Deno.args);
  requirePrograms(["setpriv", "sysctl"]);
  const stage = await Stage.open();
  watchParent(() => stage.close());
  try {
    await stage.server("online", ONLINE_PORT);
    await stage.server("target", TARGET_PORT);
    const problems = await threeServers(stage);
    console.log(JSON.stringify(problems));
    return problems.length === 0 ? 0 : 1;
  } finally {
    await stage.close();
  }
}

if (import.meta.main) Deno.exit(await main());
