/**
 * One replay from beginning to end: servers, intercept, tcpcopy, clients; then the comparison.
 */

import type { ClientMark, ClientSummary } from "./client.ts";
import { compare, type Comparison } from "./compare.ts";
import { isUserNamespace } from "./enter.ts";
import type { Attack } from "./attacked_cases.ts";
import { NOBODYS_NETWORK } from "./attacker.ts";
import {
  addresses,
  fileExists,
  type HostName,
  type Lab,
  REPLAY_NETWORK,
  requirePrograms,
} from "./hosts.ts";
import type { LabProcess } from "./process.ts";
import {
  APPLICATION_PORT,
  type InterceptPlace,
  type Maker,
  pause,
  startIntercept,
  startTcpcopy,
  type TcpcopyOptions,
} from "./programs.ts";
import { type RecordingForm, writeForm } from "./recording_forms.ts";
import { type LedgerText, readLedger } from "./ledger_text.ts";
import { framesAt, parseReport, type ServerReport, type ServerStatus } from "./report.ts";
import type { StrangerMode, StrangerReport } from "./strangers.ts";
import { onlineTwist, plainTwist, type Twist } from "./twists.ts";
import type { Workload } from "./workloads.ts";

/** What to replay, and how. */
export interface ReplayPlan {
  /** One after the other; they share the servers, and thus greeting and target delay. */
  workloads: readonly Workload[];
  /** Where reports, logs and captures go. */
  directory: string;
  tcpcopy?: Maker;
  intercept?: Maker;
  tcpcopyArgs?: readonly string[];
  interceptArgs?: readonly string[];
  /** Addresses of the replayed clients, as for tcpcopy's `-c`. */
  clientAddresses?: string;
  /**
   * `live`; `offline`: recorded with tcpdump first, replayed from the file; `join`: tcpcopy is
   * started when the clients say "joined", or `joinAfterMs` after their start.
   */
  mode?: "live" | "offline" | "join";
  joinAfterMs?: number;
  /** Where tcpcopy runs. Default: the online server. */
  tcpcopyHost?: HostName;
  interceptPlace?: InterceptPlace;
  /** The recording is replayed in each of these forms, one after the other. Default: as recorded. */
  forms?: readonly RecordingForm[];
  /** Records what passes these hosts' wires in `directory`/HOST.pcap. */
  record?: readonly ("online" | "target")[];
  /** Kills intercept when this share of the online requests has reached the target. */
  restartIntercept?: { afterShare: number; downMs: number };
  /** Somebody attacks while the clients are served. */
  attack?: Attack;
  /** How the target's answers differ from the online server's. */
  twist?: Twist;
  /** Strangers at intercept's port, from before tcpcopy connects to the end: `strangers.ts`. */
  strangers?: readonly StrangersPlan[];
  /** The drain ends when nothing has changed on the target for so long… */
  quietMs?: number;
  /** …or, at the latest, after so long. */
  drainMs?: number;
}

/** A host of strangers. */
export interface StrangersPlan {
  host: HostName;
  mode: StrangerMode;
  /** Further arguments of `strangers.ts`. */
  args: readonly string[];
}

/** How it came out. */
export interface ReplayResult {
  comparison: Comparison;
  /** From the first client's start to the last one's end, and to the end of the drain. */
  clientSeconds: number;
  totalSeconds: number;
  /** From the first connection's beginning to the last one's end, as the servers saw them. */
  servedSeconds: { online: number; target: number };
  /** Mean latency the clients saw. */
  meanLatencyMs: number;
  /** How well the target kept up. */
  pace: ReplayPace;
  /** What tcpcopy says became of the sessions. */
  ledger?: LedgerText;
  /** What each host of strangers did. */
  strangers: StrangerReport[];
  /** CPU seconds of the programs under test. */
  cpuSeconds: { tcpcopy: number; intercept: number };
  /** Most memory that tcpcopy had resident, bytes. */
  peakMemoryBytes: number;
  /** Packets an attacker has sent, and connections the two applications had. */
  attackPackets: number;
  connections: { online: number; target: number };
  /** Everything unexpected besides the comparison: client errors, programs that ended early. */
  problems: string[];
  /** Output of all programs, by name. */
  logs: Record<string, string>;
}

