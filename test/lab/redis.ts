/**
 * Redis on both servers under redis-benchmark: calls of each command online and on the target, as
 * the servers count them.
 *
 * The counts are read over Unix sockets, from outside the hosts.
 */

import { addresses, type Lab, requirePrograms } from "./hosts.ts";
import { APPLICATION_PORT, pause } from "./programs.ts";
import type { CaseResult } from "./run.ts";
import { type ProgramsPlan, RunningReplay } from "./running_replay.ts";

/** What redis-benchmark does. */
export interface RedisLoad {
  /** Commands, one after the other. */
  commands: readonly string[];
  /** Calls of each. */
  calls: number;
  connections: number;
  /** Calls sent without waiting for a reply in between. */
  pipeline: number;
}

/** How long after the load the counts are compared. */
const SETTLE_MS = 1_000;

/** Calls by command. */
export type CommandCalls = ReadonlyMap<string, number>;

/** Understands what `INFO commandstats` tells; calls of INFO itself are left out. */
export function parseCommandCalls(text: string): CommandCalls {
  const found = text.matchAll(/^cmdstat_([^:]+):calls=(\d+),/gm);
  const calls = new Map([...found].map(([, command, count]) => [command, Number(count)]));
  calls.delete("info");
  return calls;
}

/** How the target's calls compare with those online: one line for each command that differs. */
export function compareCalls(online: CommandCalls, target: CommandCalls) {
  const differences: string[] = [];
  let calls = 0;
  let matched = 0;
  for (const command of new Set([...online.keys(), ...target.keys()])) {
    const [here, there] = [online.get(command) ?? 0, target.get(command) ?? 0];
    calls += here;
    matched += Math.min(here, there);
    if (here !== there) {
      differences.push(`${command}: ${here} calls online, ${there} on the target`);
    }
  }
  return { calls, share: calls === 0 ? 0 : matched / calls, differences };
}

/** A server that keeps nothing. */
class RedisServer {
  readonly #socket: string;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  static async start(
    lab: Lab,
    host: "online" | "target",
    directory: string,
  ): Promise<RedisServer> {
    const socket = `${directory}/redis-${host}.sock`;
    // Debian's package of the client has the server, too: it is a server by the name it is called.
    const process = lab.spawn(host, [
      ...["bash", "-c", 'exec -a redis-server redis-check-rdb "$@"', "redis-server"],
      ...["--port", `${APPLICATION_PORT}`, "--bind", "0.0.0.0"],
      ...["--protected-mode", "no", "--save", "", "--appendonly", "no", "--daemonize", "no"],
      ...["--dir", directory, "--unixsocket", socket],
    ], { name: `redis on ${host}` });
    await process.waitFor(/ready to accept connections (at|unix)/i, 10_000);
    return new RedisServer(socket);
  }

  async calls(): Promise<CommandCalls> {
    const conn = await Deno.connect({ transport: "unix", path: this.#socket });
    await conn.write(new TextEncoder().encode("INFO commandstats\r\nQUIT\r\n"));
    return parseCommandCalls(await new Response(conn.readable).text());
  }
}

/**
 * Loads the online Redis while it is replayed to the target's.
 *
 * @returns `connections` and `share` are calls; of the figures, `shareAtLoadEnd` is the share of them
 * that had been made when the load ended
 */
export async function runRedis(
  lab: Lab,
  plan: ProgramsPlan,
  load: RedisLoad,
  directory: string,
): Promise<Omit<CaseResult, "name" | "lostPackets">> {
  requirePrograms(["redis-check-rdb", "redis-benchmark"]);
  const online = await RedisServer.start(lab, "online", directory);
  const target = await RedisServer.start(lab, "target", directory);
  const replay = await RunningReplay.start(lab, plan, directory);
  const startMs = performance.now();
  const benchmark = lab.spawn("client", [
    ...["redis-benchmark", "-h", addresses.online, "-p", `${APPLICATION_PORT}`],
    ...["-t", load.commands.join(","), "-n", `${load.calls}`, "-c", `${load.connections}`],
    ...["-P", `${load.pipeline}`, "-q"],
  ], { name: "redis-benchmark" });
  const { code } = await benchmark.ended;
  const seconds = (performance.now() - startMs) / 1000;
  const atEnd = compareCalls(await online.calls(), await target.calls());
  await pause(SETTLE_MS);
  const { calls, share, differences } = compareCalls(await online.calls(), await target.calls());
  const end = await replay.stop();
  const problems = [...end.problems, ...differences];
  if (code !== 0) {
    problems.push(`redis-benchmark ended with code ${code}: ${benchmark.lastLines(3)}`);
  }
  return {
    connections: calls,
    share,
    early: 0,
    seconds,
    tcpcopyCpuSeconds: end.cpuSeconds.tcpcopy,
    interceptCpuSeconds: end.cpuSeconds.intercept,
    problems,
    figures: { shareAtLoadEnd: atEnd.share },
    ledger: end.ledger,
  };
}
