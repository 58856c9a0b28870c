/**
 * nginx on both servers, loaded by wrk (each connection asks again at once) or by h2load (a fixed
 * rate): requests online and on the target, counted by nginx itself.
 *
 * The counter is stub_status behind a Unix socket, which is read from outside the hosts.
 */

import type { Case } from "./cases.ts";
import { addresses, type Lab, requirePrograms } from "./hosts.ts";
import type { LabProcess } from "./process.ts";
import type { LedgerText } from "./ledger_text.ts";
import { type NginxAnswers, nginxAnswers, usualAnswers } from "./nginx_twists.ts";
import { APPLICATION_PORT, pause } from "./programs.ts";
import type { CaseResult } from "./run.ts";
import { RunningReplay } from "./running_replay.ts";

/** One process, and no change of user: in a user namespace there is no other. */
function configuration(directory: string, { http, body }: NginxAnswers): string {
  return `
daemon off;
user root root;
master_process off;
pid ${directory}/pid;
error_log ${directory}/error.log;
worker_rlimit_nofile 20000;
events { worker_connections 10000; }
http {
  access_log off;
  ${http}
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  server {
    listen ${APPLICATION_PORT} backlog=4096;
    location / { default_type text/plain; return 200 "${body}"; }
  }
  server {
    listen unix:${directory}/status.sock;
    location / { stub_status; }
  }
}
`;
}

/** Requests served so far, without those for the counter. */
export class RequestCounter {
  readonly #path: string;
  #ownRequests = 0;

  constructor(directory: string) {
    this.#path = `${directory}/status.sock`;
  }

