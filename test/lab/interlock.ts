/**
 * What keeps a replay from those it has nothing to do with, between real kernels: scenarios, each in a
 * sandbox of its own.
 *
 *     deno run -A test/lab/interlock.ts unrouted|removed|forwarded|loop|terminated
 *
 * The last line of the output is the result as JSON.
 */

import { enter, isInside, runInside, watchParent } from "./enter.ts";
import { addresses, type HostName, inNamespace, Lab, REPLAY_NETWORK, run } from "./hosts.ts";
import type { LabProcess } from "./process.ts";
import { APPLICATION_PORT, pause, startIntercept, startTcpcopy } from "./programs.ts";
import { parseReport, type ServerReport } from "./report.ts";
import { type Workload, workloadNamed } from "./workloads.ts";

/** What a scenario found out; `problems` is empty when all is as it should be. */
export interface InterlockResult {
  problems: string[];
  figures: Record<string, number>;
}

const TIMEOUT_MS = 120_000;
const WAIT_MS = 40_000;
/** Tries of a probe's SYN; each draws an answer. */
const SYNS_PER_PROBE = 3;

/** Connections that come and go for a good while. */
const FLOW: Partial<Workload> = { connections: 3000, concurrency: 5, requests: 2, gapMs: 20 };

class Scene {
  readonly problems: string[] = [];
  readonly #lab: Lab;
  readonly #directory: string;
  #firstId = 0;

  constructor(lab: Lab, directory: string) {
    this.#lab = lab;
    this.#directory = directory;
  }

  async server(host: HostName, delayMs = 0): Promise<void> {
    const process = this.#lab.spawn(host, [
      ...script("server.ts"),
      ...["--port", `${APPLICATION_PORT}`, "--report", `${this.#directory}/${host}`],
      ...["--delay-ms", `${delayMs}`],
    ], { name: `server on ${host}` });
    await process.waitFor(/^ready$/m, WAIT_MS);
  }

  async intercept(...args: string[]): Promise<void> {
    await startIntercept(this.#lab, "ours", this.#directory, args);
  }

  /** @param clientAddresses for `-c`; empty: without it */
  tcpcopy(
    clientAddresses: string,
    args: readonly string[] = [],
    host: HostName = "online",
  ): Promise<LabProcess> {
    return startTcpcopy(this.#lab, {
      maker: "ours",
      directory: this.#directory,
      clientAddresses,
      extra: args,
      waitUntilReady: true,
      host,
    });
  }

  clients(change: Partial<Workload>): LabProcess {
    const workload = { ...workloadNamed("keepalive"), ...change };
    const firstId = this.#firstId;
    this.#firstId += workload.connections;
    return this.#lab.spawn("client", [
      ...script("client.ts"),
      ...["--address", `${addresses.online}:${APPLICATION_PORT}`, "--timeout-s", "60"],
      ...["--workload", JSON.stringify(workload), "--first-id", `${firstId}`],
    ], { name: "clients" });
  }

  report(host: HostName): ServerReport {
    return parseReport(Deno.readTextFileSync(`${this.#directory}/${host}`));
  }

  frames(host: HostName): number {
    return this.report(host).status.frames;
  }

  /** Waits until a condition holds. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (let leftMs = WAIT_MS; !holds(); leftMs -= 50) {
      if (leftMs <= 0) throw new Error(`waited ${WAIT_MS} ms in vain: ${what}`);
      await pause(50);
    }
  }

  check(isRight: boolean, otherwise: string): void {
    if (!isRight) this.problems.push(otherwise);
  }

  /** Counts packets that reach a host and match a rule of nft(8). */
  async count(host: HostName, rule: string): Promise<() => Promise<number>> {
    await run(["nsenter", `--net=/run/netns/${host}`, "nft", "-f", "-"], [
      "table ip interlock {",
      `chain in { type filter hook prerouting priority -310; ${rule} counter; }`,
      "}",
    ]);
    const list = ["nft", "list", "table", "ip", "interlock"];
    return async () => {
      const text = await run(["nsenter", `--net=/run/netns/${host}`, ...list]);
      return Number(/counter packets (\d+)/.exec(text)?.[1] ?? NaN);
    };
  }

  /** Packets of the target that reach the real clients. */
  countLeaks(): Promise<() => Promise<number>> {
    return this.count("client", `ip saddr ${addresses.target}`);
  }
}

/** Packets that probes may have led to so far; one may be under way. */
function mostOfProbes(tcpcopy: LabProcess): number {
  return (tcpcopy.output.split("; next probe in ").length) * SYNS_PER_PROBE;
}