/** How well the target kept up with the online server. */
export interface ReplayPace {
  /** Requests the target had read when the last client ended, of those online: 0 to 1. */
  shareAtLoadEnd: number;
  /** From the first client's start until the target had read all requests; absent: it never had. */
  secondsToAll?: number;
}

const CLIENT_TIMEOUT_SECONDS = 90;
const START_TIMEOUT_MS = 20_000;
/** Time in which a duplicate could still arrive after everything has. */
const STRAGGLER_MS = 400;
/** How long connections rest before tcpcopy starts: the kernel's record of it is coarse. */
const REST_MS = 300;
const POLL_MS = 100;

/** A replay while it runs. */
class Replay {
  readonly #lab: Lab;
  readonly #plan: ReplayPlan;
  readonly #problems: string[] = [];
  readonly #logs: Record<string, string> = {};
  readonly #cpuSeconds = { tcpcopy: 0, intercept: 0 };
  #peakMemoryBytes = 0;
  #attackPackets = 0;
  readonly #summaries: ClientSummary[] = [];
  readonly #strangers: LabProcess[] = [];
  readonly #strangerReports: StrangerReport[] = [];
  readonly #firstDue = new Map<number, number>();
  #online: LabProcess | undefined;
  #target: LabProcess | undefined;
  #tcpcopy: LabProcess | undefined;
  #intercept: LabProcess | undefined;

  constructor(lab: Lab, plan: ReplayPlan) {
    this.#lab = lab;
    this.#plan = plan;
  }