  async read(): Promise<number> {
    const conn = await Deno.connect({ transport: "unix", path: this.#path });
    this.#ownRequests++;
    await conn.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
    const text = await new Response(conn.readable).text();
    const match = /requests\s+\d+ \d+ (\d+)/.exec(text);
    if (match === null) throw new Error(`expected nginx's stub_status, came: ${text}`);
    return Number(match[1]) - this.#ownRequests;
  }
}

/** Starts nginx on a host and waits until it answers. */
export async function startNginx(
  lab: Lab,
  host: "online" | "target",
  directory: string,
  answers: NginxAnswers,
): Promise<[LabProcess, RequestCounter]> {
  const own = `${directory}/nginx-${host}`;
  await Deno.mkdir(own);
  await Deno.writeTextFile(`${own}/nginx.conf`, configuration(own, answers));
  const argv = ["nginx", "-c", `${own}/nginx.conf`, "-p", own, "-e", `${own}/error.log`];
  const process = lab.spawn(host, argv, { name: `nginx on ${host}` });
  const counter = new RequestCounter(own);
  for (let attempt = 0;; attempt++) {
    try {
      await counter.read();
      return [process, counter];
    } catch (error) {
      if (attempt === 100 || process.status !== undefined) {
        throw new Error(`${process.name}: ${process.lastLines(3)}`, { cause: error });
      }
      await pause(50);
    }
  }
}

/** How long the target may need to catch up after the load has ended. */
const DRAIN_MS = 30_000;
/** Without a new request for so long, nothing more comes. */
const QUIET_MS = 4_000;

/** Waits until the target has served as many requests as the online server, or none come. */
async function drain(online: RequestCounter, target: RequestCounter): Promise<[number, number]> {
  const deadlineMs = Date.now() + DRAIN_MS;
  let changedMs = Date.now();
  let last = -1;
  for (;;) {
    const counts: [number, number] = [await online.read(), await target.read()];
    if (counts[1] !== last) changedMs = Date.now();
    last = counts[1];
    const isOver = counts[1] >= counts[0] || Date.now() - changedMs > QUIET_MS;
    if (isOver || Date.now() > deadlineMs) return counts;
    await pause(200);
  }
}

/** What loads the online server. */
export interface NginxLoad {
  /** Whether each request has a connection of its own. */
  closes: boolean;
  connections: number;
  seconds: number;
  /** Requests a second of all connections together; default: as many as there can be. */
  requestsPerSecond?: number;
}

/** wrk waits for nothing but the reply; h2load keeps a rate, and sends at once what is late. */
export function loadCommand(load: NginxLoad): string[] {
  const { closes, connections, seconds, requestsPerSecond } = load;
  const url = `http://${addresses.online}:${APPLICATION_PORT}/`;
  if (requestsPerSecond !== undefined) {
    return [
      ...["h2load", "--h1", "-t", "1", "-c", `${connections}`, "-m", "1", "-D", `${seconds}`],
      ...[`--rps=${requestsPerSecond / connections}`, url],
    ];
  }
  return [
    ...["wrk", "-t", "1", "-c", String(connections), "-d", `${seconds}s`],
    ...(closes ? ["-H", "Connection: close"] : []),
    url,
  ];
}

/** What a run under load cost, besides what the table shows. */
export interface NginxFigures {
  /** Share of the requests that had reached the target when the load ended. */
  shareAtEnd: number;
  /** Requests a second online. */
  requestsPerSecond: number;
  /** Packets the target received for each request. */
  packetsPerRequest: number;
  tcpcopyPeakBytes: number;
  interceptPeakBytes: number;
  loadSeconds: number;
  /** From the load's start until the target had served as many requests; absent: it never had. */
  secondsToAll?: number;
  ledger?: LedgerText;
}

/**
 * Loads the online nginx while it is replayed to the target's, which may have the plan's twist.
 *
 * @returns shares of requests; 1 also when the target served more than the online server
 */
export async function runNginx(
  lab: Lab,
  plan: Case["plan"],
  load: NginxLoad,
  directory: string,
): Promise<Omit<CaseResult, "name" | "lostPackets"> & NginxFigures> {
  const command = loadCommand(load);
  requirePrograms(["nginx", command[0]]);
  const answers = plan.twist === undefined ? usualAnswers : nginxAnswers(plan.twist);
  if (answers === undefined) throw new Error(`nginx cannot have the twist "${plan.twist?.name}"`);
  const [, online] = await startNginx(lab, "online", directory, usualAnswers);
  const [targetNginx, target] = await startNginx(lab, "target", directory, answers);
  const replay = await RunningReplay.start(lab, plan, directory);
  const startMs = performance.now();
  const packetsBefore = targetNginx.receivedPackets();
  const loader = lab.spawn("client", command, { name: command[0] });
  const { code } = await loader.ended;
  const problems = code === 0
    ? []
    : [`${loader.name} ended with code ${code}: ${loader.lastLines(3)}`];
  const loadSeconds = (performance.now() - startMs) / 1000;
  const atEnd = await target.read() / await online.read();
  const [onlineCount, targetCount] = await drain(online, target);
  const seconds = (performance.now() - startMs) / 1000;
  const share = onlineCount === 0 ? 0 : targetCount / onlineCount;
  if (share < 0.999 || share > 1.001) {
    problems.push(
      `${targetCount} requests on the target of ${onlineCount} online ` +
        `(${Math.floor(atEnd * 100)} % when the load ended)`,
    );
  }
  const packets = targetNginx.receivedPackets() - packetsBefore;
  const peakBytes = [replay.tcpcopy.peakMemoryBytes(), replay.intercept.peakMemoryBytes()];
  const end = await replay.stop();
  return {
    connections: onlineCount,
    share: Math.min(1, share),
    early: 0,
    seconds,
    tcpcopyCpuSeconds: end.cpuSeconds.tcpcopy,
    interceptCpuSeconds: end.cpuSeconds.intercept,
    problems: [...problems, ...end.problems],
    shareAtEnd: Math.min(1, atEnd),
    requestsPerSecond: onlineCount / loadSeconds,
    packetsPerRequest: packets / Math.max(1, targetCount),
    tcpcopyPeakBytes: peakBytes[0],
    interceptPeakBytes: peakBytes[1],
    loadSeconds,
    secondsToAll: share < 1 ? undefined : seconds,
    ledger: end.ledger,
  };
}