/** On the target: the real clients by way of the assistant. */
const route = `route add ${addresses.client}/32 via ${addresses.assistant}`;

/** Without -c, and without a route on the target: its answers reach the real clients. */
async function unrouted(scene: Scene): Promise<Record<string, number>> {
  await scene.server("online");
  await scene.server("target");
  await scene.intercept();
  const leaks = await scene.countLeaks();
  const tcpcopy = await scene.tcpcopy("");
  const flow = scene.clients(FLOW);
  await tcpcopy.waitFor(/no answer to a probe as client .*next probe in 2 s/, WAIT_MS);
  const leaked = await leaks();
  const most = mostOfProbes(tcpcopy);
  scene.check(
    leaked > 0 && leaked <= most,
    `${leaked} packets of the target reached the client, of probes at most ${most}`,
  );
  const read = scene.frames("target");
  scene.check(read === 0, `the target read ${read} requests`);
  await inNamespace("target", `ip ${route}`);
  await tcpcopy.waitFor(/its answers come by way of intercept: sending/, WAIT_MS);
  const before = await leaks();
  await scene.until("requests at the target", () => scene.frames("target") > 50);
  const more = await leaks() - before;
  scene.check(more === 0, `${more} packets reached the client after the route was there`);
  await flow.stop();
  return { leaked, afterwards: more };
}

/** Without -c, with the route; it is removed amid the replay. */
async function removed(scene: Scene): Promise<Record<string, number>> {
  await scene.server("online");
  await scene.server("target");
  await scene.intercept();
  await inNamespace("target", `ip ${route}`);
  const leaks = await scene.countLeaks();
  // A client's own resets come from the same address; what is replayed are no resets.
  const sent = await scene.count("target", "tcp flags & (rst) == 0 tcp dport 8080");
  const tcpcopy = await scene.tcpcopy("");
  const flow = scene.clients(FLOW);
  await scene.until("requests at the target", () => scene.frames("target") > 100);
  const leakedBefore = await leaks();
  scene.check(leakedBefore === 0, `${leakedBefore} packets reached the client with the route`);
  await inNamespace("target", `ip ${route.replace("add", "delete")}`);
  const goneAtMs = performance.now();
  await tcpcopy.waitFor(/sending stops: nothing comes from it by way of intercept/, WAIT_MS);
  const stopMs = performance.now() - goneAtMs;
  const [sentAtStop, readOnline] = [await sent(), scene.frames("online")];
  await tcpcopy.waitFor(/nothing is sent there: no answer to a probe/, WAIT_MS);
  await scene.until("requests online", () => scene.frames("online") > readOnline + 100);
  const more = await sent() - sentAtStop;
  const most = mostOfProbes(tcpcopy);
  scene.check(more <= most, `${more} packets were sent after the stop, for probes at most ${most}`);
  const leaked = await leaks();
  const from = tcpcopy.output.length;
  await inNamespace("target", `ip ${route}`);
  await tcpcopy.waitFor(/its answers come by way of intercept: sending/, WAIT_MS, from);
  const read = scene.frames("target");
  await scene.until("requests at the target again", () => scene.frames("target") > read + 50);
  await flow.stop();
  return { stopMs: Math.round(stopMs), leaked, sentAfterStop: more };
}

/** Without -c, with the route; but the assistant forwards what it gets to the real clients. */
async function forwarded(scene: Scene): Promise<Record<string, number>> {
  await scene.server("online");
  await scene.server("target");
  await scene.intercept();
  await inNamespace("target", `ip ${route}`);
  await inNamespace(
    "assistant",
    "echo 1 > /proc/sys/net/ipv4/ip_forward\n" +
      "for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $f; done",
  );
  const leaks = await scene.countLeaks();
  const tcpcopy = await scene.tcpcopy("");
  const flow = scene.clients(FLOW);
  await tcpcopy.waitFor(/somebody else gets them, too, and resets the connections/, WAIT_MS);
  const leaked = await leaks();
  const most = mostOfProbes(tcpcopy);
  scene.check(leaked > 0 && leaked <= most, `${leaked} packets reached the client, not ${most}`);
  scene.check(scene.frames("target") === 0, "the target read requests");
  await flow.stop();
  return { leaked };
}