  async run(): Promise<ReplayResult> {
    const mode = this.#plan.mode ?? "live";
    this.#online = await this.#startServer("online");
    this.#target = await this.#startServer("target");
    const recorders: LabProcess[] = [];
    for (const host of this.#plan.record ?? []) {
      recorders.push(await this.#startTcpdump(host, `${this.#plan.directory}/${host}.pcap`));
    }
    const startMs = performance.now();
    if (mode === "offline") await this.#runOffline();
    else await this.#runLive(mode === "join");
    await this.#drain();
    await pause(STRAGGLER_MS);
    const totalSeconds = (performance.now() - startMs) / 1000;
    await this.#stopPrograms();
    for (const recorder of recorders) await stopTcpdump(recorder);
    for (const server of [this.#target, this.#online]) await this.#end(server);
    const [online, target] = [this.#report("online"), this.#report("target")];
    const turns = this.#summaries.reduce((total, s) => total + s.requests, 0);
    return {
      comparison: compare(online, target, {
        firstDue: mode === "join" ? this.#firstDue : undefined,
        continued: this.#closesByItself(),
      }),
      clientSeconds: this.#summaries.reduce((total, s) => total + s.seconds, 0),
      totalSeconds,
      servedSeconds: { online: servedSeconds(online), target: servedSeconds(target) },
      meanLatencyMs: turns === 0
        ? 0
        : this.#summaries.reduce((total, s) => total + s.meanLatencyMs * s.requests, 0) / turns,
      pace: this.#pace(online, target),
      ledger: this.#tcpcopy === undefined ? undefined : readLedger(this.#tcpcopy.output),
      strangers: this.#strangerReports,
      cpuSeconds: this.#cpuSeconds,
      peakMemoryBytes: this.#peakMemoryBytes,
      attackPackets: this.#attackPackets,
      connections: { online: online.status.closed, target: target.status.closed },
      problems: this.#problems,
      logs: this.#logs,
    };
  }

  async #startServer(host: "online" | "target"): Promise<LabProcess> {
    const { greetingBytes, targetDelayMs, targetReadPauseMs } = this.#plan.workloads[0];
    const twist = this.#plan.twist ?? plainTwist;
    const slow = ["--delay-ms", `${targetDelayMs}`, "--read-pause-ms", `${targetReadPauseMs}`];
    const process = this.#lab.spawn(host, [
      ...script("server.ts"),
      ...["--port", String(APPLICATION_PORT), "--report", this.#reportPath(host)],
      ...["--greeting", String(greetingBytes)],
      ...(host === "target" ? slow : []),
      ...["--twist", JSON.stringify(host === "target" ? twist : onlineTwist(twist))],
      ...(this.#closesByItself() ? ["--frame-checks"] : []),
    ], { name: `${host} server` });
    await process.waitFor(/^ready$/m, START_TIMEOUT_MS);
    return process;
  }

  /** Whether the target closes connections by itself. */
  #closesByItself(): boolean {
    return this.#plan.twist?.repliesPerConnection !== undefined;
  }

  #pace(online: ServerReport, target: ServerReport): ReplayPace {
    const { frames } = online.status;
    if (frames === 0 || target.progress === undefined) return { shareAtLoadEnd: 0 };
    const ends = this.#summaries.map(({ endedMs }) => endedMs);
    const starts = this.#summaries.map(({ startedMs }) => startedMs);
    const allMs = target.progress.steps.find(([, read]) => read >= frames)?.[0];
    return {
      shareAtLoadEnd: Math.min(1, framesAt(target.progress, Math.max(...ends)) / frames),
      secondsToAll: allMs === undefined ? undefined : (allMs - Math.min(...starts)) / 1000,
    };
  }

  async #startIntercept(): Promise<void> {
    const { intercept, directory, interceptArgs, interceptPlace } = this.#plan;
    const maker = intercept ?? "ours";
    this.#intercept = await startIntercept(
      this.#lab,
      maker,
      directory,
      interceptArgs ?? [],
      interceptPlace,
    );
  }

  #tcpcopyOptions(): TcpcopyOptions {
    return {
      maker: this.#plan.tcpcopy ?? "ours",
      directory: this.#plan.directory,
      clientAddresses: this.#plan.clientAddresses ?? "198.19.0.x",
      extra: this.#plan.tcpcopyArgs ?? [],
      host: this.#plan.tcpcopyHost,
      interceptHost: this.#plan.interceptPlace?.host,
      waitUntilReady: true,
    };
  }

  async #runLive(isJoin: boolean): Promise<void> {
    await this.#startIntercept();
    for (const plan of this.#plan.strangers ?? []) await this.#startStrangers(plan);
    if (!isJoin) this.#tcpcopy = await startTcpcopy(this.#lab, this.#tcpcopyOptions());
    let firstId = 0;
    const attacker = await this.#startAttack();
    for (const workload of this.#plan.workloads) {
      const client = this.#startClient(workload, firstId);
      const restart = this.#plan.restartIntercept;
      if (isJoin) await this.#join(client, workload);
      if (restart !== undefined) await this.#restartIntercept(client, workload, restart);
      await this.#endClient(client);
      firstId += workload.connections;
    }
    if (attacker !== undefined) {
      const limitMs = 2000 * this.#plan.attack!.packets / this.#plan.attack!.perSecond;
      const match = await attacker.waitFor(/^done (\d+)$/m, START_TIMEOUT_MS + limitMs);
      this.#attackPackets = Number(match[1]);
    }
  }

  /** Starts the attacker, and waits until it is at work. */
  async #startAttack(): Promise<LabProcess | undefined> {
    const { attack } = this.#plan;
    if (attack === undefined) return undefined;
    await this.#lab.route("online", NOBODYS_NETWORK, "client");
    await this.#lab.route("client", REPLAY_NETWORK, "assistant");
    const process = this.#lab.spawn("client", [
      ...script("attacker.ts"),
      ...["--kind", attack.kind, "--packets", `${attack.packets}`],
      ...["--per-second", `${attack.perSecond}`],
    ], { name: "attacker" });
    await process.waitFor(/^attacking$/m, START_TIMEOUT_MS);
    return process;
  }

  #startClient(workload: Workload, firstId: number): LabProcess {
    return this.#lab.spawn("client", [
      ...script("client.ts"),
      ...["--address", `${addresses.online}:${APPLICATION_PORT}`],
      ...["--workload", JSON.stringify(workload), "--first-id", String(firstId)],
      ...["--timeout-s", String(CLIENT_TIMEOUT_SECONDS)],
    ], { name: `client ${workload.name}` });
  }

  async #endClient(client: LabProcess): Promise<void> {
    const status = await client.ended;
    this.#logs[client.name] = client.output;
    const line = client.output.split("\n").find((text) => text.includes('"kind":"summary"'));
    if (line === undefined) {
      this.#problems.push(`${client.name} ended with code ${status.code}: ${client.lastLines(3)}`);
      return;
    }
    const summary = JSON.parse(line) as ClientSummary;
    this.#summaries.push(summary);
    for (const error of summary.errors) this.#problems.push(`${client.name}: ${error}`);
  }

  /** Starts tcpcopy while connections are open, and notes which requests must arrive. */
  async #join(client: LabProcess, workload: Workload): Promise<void> {
    const areResting = workload.requestsBeforeJoin > 0;
    if (areResting) await client.waitFor(/^joined$/m, START_TIMEOUT_MS);
    await pause(areResting ? REST_MS : this.#plan.joinAfterMs ?? 1000);
    this.#tcpcopy = await startTcpcopy(this.#lab, this.#tcpcopyOptions());
    await client.writeLine("mark");
    const match = await client.waitFor(/^\{"kind":"mark".*\}$/m, START_TIMEOUT_MS);
    const mark = JSON.parse(match[0]) as ClientMark;
    // A connection that rests is joined with its next request; in the middle of a stream it takes one
    // whole turn to know where a request begins.
    const missed = areResting ? 0 : workload.pipeline;
    for (const [id, next] of Object.entries(mark.next)) {
      this.#firstDue.set(Number(id), next + missed);
    }
    await client.writeLine("go");
  }

  async #restartIntercept(
    client: LabProcess,
    workload: Workload,
    restart: { afterShare: number; downMs: number },
  ): Promise<void> {
    const due = workload.connections * workload.requests * restart.afterShare;
    while (this.#status("target").frames < due && client.status === undefined) {
      await pause(POLL_MS / 2);
    }
    if (client.status !== undefined) {
      this.#problems.push("the clients ended before intercept could be killed: lab fault");
    }
    const intercept = this.#intercept as LabProcess;
    this.#cpuSeconds.intercept += intercept.cpuSeconds();
    intercept.stopping = true;
    intercept.signal("SIGKILL");
    await intercept.ended;
    this.#logs["intercept before"] = intercept.output;
    await pause(restart.downMs);
    await this.#startIntercept();
  }

  async #startTcpdump(host: "online" | "target", path: string): Promise<LabProcess> {
    const filter = `tcp port ${APPLICATION_PORT}`;
    const argv = isUserNamespace()
      ? [...script("record.ts"), "--device", "eth0", "--filter", filter, "--write", path]
      : [
        ...["tcpdump", "-i", "eth0", "-n", "-s", "0", "-B", "65536", "-U", "-Z", "root"],
        ...["-w", path, filter],
      ];
    if (argv[0] === "tcpdump") requirePrograms(argv.slice(0, 1));
    const process = this.#lab.spawn(host, argv, { name: `tcpdump on ${host}` });
    await process.waitFor(/listening on/, START_TIMEOUT_MS);
    return process;
  }

  /** Records first, replays then. */
  async #runOffline(): Promise<void> {
    const path = `${this.#plan.directory}/capture.pcap`;
    const tcpdump = await this.#startTcpdump("online", path);
    let firstId = 0;
    for (const workload of this.#plan.workloads) {
      await this.#endClient(this.#startClient(workload, firstId));
      firstId += workload.connections;
    }
    await stopTcpdump(tcpdump);
    this.#logs.tcpdump = tcpdump.output;
    const dropped = /(\d+) packets? dropped by kernel/.exec(tcpdump.output);
    if (dropped?.[1] !== "0") {
      this.#problems.push(`the recording is not whole (lab fault): ${tcpdump.lastLines(3)}`);
    }
    await this.#startIntercept();
    const forms = this.#plan.forms ?? ["pcap"];
    const ledgers: string[] = [];
    for (const [index, form] of forms.entries()) {
      if (index > 0) await this.#freshTarget(forms[index - 1]);
      const file = await writeForm(path, form);
      const options = this.#tcpcopyOptions();
      this.#tcpcopy = await startTcpcopy(this.#lab, {
        ...options,
        // The target may remember the connections of the form before.
        clientAddresses: forms.length === 1 ? options.clientAddresses : `198.19.${index}.x`,
        extra: ["-i", form === "stdin" ? "-" : file, ...options.extra],
        standardInput: form === "stdin" ? file : undefined,
        waitUntilReady: false,
      });
      await this.#endOffline(this.#tcpcopy);
      ledgers.push(ledgerOf(this.#tcpcopy));
      if (ledgers[index] !== ledgers[0]) {
        this.#problems.push(`another ledger from ${form}: ${ledgers[index]}, not ${ledgers[0]}`);
      }
    }
  }

  /** Compares what the target got of one form, and starts it anew for the next. */
  async #freshTarget(form: RecordingForm): Promise<void> {
    await this.#drain();
    await this.#end(this.#target as LabProcess);
    const { share, mismatches } = compare(this.#report("online"), this.#report("target"));
    if (share < 1) this.#problems.push(`${form}: ${share * 100} % exact`, ...mismatches);
    this.#target = await this.#startServer("target");
  }

  /** An offline replay ends by itself, with code 0 when every session was complete. */
  async #endOffline(tcpcopy: LabProcess): Promise<void> {
    const recordedMs = this.#summaries.reduce((total, s) => total + s.seconds, 0) * 1000;
    const limitMs = recordedMs + (this.#plan.drainMs ?? 60_000);
    for (let leftMs = limitMs; leftMs > 0 && tcpcopy.status === undefined; leftMs -= POLL_MS) {
      this.#cpuSeconds.tcpcopy = tcpcopy.cpuSeconds() || this.#cpuSeconds.tcpcopy;
      await pause(POLL_MS);
    }
    if (tcpcopy.status === undefined) {
      this.#problems.push(
        `tcpcopy had not ended by itself ${Math.round(limitMs / 1000)} s after its start`,
      );
    } else if (tcpcopy.status.code !== 0) {
      this.#problems.push(
        `tcpcopy ended with code ${tcpcopy.status.code} (0 expected): ${tcpcopy.lastLines(3)}`,
      );
    }
    tcpcopy.stopping = true;
  }

  /** Waits until the target has seen all there is, or until nothing changes any more. */
  async #drain(): Promise<void> {
    const quietMs = this.#plan.quietMs ?? 8_000;
    const deadlineMs = Date.now() + (this.#plan.drainMs ?? 60_000);
    let last = "";
    let changedMs = Date.now();
    while (Date.now() < deadlineMs && Date.now() - changedMs < quietMs) {
      const [online, target] = [this.#status("online"), this.#status("target")];
      const isWhole = this.#plan.mode === "join" ||
        target.bytes >= online.bytes && target.frames >= online.frames;
      if (target.open === 0 && target.closed >= online.closed && isWhole) break;
      const now = JSON.stringify(target);
      if (now !== last) changedMs = Date.now();
      last = now;
      if (this.#tcpcopy?.status !== undefined && Date.now() - changedMs > 2_000) break;
      await pause(POLL_MS);
    }
  }

  async #startStrangers({ host, mode, args }: StrangersPlan): Promise<void> {
    const strangers = this.#lab.spawn(host, [...script("strangers.ts"), "--mode", mode, ...args], {
      name: `strangers (${mode}) on ${host}`,
    });
    this.#strangers.push(strangers);
    await strangers.waitFor(/^attacking$/m, START_TIMEOUT_MS);
  }

  async #stopStrangers(): Promise<void> {
    for (const strangers of this.#strangers) {
      await this.#end(strangers);
      const line = strangers.output.split("\n").find((text) => text.includes('"kind":"strangers"'));
      if (line === undefined) {
        this.#problems.push(`${strangers.name} ended early: ${strangers.lastLines(3)}`);
      } else this.#strangerReports.push(JSON.parse(line) as StrangerReport);
    }
  }

  async #stopPrograms(): Promise<void> {
    await this.#stopStrangers();
    for (
      const [role, process] of [["tcpcopy", this.#tcpcopy], ["intercept", this.#intercept]] as const
    ) {
      if (process === undefined) continue;
      if (process.status !== undefined && !process.stopping) {
        const { code } = process.status;
        this.#problems.push(`${process.name} ended with code ${code}: ${process.lastLines(3)}`);
      }
      this.#cpuSeconds[role] += process.cpuSeconds();
      if (role === "tcpcopy") this.#peakMemoryBytes = process.peakMemoryBytes();
      await this.#end(process);
      this.#logs[role] = process.output + this.#logFile(role);
    }
  }

  async #end(process: LabProcess): Promise<void> {
    const wasRunning = process.status === undefined;
    const status = await process.stop();
    if (wasRunning && status.signal === "SIGKILL") {
      this.#problems.push(`${process.name} did not end within 5 s of ${process.endSignal}`);
    }
    this.#logs[process.name] = process.output;
  }

  /** The log file of an original. */
  #logFile(role: string): string {
    const path = `${this.#plan.directory}/${role}.log`;
    return fileExists(path) ? Deno.readTextFileSync(path) : "";
  }

  #reportPath(host: string): string {
    return `${this.#plan.directory}/${host}.jsonl`;
  }

  #report(host: string): ServerReport {
    return parseReport(Deno.readTextFileSync(this.#reportPath(host)));
  }

  #status(host: string): ServerStatus {
    return this.#report(host).status;
  }
}

