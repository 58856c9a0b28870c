/** One round under one condition: what requests to the online server took. */

import { Lab, requirePrograms } from "../../test/lab/hosts.ts";
import { loadCommand, startNginx } from "../../test/lab/nginx.ts";
import { usualAnswers } from "../../test/lab/nginx_twists.ts";
import { pause } from "../../test/lab/programs.ts";
import { RunningReplay } from "../../test/lab/running_replay.ts";
import type { Condition } from "./conditions.ts";
import type { ControlGroup } from "./control_group.ts";
import { quantile } from "./statistics.ts";

/** The load: small requests on lasting connections, at a fixed rate. */
export interface Load {
  connections: number;
  requestsPerSecond: number;
  /** Measured, after what is left out. */
  seconds: number;
}

/** What came out. */
export interface Figures {
  p50Us: number;
  p99Us: number;
  maxUs: number;
  /** Measured requests a second. */
  requestsPerSecond: number;
  /** Requests online that were not answered with 200, in all. */
  failed: number;
  /** Of the requests online, how many reached the target, %; of all, also those not measured. */
  replayedPercent: number;
}

/** Left out at the beginning, as a share of the measured time: connections, code that is compiled. */
const WARM_UP = 0.25;

/** How many requests a second there can be without the tool, with connections that ask at once. */
export async function capacity(connections: number, seconds: number): Promise<number> {
  return await inLab(async (lab, directory) => {
    const command = loadCommand({ closes: false, connections, seconds });
    requirePrograms(["nginx", command[0]]);
    await startNginx(lab, "online", directory, usualAnswers);
    const loader = lab.spawn("client", command, { name: command[0] });
    const match = await loader.waitFor(/Requests\/sec:\s+([\d.]+)/, seconds * 1000 + 20_000);
    return Number(match[1]);
  });
}

export async function measure(condition: Condition, load: Load): Promise<Figures> {
  const groups: ControlGroup[] = [];
  try {
    return await inLab((lab, directory) => measureInside(lab, directory, condition, load, groups));
  } finally {
    for (const group of groups) await group.close();
  }
}

async function measureInside(
  lab: Lab,
  directory: string,
  condition: Condition,
  load: Load,
  groups: ControlGroup[],
): Promise<Figures> {
  const warmUpSeconds = load.seconds * WARM_UP;
  const log = `${directory}/requests.log`;
  const { connections, requestsPerSecond } = load;
  const seconds = Math.ceil(load.seconds + warmUpSeconds);
  const [program, ...args] = loadCommand({
    closes: false,
    connections,
    seconds,
    requestsPerSecond,
  });
  requirePrograms(["nginx", program]);
  const [, online] = await startNginx(lab, "online", directory, usualAnswers);
  const [, target] = await startNginx(lab, "target", directory, usualAnswers);
  const replay = condition.hasTool ? await RunningReplay.start(lab, {}, directory) : undefined;
  if (replay !== undefined) groups.push(...condition.prepare?.(replay) ?? []);
  const loader = lab.spawn("client", [program, `--log-file=${log}`, ...args], { name: program });
  const { event } = condition;
  if (event !== undefined && replay !== undefined) {
    await pause((warmUpSeconds + event.at * load.seconds) * 1000);
    event.act(replay.tcpcopy);
  }
  const { code } = await loader.ended;
  if (code !== 0) throw new Error(`${program} ended with code ${code}: ${loader.lastLines(3)}`);
  const hasEnded = replay?.tcpcopy.status !== undefined;
  if (hasEnded !== (condition.endsEarly ?? false)) {
    const what = hasEnded
      ? `tcpcopy has ended: ${replay?.tcpcopy.lastLines(3)}`
      : "tcpcopy still runs";
    throw new Error(`${condition.name}: ${what}`);
  }
  const replayedPercent = 100 * await target.read() / await online.read();
  // What is frozen does not hear that it is to end.
  replay?.tcpcopy.signal("SIGCONT");
  return { ...readLatencies(await Deno.readTextFile(log), warmUpSeconds), replayedPercent };
}

/** Reads h2load's log: start in µs since 1970, status, duration in µs. */
function readLatencies(text: string, warmUpSeconds: number): Omit<Figures, "replayedPercent"> {
  const lines = text.trimEnd().split("\n").map((line) => line.split("\t").map(Number));
  const firstUs = Math.min(...lines.slice(0, 1000).map(([startUs]) => startUs));
  const fromUs = firstUs + warmUpSeconds * 1e6;
  const measured = lines.filter(([startUs]) => startUs >= fromUs);
  const took = Float64Array.from(measured, ([, , tookUs]) => tookUs).sort();
  if (took.length === 0) throw new Error(`no requests were measured, of ${lines.length}`);
  const lastUs = measured[measured.length - 1][0];
  return {
    p50Us: quantile(took, 0.5),
    p99Us: quantile(took, 0.99),
    maxUs: took[took.length - 1],
    requestsPerSecond: took.length / ((lastUs - fromUs) / 1e6),
    failed: lines.filter(([, status]) => status !== 200).length,
  };
}

async function inLab<T>(work: (lab: Lab, directory: string) => Promise<T>): Promise<T> {
  const directory = await Deno.makeTempDir({ dir: "/run" });
  const lab = await Lab.create();
  try {
    return await work(lab, directory);
  } finally {
    await lab.close();
    await Deno.remove(directory, { recursive: true });
  }
}
