/**
 * The demo's two replays, live and from a recording, on four hosts that are up. Starts the programs
 * on them and looks at what arrives; shows nothing.
 */

import { addresses, type Lab } from "../lab/hosts.ts";
import type { LabProcess } from "../lab/process.ts";
import { APPLICATION_PORT, pause, startIntercept, startTcpcopy } from "../lab/programs.ts";
import type { ApplicationStatus, ConnectionReport } from "./application.ts";
import type { ClientSummary } from "./clients.ts";
import { compare } from "./compare.ts";
import { ask } from "./conversation.ts";
import { CpuMeter } from "./cpu.ts";
import type { LatencyReport } from "./latency.ts";
import type { RecorderReport } from "./recorder.ts";
import type { Result } from "./table.ts";

/** How far a replay is: requests online (or recorded) and on the target. */
export type OnProgress = (online: number, target: number) => void;

/** For how long the clients ask, seconds. */
const LIVE_SECONDS = 6;
/** How much faster than recorded the recording is played. */
const ACCELERATION = 2;
const POLL_MS = 100;
const READY_TIMEOUT_MS = 20_000;
/** How long after the last client the target may still be behind. */
const DRAIN_MS = 5_000;
/** Time in which something could still arrive twice after everything has arrived once. */
const STRAGGLER_MS = 200;
/** The longest an offline replay may take. */
const OFFLINE_MS = 25_000;

/** A server with what watches it. */
interface Server {
  application: LabProcess;
  recorder: LabProcess;
}

export class Replays {
  readonly #lab: Lab;
  readonly #directory: string;
  /** Everything that was not as it should be, one line each. */
  readonly problems: string[] = [];
  /** Programs under test that were started, for what they said. */
  readonly tested: LabProcess[] = [];
  #online!: Server;
  #target!: Server;
  #clients!: LabProcess;
  #intercept!: LabProcess;
  #tcpcopy!: LabProcess;
  /** What the online server had, for the second replay. */
  #recorded: ConnectionReport[] = [];
  #onlineLatency!: LatencyReport;

  /** @param directory where the recording goes */
  constructor(lab: Lab, directory: string) {
    this.#lab = lab;
    this.#directory = directory;
  }