function servedSeconds({ connections }: ServerReport): number {
  const opened = connections.reduce((least, { openedMs }) => Math.min(least, openedMs), Infinity);
  const closed = connections.reduce((most, { closedMs }) => Math.max(most, closedMs), opened);
  return connections.length === 0 ? 0 : (closed - opened) / 1000;
}

/** The lines of tcpcopy's ledger that do not depend on timing. */
function ledgerOf(tcpcopy: LabProcess): string {
  const [ledger = ""] = /^sessions [^]*?^bytes acknowledged .*$/m.exec(tcpcopy.output) ?? [];
  return ledger === "" ? `none (${tcpcopy.lastLines(3)})` : ledger.replaceAll(/\s+/g, " ");
}

/** libpcap hands over a part-filled buffer after a second at the latest. */
const CAPTURE_FLUSH_MS = 1_500;

async function stopTcpdump(tcpdump: LabProcess): Promise<void> {
  await pause(CAPTURE_FLUSH_MS);
  await tcpdump.stop();
}

function script(name: string): string[] {
  return [Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname];
}

/**
 * Replays the workloads of `plan` in `lab` and compares what the two servers read.
 *
 * @throws Error when a program could not be started or was not ready in time
 */
export function runReplay(lab: Lab, plan: ReplayPlan): Promise<ReplayResult> {
  return new Replay(lab, plan).run();
}
