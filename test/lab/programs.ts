/**
 * How the programs under test are started, ours and the originals, and how one knows they are ready.
 *
 * Ours say so: a line with the word "ready" on standard output or error, once packets are captured
 * (intercept: once it also listens; tcpcopy: once its tunnels are up too). The originals say
 * nothing: their sockets are looked for in /proc.
 */

import { addresses, type HostName, type Lab } from "./hosts.ts";
import type { LabProcess } from "./process.ts";

/** Which program runs in a role. */
export type Maker = "ours" | "original";

/** The application's port on both servers. */
export const APPLICATION_PORT = 8080;
/** Where intercept listens. */
const TUNNEL_PORT = 36524;
const READY_TIMEOUT_MS = 20_000;
/** After its sockets are there, an original still has to finish its start. */
const SETTLE_MS = 300;

const root = new URL("../../", import.meta.url);

/** The command of one of our programs. */
export function ours(program: "tcpcopy" | "intercept" | "trafficdump"): string[] {
  const path = Deno.env.get(`${program.toUpperCase()}_LAB`);
  // A compiled program can stand in for the source.
  if (path !== undefined) return [path];
  return [Deno.execPath(), "run", "-A", new URL(`src/${program}/main.ts`, root).pathname];
}

function original(variable: "TCPCOPY_ORIG" | "INTERCEPT_ORIG"): string[] {
  const path = Deno.env.get(variable);
  if (path === undefined) {
    throw new Error(`set ${variable} to the path of the original C program, built for this check`);
  }
  return [path];
}

/** Where intercept runs (default: the assistant), and captures from (default: eth0). */
export interface InterceptPlace {
  host?: HostName;
  device?: string;
}

/** Starts intercept and waits until it is ready. */
export async function startIntercept(
  lab: Lab,
  maker: Maker,
  directory: string,
  extra: readonly string[],
  place: InterceptPlace = {},
): Promise<LabProcess> {
  const filter = maker === "ours"
    ? `tcp and src host ${addresses.target} and src port ${APPLICATION_PORT}`
    : `tcp and src port ${APPLICATION_PORT}`;
  const argv = [
    ...(maker === "ours" ? ours("intercept") : original("INTERCEPT_ORIG")),
    ...["-i", place.device ?? "eth0", "-F", filter],
    ...extra,
  ];
  const process = start(lab, place.host ?? "assistant", "intercept", maker, argv, directory);
  if (maker === "ours") {
    await process.waitFor(/\bready\b/i, READY_TIMEOUT_MS);
  } else {
    await waitForSocket(process, "tcp", (line) => isListening(line, TUNNEL_PORT));
    await pause(SETTLE_MS);
  }
  return process;
}

/** Options of {@linkcode startTcpcopy}. */
export interface TcpcopyOptions {
  maker: Maker;
  directory: string;
  /** Addresses of the replayed clients; empty: their own. */
  clientAddresses: string;
  extra: readonly string[];
  /** Where it runs. Default: the online server. */
  host?: HostName;
  /** Where intercept runs. Default: the assistant. */
  interceptHost?: HostName;
  /** A file it gets as its standard input. */
  standardInput?: string;
  /** Whether to wait until it is ready; an offline replay may be over before one looks. */
  waitUntilReady: boolean;
}

/** Starts tcpcopy on the online server and waits until it is ready. */
export async function startTcpcopy(lab: Lab, options: TcpcopyOptions): Promise<LabProcess> {
  const { maker, directory } = options;
  const argv = [
    ...(maker === "ours" ? ours("tcpcopy") : original("TCPCOPY_ORIG")),
    ...["-x", `${APPLICATION_PORT}-${addresses.target}:${APPLICATION_PORT}`],
    ...["-s", addresses[options.interceptHost ?? "assistant"]],
    ...(options.clientAddresses === "" ? [] : ["-c", options.clientAddresses]),
    ...options.extra,
  ];
  const host = options.host ?? "online";
  const redirected = options.standardInput === undefined
    ? argv
    : ["sh", "-c", `exec "$@" < ${options.standardInput}`, "sh", ...argv];
  const process = start(lab, host, "tcpcopy", maker, redirected, directory);
  process.endSignal = "SIGINT";
  if (!options.waitUntilReady) return process;
  if (maker === "ours") {
    await process.waitFor(/\bready\b/i, READY_TIMEOUT_MS);
  } else {
    await waitForSocket(process, "raw", (line) => /^\s*\d+:/.test(line));
    await waitForSocket(process, "tcp", (line) => isConnected(line, TUNNEL_PORT));
    await pause(SETTLE_MS);
  }
  return process;
}

function start(
  lab: Lab,
  host: HostName,
  program: string,
  maker: Maker,
  argv: string[],
  directory: string,
): LabProcess {
  const name = maker === "ours" ? program : `original ${program}`;
  // The originals log into a file only.
  const log = maker === "ours" ? [] : ["-l", `${directory}/${program}.log`];
  return lab.spawn(host, [...argv, ...log], { name, cwd: directory });
}

/** Waits for a line in /proc/PID/net/`table`, the socket table of the program's own host. */
async function waitForSocket(
  process: LabProcess,
  table: "tcp" | "raw",
  matches: (line: string) => boolean,
): Promise<void> {
  for (let leftMs = READY_TIMEOUT_MS; leftMs > 0; leftMs -= 50) {
    if (process.status !== undefined) {
      throw new Error(
        `${process.name} ended with code ${process.status.code}: ${process.lastLines(5)}`,
      );
    }
    const text = await Deno.readTextFile(`/proc/${process.pid}/net/${table}`);
    if (text.split("\n").some(matches)) return;
    await pause(50);
  }
  throw new Error(`${process.name} was not ready after ${READY_TIMEOUT_MS} ms`);
}

/** proc_net_tcp(5): local address, remote address, state (0A: listening, 01: established). */
function isListening(line: string, port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`^\\s*\\d+: \\w+:${hex} \\w+:\\w+ 0A`).test(line);
}

function isConnected(line: string, port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`^\\s*\\d+: \\w+:\\w+ \\w+:${hex} 01`).test(line);
}

/** Resolves after a while. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