  /** Starts everything; resolves when all is ready for the first request. */
  async start(): Promise<void> {
    const client = ["--address", `${addresses.online}:${APPLICATION_PORT}`];
    [this.#online, this.#target, this.#clients, this.#intercept] = await Promise.all([
      this.#startServer("online", "1", ["--keep", this.#recordingPath]),
      this.#startServer("target", "2", []),
      this.#start("client", "clients.ts", [...client, "--seconds", String(LIVE_SECONDS)]),
      startIntercept(this.#lab, "ours", this.#directory, []),
    ]);
    this.tested.push(this.#intercept);
    await this.#startTcpcopy([]);
  }

  /** The clients ask online, tcpcopy replays at the same time. */
  async live(onProgress: OnProgress): Promise<Result> {
    const meters = this.#meters();
    await ask(this.#clients, "start");
    let drainMs = 0;
    for (;;) {
      for (const meter of Object.values(meters)) meter.look();
      const [online, target] = await this.#statuses();
      onProgress(online.requests, target.requests);
      const isOver = this.#clients.status !== undefined;
      if (isOver && online.open === 0 && hasAll(target, online.requests)) break;
      if (isOver && (drainMs += POLL_MS) > DRAIN_MS) break;
      await pause(POLL_MS);
    }
    await pause(STRAGGLER_MS);
    this.#checkClients();
    this.#recorded = await ask<ConnectionReport[]>(this.#online.application, "report");
    const watched = await ask<RecorderReport>(this.#online.recorder, "report");
    if (watched.droppedByKernel > 0) {
      this.problems.push(`the recording lacks ${watched.droppedByKernel} packets`);
    }
    this.#onlineLatency = watched.latency;
    await this.#end(this.#tcpcopy);
    const result = await this.#result("live", meters);
    this.#checkLedger(this.#tcpcopy);
    return result;
  }

  /** The recording of the same requests is played to the target, which knows nothing of them. */
  async offline(onProgress: OnProgress): Promise<Result> {
    const requests = this.#recorded.reduce((sum, connection) => sum + connection.requests, 0);
    const played = ["-i", this.#recordingPath, "-a", String(ACCELERATION)];
    await this.#startTcpcopy(played);
    const meters = this.#meters();
    const deadlineMs = performance.now() + OFFLINE_MS;
    while (this.#tcpcopy.status === undefined && performance.now() < deadlineMs) {
      for (const meter of Object.values(meters)) meter.look();
      const { requests: arrived } = await this.#status(this.#target);
      onProgress(requests, arrived);
      await pause(POLL_MS / 2);
    }
    if (this.#tcpcopy.status === undefined) {
      this.problems.push(`tcpcopy still played the recording after ${OFFLINE_MS / 1000} s`);
    }
    await pause(STRAGGLER_MS);
    await this.#end(this.#tcpcopy);
    this.#checkLedger(this.#tcpcopy);
    const result = await this.#result("offline", meters);
    await this.#end(this.#intercept);
    return result;
  }

  get #recordingPath(): string {
    return `${this.#directory}/recording.pcap`;
  }

  async #start(host: "client" | "online" | "target", script: string, args: string[]) {
    const path = new URL(script, import.meta.url).pathname;
    const argv = [Deno.execPath(), "run", "-A", path, ...args];
    const process = this.#lab.spawn(host, argv, { name: `${script} on ${host}` });
    await process.waitFor(/^ready$/m, READY_TIMEOUT_MS);
    return process;
  }

  async #startServer(
    host: "online" | "target",
    version: string,
    recorderArgs: string[],
  ): Promise<Server> {
    const port = ["--port", String(APPLICATION_PORT)];
    const [application, recorder] = await Promise.all([
      this.#start(host, "application.ts", [...port, "--version", version]),
      this.#start(host, "recorder.ts", ["--address", addresses[host], ...port, ...recorderArgs]),
    ]);
    return { application, recorder };
  }

  async #startTcpcopy(extra: string[]): Promise<void> {
    this.#tcpcopy = await startTcpcopy(this.#lab, {
      maker: "ours",
      directory: this.#directory,
      clientAddresses: "198.19.0.x",
      extra,
      waitUntilReady: true,
    });
    this.tested.push(this.#tcpcopy);
  }

  #meters(): { tcpcopy: CpuMeter; intercept: CpuMeter } {
    return { tcpcopy: new CpuMeter(this.#tcpcopy), intercept: new CpuMeter(this.#intercept) };
  }

  #status(server: Server): Promise<ApplicationStatus> {
    return ask<ApplicationStatus>(server.application, "status");
  }

  #statuses(): Promise<[ApplicationStatus, ApplicationStatus]> {
    return Promise.all([this.#status(this.#online), this.#status(this.#target)]);
  }

  /** Takes stock of the target, which then begins anew. */
  async #result(
    name: Result["name"],
    meters: { tcpcopy: CpuMeter; intercept: CpuMeter },
  ): Promise<Result> {
    const target = await ask<ConnectionReport[]>(this.#target.application, "report");
    const watched = await ask<RecorderReport>(this.#target.recorder, "report");
    const comparison = compare(this.#recorded, target);
    for (const problem of comparison.problems) this.problems.push(`${name}: ${problem}`);
    return {
      name,
      comparison,
      onlineLatency: this.#onlineLatency,
      targetLatency: watched.latency,
      lagMs: lagOf(this.#tcpcopy),
      tcpcopy: meters.tcpcopy.use(comparison.requestsTarget),
      intercept: meters.intercept.use(comparison.requestsTarget),
    };
  }

  #checkClients(): void {
    const line = this.#clients.output.trimEnd().split("\n").at(-1) ?? "";
    if (!line.startsWith('{"connections"')) {
      this.problems.push(`the clients failed: ${this.#clients.lastLines(3)}`);
      return;
    }
    const summary = JSON.parse(line) as ClientSummary;
    for (const error of summary.errors) this.problems.push(`client ${error}`);
  }

  /** Every session tcpcopy has seen must be complete in its own books, too. */
  #checkLedger(tcpcopy: LabProcess): void {
    const seen = /^sessions +([\d,]+)$/m.exec(tcpcopy.output)?.[1];
    const complete = /^ +complete +([\d,]+)$/m.exec(tcpcopy.output)?.[1];
    if (seen === undefined || seen !== complete) {
      this.problems.push(`tcpcopy: ${complete ?? "none"} of ${seen ?? "its"} sessions complete`);
    }
  }

  /** Ends a program under test, which must end well. */
  async #end(process: LabProcess): Promise<void> {
    const { code, signal } = await process.stop();
    if (code !== 0) {
      this.problems.push(`${process.name} ended with ${signal ?? `code ${code}`}`);
    }
  }
}

/** What tcpcopy's ledger says of how far it was behind, p50/p99 in ms. */
function lagOf(tcpcopy: LabProcess): string {
  const match = /^ +behind capture +p50 ([\d,]+) ms, p99 ([\d,]+) ms/m.exec(tcpcopy.output);
  return match === null ? "-" : `${match[1]}/${match[2]}`;
}

function hasAll(target: ApplicationStatus, requests: number): boolean {
  return target.requests >= requests && target.open === 0;
}
