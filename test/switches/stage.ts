/**
 * Where the switches are tried out: the lab's hosts with servers that stay, and short replays between
 * them. Each replay's connections have numbers of their own, by which they are found again.
 */

import { addresses, type HostName, inNamespace, Lab, run } from "../lab/hosts.ts";
import type { LabProcess } from "../lab/process.ts";
import { APPLICATION_PORT, pause, startIntercept, startTcpcopy } from "../lab/programs.ts";
import { type ConnectionRecord, parseReport } from "../lab/report.ts";
import { type Workload, workloadNamed } from "../lab/workloads.ts";

const START_TIMEOUT_MS = 20_000;
const ARRIVE_TIMEOUT_MS = 15_000;
/** In which something that must not come would still have come. */
const STRAGGLER_MS = 700;

/** Connections with numbers from `first` on. */
export interface Ids {
  first: number;
  count: number;
}

/** What a replay in these tests is, unless told otherwise. */
const SMALL: Workload = {
  ...workloadNamed("keepalive"),
  name: "small",
  connections: 4,
  concurrency: 4,
  requests: 5,
};

/** How tcpcopy is started. */
export interface TcpcopyStart {
  host?: HostName;
  /** For `-c`. */
  clients?: string;
  waitUntilReady?: boolean;
}

export class Stage {
  readonly lab: Lab;
  readonly directory: string;
  readonly #servers = new Map<string, LabProcess>();
  #shared: LabProcess | undefined;
  #nextId = 1;

  private constructor(lab: Lab, directory: string) {
    this.lab = lab;
    this.directory = directory;
  }

  static async open(): Promise<Stage> {
    const directory = await Deno.makeTempDir({ dir: "/run" });
    await run(["ip", "link", "set", "lo", "up"]);
    return new Stage(await Lab.create({ second: true }), directory);
  }

  async close(): Promise<void> {
    await this.lab.close();
    await Deno.remove(this.directory, { recursive: true });
  }

  /** A path in a directory that goes with the stage. */
  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** Starts a server, if it is not there yet. */
  async server(host: HostName, port = APPLICATION_PORT, delayMs = 0): Promise<void> {
    const key = `${host}-${port}`;
    if (this.#servers.has(key)) return;
    const process = this.lab.spawn(host, [
      ...script("server.ts"),
      ...["--port", String(port), "--report", this.path(key), "--delay-ms", String(delayMs)],
    ], { name: `server ${key}` });
    this.#servers.set(key, process);
    await process.waitFor(/^ready$/m, START_TIMEOUT_MS);
  }

  /** The two servers, and the intercept most replays share. */
  async usual(): Promise<void> {
    await this.server("online");
    await this.server("target");
    this.#shared ??= await this.intercept();
  }

  /** Starts an intercept on the assistant. */
  intercept(...args: string[]): Promise<LabProcess> {
    return startIntercept(this.lab, "ours", this.directory, args);
  }

  /** Starts tcpcopy; of an option given twice the later one counts. */
  tcpcopy(args: readonly string[], start: TcpcopyStart = {}): Promise<LabProcess> {
    return startTcpcopy(this.lab, {
      maker: "ours",
      directory: this.directory,
      clientAddresses: start.clients ?? "198.19.0.x",
      extra: args,
      waitUntilReady: start.waitUntilReady ?? true,
      host: start.host,
    });
  }

  /** Starts clients of a server. */
  startClients(
    change: Partial<Workload> = {},
    from: HostName = "client",
    to = `${addresses.online}:${APPLICATION_PORT}`,
  ): { ids: Ids; process: LabProcess } {
    const workload = { ...SMALL, ...change };
    const ids = { first: this.#nextId, count: workload.connections };
    this.#nextId += workload.connections;
    const process = this.lab.spawn(from, [
      ...script("client.ts"),
      ...["--address", to, "--workload", JSON.stringify(workload)],
      ...["--first-id", String(ids.first), "--timeout-s", "30"],
    ], { name: "clients" });
    return { ids, process };
  }

  /** Runs clients to their end. */
  async clients(...args: Parameters<Stage["startClients"]>): Promise<Ids> {
    const { ids, process } = this.startClients(...args);
    const { code } = await process.ended;
    if (code !== 0) throw new Error(`the clients failed (lab fault): ${process.lastLines(3)}`);
    return ids;
  }

  /** What a server has seen of connections that have ended. */
  seen(ids: Ids, host: HostName, port = APPLICATION_PORT): ConnectionRecord[] {
    const { connections } = parseReport(Deno.readTextFileSync(this.path(`${host}-${port}`)));
    return connections.filter((each) =>
      each.ids.some((id) => id >= ids.first && id < ids.first + ids.count)
    );
  }

  /** Waits until a server has seen so many connections, and a little longer. */
  async arrived(
    ids: Ids,
    count = ids.count,
    host: HostName = "target",
    port = APPLICATION_PORT,
  ): Promise<ConnectionRecord[]> {
    const deadlineMs = Date.now() + ARRIVE_TIMEOUT_MS;
    while (this.seen(ids, host, port).length < count && Date.now() < deadlineMs) await pause(50);
    await pause(STRAGGLER_MS);
    return this.seen(ids, host, port);
  }

  /** One whole replay with these options of tcpcopy; returns what the target saw, and the log. */
  async replay(
    args: readonly string[],
    options: TcpcopyStart & { workload?: Partial<Workload>; copies?: number } = {},
  ): Promise<{ online: ConnectionRecord[]; target: ConnectionRecord[]; log: string }> {
    await this.usual();
    const tcpcopy = await this.tcpcopy(args, options);
    const ids = await this.clients(options.workload);
    const target = await this.arrived(ids, ids.count * (options.copies ?? 1));
    await tcpcopy.stop();
    return { online: this.seen(ids, "online"), target, log: tcpcopy.output };
  }

  /** Counts packets that reach a host from replayed clients and match a rule of nft(8). */
  async count(host: HostName, rule: string): Promise<() => Promise<number>> {
    const commands = `
nft add table ip switches
nft flush table ip switches
nft 'add chain ip switches in { type filter hook prerouting priority -310; }'
nft add rule ip switches in ip saddr 198.19.0.0/16 ${rule} counter`;
    await inNamespace(host, commands);
    return async () => {
      const ns = `--net=/run/netns/${host}`;
      const text = await run(["nsenter", ns, "nft", "list", "table", "ip", "switches"]);
      return Number(/counter packets (\d+)/.exec(text)?.[1] ?? NaN);
    };
  }
}

function script(name: string): string[] {
  const path = new URL(`../lab/${name}`, import.meta.url).pathname;
  return [Deno.execPath(), "run", "-A", path];
}