/** Two services, each the target of the other's tcpcopy. */
async function loop(scene: Scene): Promise<Record<string, number>> {
  const pair: readonly HostName[] = ["online", "online2"];
  for (const host of pair) {
    await scene.server(host);
    await inNamespace(host, `ip route add ${REPLAY_NETWORK} via ${addresses.assistant}`);
  }
  const hosts = `(src host ${addresses.online} or src host ${addresses.online2})`;
  await scene.intercept("-F", `tcp and src port ${APPLICATION_PORT} and ${hosts}`);
  const to = (
    host: HostName,
  ) => ["-x", `${APPLICATION_PORT}-${addresses[host]}:${APPLICATION_PORT}`];
  await scene.tcpcopy("198.19.0.x", to("online2"));
  let other = await scene.tcpcopy("198.19.1.x", to("online"), "online2");
  const asked = 100;
  const workload = { connections: 20, concurrency: 20, requests: asked / 20 };
  const figures: Record<string, number> = {};
  for (const [name, online, online2] of [["alone", 1, 1], ["chained", 3, 2]] as const) {
    if (name === "chained") {
      await other.stop();
      other = await scene.tcpcopy(
        "198.19.1.x",
        [...to("online"), "--replay-replayed", "1"],
        "online2",
      );
    }
    await scene.clients(workload).ended;
    await scene.until(
      `${online2 * asked} requests at the other server, ${online * asked} at this`,
      () => scene.frames("online2") >= online2 * asked && scene.frames("online") >= online * asked,
    );
    await pause(1_500); // in which what must not come would come
    figures[`${name} online`] = scene.frames("online");
    figures[`${name} online2`] = scene.frames("online2");
    scene.check(figures[`${name} online`] === online * asked, `${name}: requests went round`);
    scene.check(figures[`${name} online2`] === online2 * asked, `${name}: requests went round`);
    if (name === "alone") {
      scene.check(/what another tcpcopy sends .* is left out/.test(other.output), "no warning");
    }
  }
  return figures;
}

/** SIGTERM amid a replay that is far behind: what was captured does not go on, nothing stays open. */
async function terminated(scene: Scene): Promise<Record<string, number>> {
  const [connections, requests, delayMs] = [100, 40, 250];
  await scene.server("online");
  await scene.server("target", delayMs);
  await scene.intercept();
  const tcpcopy = await scene.tcpcopy("198.19.0.x");
  const { code } = await scene.clients({ connections, concurrency: connections, requests }).ended;
  scene.check(code === 0, "the clients failed (lab fault)");
  await scene.until("all at the target", () => scene.report("target").status.open === connections);
  const before = scene.frames("target");
  await tcpcopy.stop(20_000, "SIGTERM");
  await scene.until("all closed", () => scene.report("target").status.open === 0);
  const after = scene.frames("target");
  const { connections: seen } = scene.report("target");
  const reset = seen.filter(({ ending }) => ending === "rst").length;
  scene.check(reset === connections, `${reset} of ${connections} connections were reset`);
  // A drain would go on for 3 s: twelve requests on each connection.
  scene.check(after - before < 6 * connections, `${after - before} requests after the signal`);
  scene.check(
    new RegExp(`open at exit +${connections}\n`).test(tcpcopy.output),
    tcpcopy.lastLines(8),
  );
  return { before, after, reset };
}

/** All scenarios by name. */
const scenarios: Record<string, (scene: Scene) => Promise<Record<string, number>>> = {
  unrouted,
  removed,
  forwarded,
  loop,
  terminated,
};

/** Runs a scenario in a sandbox, from outside. */
export async function runInterlock(name: string): Promise<InterlockResult> {
  const child = await enter(new URL(import.meta.url).pathname, [name], "piped");
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.status;
  clearTimeout(timer);
  await child.stdin.close().catch(() => {}); // closed already when it was killed
  const line = text.trim().split("\n").pop() ?? "";
  if (!line.startsWith("{")) throw new Error(errors.trim() || `no result: ${text}`);
  return JSON.parse(line) as InterlockResult;
}

function script(name: string): string[] {
  return [Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname];
}

async function main(): Promise<number> {
  const scenario = scenarios[Deno.args[0]];
  if (scenario === undefined) {
    console.error(`expected one of ${Object.keys(scenarios).join(", ")}`);
    return 2;
  }
  if (!isInside()) return await runInside(new URL(import.meta.url).pathname, Deno.args);
  const directory = await Deno.makeTempDir({ dir: "/run" });
  const lab = await Lab.create({ second: Deno.args[0] === "loop" });
  watchParent(async () => await lab.close());
  try {
    const scene = new Scene(lab, directory);
    const figures = await scenario(scene);
    const { problems } = scene;
    console.log(JSON.stringify({ problems, figures } satisfies InterlockResult));
    return problems.length === 0 ? 0 : 1;
  } finally {
    await lab.close();
  }
}

if (import.meta.main) {
  try {
    Deno.exit(await main());
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(2);
  }
}
