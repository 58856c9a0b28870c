/** One measured replay of each kind, with our programs or the originals. */

import { cases } from "../../test/lab/cases.ts";
import { Lab } from "../../test/lab/hosts.ts";
import { runNginx } from "../../test/lab/nginx.ts";
import { APPLICATION_PORT, type Maker } from "../../test/lab/programs.ts";
import { runReplay } from "../../test/lab/replay.ts";
import { quantile } from "../disturbance/statistics.ts";
import { addedDelaysUs } from "./delay.ts";

/** A contender: whose programs, started with which options. */
export interface Contender {
  name: string;
  maker: Maker;
  tcpcopyArgs: readonly string[];
  interceptArgs: readonly string[];
}

/** Figures of one run by name; all of them better when smaller, but for shares and rates. */
export type Figures = Record<string, number>;

const MEBIBYTE = 1 << 20;
/** A second or so. Many more, and who gets how much of two cores decides. */
const UPLOADS_EACH = 5;

/** Long enough for what is compiled in the first second not to count much. */
const LOAD_SECONDS = 10;

/** nginx on both ends under wrk, 20 connections. */
export async function measureNginx(contender: Contender, caseName: string): Promise<Figures> {
  const made = cases.get(caseName);
  if (made?.nginx === undefined) throw new Error(`${caseName} is no case with nginx`);
  const load = { ...made.nginx, seconds: LOAD_SECONDS };
  return await inLab(async (lab, directory) => {
    const run = await runNginx(lab, planOf(contender), load, directory);
    const requests = run.connections * run.share;
    return {
      "requests/s online": run.requestsPerSecond,
      "replayed when the load ends, %": 100 * run.shareAtEnd,
      "replayed after draining, %": 100 * run.share,
      "CPU of tcpcopy, µs per request": 1e6 * run.tcpcopyCpuSeconds / requests,
      "CPU of intercept, µs per request": 1e6 * run.interceptCpuSeconds / requests,
      "packets to the target per request": run.packetsPerRequest,
      "memory of tcpcopy, MiB": run.tcpcopyPeakBytes / MEBIBYTE,
      "memory of intercept, MiB": run.interceptPeakBytes / MEBIBYTE,
    };
  });
}

/** 20 connections with a request every 20 ms: the delay the replay adds when nothing is busy. */
export async function measureDelay(contender: Contender): Promise<Figures> {
  const made = cases.get("steady");
  if (made === undefined) throw new Error("the lab has no case steady");
  return await inLab(async (lab, directory) => {
    const { comparison } = await runReplay(lab, {
      ...planOf(contender),
      workloads: made.plan.workloads,
      record: ["online", "target"],
      directory,
    });
    const delays = addedDelaysUs(
      `${directory}/online.pcap`,
      `${directory}/target.pcap`,
      APPLICATION_PORT,
    );
    return {
      "byte-exact connections, %": 100 * comparison.share,
      "added delay p50, µs": quantile(delays, 0.5),
      "added delay p99, µs": quantile(delays, 0.99),
    };
  });
}

/** 8 connections at once, each uploading 4 MB again and again: does the replay keep the pace? */
export async function measureUploads(contender: Contender): Promise<Figures> {
  const made = cases.get("upload");
  if (made === undefined) throw new Error("the lab has no case upload");
  const [upload] = made.plan.workloads;
  const workload = { ...upload, connections: 8, concurrency: 8, requests: UPLOADS_EACH };
  const megabytes = 8 * UPLOADS_EACH * 4;
  return await inLab(async (lab, directory) => {
    const run = await runReplay(lab, { ...planOf(contender), workloads: [workload], directory });
    const { servedSeconds } = run;
    return {
      "byte-exact connections, %": 100 * run.comparison.share,
      "MB/s online": megabytes / servedSeconds.online,
      "MB/s to the target": megabytes / servedSeconds.target,
      "target : online": servedSeconds.online / servedSeconds.target,
      "CPU of tcpcopy, ms per MB": 1e3 * run.cpuSeconds.tcpcopy / megabytes,
    };
  });
}

function planOf({ maker, tcpcopyArgs, interceptArgs }: Contender) {
  return { workloads: [], tcpcopy: maker, intercept: maker, tcpcopyArgs, interceptArgs };
}

async function inLab(work: (lab: Lab, directory: string) => Promise<Figures>): Promise<Figures> {
  const directory = await Deno.makeTempDir({ dir: "/run" });
  const lab = await Lab.create();
  try {
    return await work(lab, directory);
  } finally {
    await lab.close();
    await Deno.remove(directory, { recursive: true });
  }
}
