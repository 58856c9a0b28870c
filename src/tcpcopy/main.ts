/** tcpcopy: replays captured TCP requests against a target server. */

import type { Logger } from "@logtape/logtape";
import { runMain } from "../cli/fatal.ts";
import { runProcess } from "../cli/process_options.ts";
import type { Settings } from "../cli/program.ts";
import { reloadOnHangup } from "../cli/reload.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { readSystemFile } from "../cli/sampling_loop.ts";
import { standBack } from "../cli/stand_back.ts";
import { isWorker } from "../cli/workers.ts";
import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../session/config.ts";
import { describeDraw } from "./draw.ts";
import type { FileSource } from "./file_part.ts";
import type { LiveSource } from "./live_part.ts";
import { makePart } from "./make_part.ts";
import { boundMemory } from "./memory_bounds.ts";
import { payloadCap } from "./memory_guard.ts";
import { runOffline } from "./offline.ts";
import { runOnline } from "./online.ts";
import {
  type GivenTcpcopyOptions,
  interpretOptions,
  readOptions,
  RELOADABLE_KEYS,
  type TcpcopyOptions,
} from "./options.ts";
import { refuseOwnService } from "./own_service.ts";
import type { Part, PartSetup } from "./part.ts";
import { servePart, WorkerPart } from "./part_worker.ts";
import type { InterceptAddress } from "./tunnels.ts";
import { sampleSessions } from "./sampling.ts";
import { refuseUnsafeClients } from "./unsafe_clients.ts";
import { type MemoryLimits, Watch } from "./watch.ts";

/** A file waits for its target to prove itself, but not for ever: half a minute, later ten. */
const MAX_FAILED_PROBES = { first: 3, later: 12 };

async function main(): Promise<number> {
  const settings = readOptions();
  const options = interpretOptions(settings.given);
  if (settings.given.printConfig) {
    console.log(settings.format());
    return 0;
  }
  const ownAddresses = Deno.networkInterfaces().map(({ address }) => address);
  if (options.offline === undefined) refuseOwnService(options.transfers, ownAddresses);
  const intercepts: InterceptAddress[] = [];
  for (const { host, port } of options.intercepts) {
    intercepts.push({ address: await resolveIpv4(host, "-s"), port });
  }
  const { transfers, allowedUnsafe, localhostAddress } = options;
  const around = { transfers, intercepts, ownAddresses };
  refuseUnsafeClients("-c", options.clientAddresses, around, allowedUnsafe);
  if (localhostAddress !== 0) refuseUnsafeClients("-H", [localhostAddress], around, allowedUnsafe);
  return await runProcess(
    "tcpcopy",
    options.process,
    (log) => start(settings, options, intercepts, log),
  );
}

async function start(
  settings: Settings<GivenTcpcopyOptions>,
  options: TcpcopyOptions,
  intercepts: readonly InterceptAddress[],
  log: Logger,
): Promise<number> {
  standBack(log);
  for (const notice of options.notices) log.info(notice);
  sayDraw(options, log);
  if (settings.given.logLevel === "debug") log.debug(`options: ${settings.format()}`);
  const { transfers, workers } = options;
  const bound = boundMemory(options.maxMemoryBytes, workers, readSystemFile);
  if (bound.notice !== undefined) log.info(bound.notice);
  const limitsOf = ({ maxMemoryBytes: wanted }: TcpcopyOptions): MemoryLimits => {
    const maxMemoryBytes = Math.min(wanted, bound.maxMemoryBytes);
    return { maxMemoryBytes, maxPayloadBytes: payloadCap(maxMemoryBytes, workers) };
  };
  /** What is in force: a reload may come before the parts are made. */
  let current = options;
  let watch: Watch | undefined;
  let endSampling: (() => void) | undefined;
  const files = { log: options.process.log, read: [settings.path, options.strategy?.path] };
  const makeWatch = (source: LiveSource | FileSource): Watch => {
    const limits = limitsOf(current);
    const parts = makeParts(current, intercepts, limits, source, log);
    watch = new Watch(parts, limits, current.sampling, log, options.process.daemon);
    if (options.strategy !== undefined) endSampling = sampleSessions(watch, log, options.strategy);
    return watch;
  };
  const unsubscribe = reloadOnHangup({
    log,
    settings,
    reloadable: RELOADABLE_KEYS,
    interpret: interpretOptions,
    apply: (next) => {
      const { sampling, maxMemoryBytes } = next;
      const { sessionTimeoutMs, keepAliveTimeoutMs, answerTimeoutMs, maxLagMs } = next;
      if (describeDraw(sampling) !== describeDraw(current.sampling)) sayDraw(next, log);
      const times = { sessionTimeoutMs, keepAliveTimeoutMs, answerTimeoutMs, maxLagMs };
      current = { ...current, sampling, ...times, maxMemoryBytes };
      watch?.reconfigure(limitsOf(current), { ...sampling, ...times });
    },
  });
  try {
    if (options.offline === undefined) {
      if (options.live === undefined) throw new TypeError("neither live nor offline");
      using live = makeWatch({ kind: "live", ...options.live });
      return await runOnline(live, transfers, options.live, log, files);
    }
    const { times, ...playing } = options.offline;
    const maxWaitingBytes = limitsOf(options).maxPayloadBytes / workers / 2;
    const source: FileSource = { kind: "file", ...playing, maxWaitingBytes };
    return await runOffline(() => makeWatch(source), transfers, source, times, log, files);
  } finally {
    endSampling?.();
    unsubscribe();
  }
}

function sayDraw({ sampling }: TcpcopyOptions, log: Logger): void {
  const text = describeDraw(sampling);
  if (text !== undefined) log.info(text);
}

/** One part for this thread, or one for each worker. */
function makeParts(
  options: TcpcopyOptions,
  intercepts: readonly InterceptAddress[],
  limits: MemoryLimits,
  source: LiveSource | FileSource,
  log: Logger,
): Part[] {
  const { workers } = options;
  const session: SessionConfig = {
    ...DEFAULT_SESSION_CONFIG,
    mtuBytes: options.mtuBytes,
    mssBytes: options.mssBytes,
    maxPayloadBytes: Math.floor(limits.maxPayloadBytes / workers),
    maxSessions: Math.ceil(DEFAULT_SESSION_CONFIG.maxSessions / workers),
    ...options.sampling,
    ...options.ports,
    copies: options.copies,
    waitForAnswers: options.waitForAnswers,
    localhostAddress: options.localhostAddress,
    anyTargetAddress: options.tunnelForm.anyTargetAddress,
    clientAddresses: options.clientAddresses,
    sessionTimeoutMs: options.sessionTimeoutMs,
    keepAliveTimeoutMs: options.keepAliveTimeoutMs,
    answerTimeoutMs: options.answerTimeoutMs,
    maxLagMs: options.maxLagMs,
    maxGenerations: options.maxGenerations,
    replaysTls: options.replaysTls,
    checksums: options.checksums,
    clockOffsetMs: Date.now() | 0,
    secret: crypto.getRandomValues(new Int32Array(1))[0],
  };
  const setups = Array.from({ length: workers }, (_, index): PartSetup => ({
    replay: {
      transfers: options.transfers,
      intercepts,
      tunnelConnections: options.tunnelConnections,
      tunnelForm: options.tunnelForm,
      startsWithoutIntercept: options.startsWithoutIntercept,
      endsWithoutIntercept: options.endsWithoutIntercept,
      inject: options.inject,
      outputDevice: options.outputDevice,
      libpcapPath: options.libpcapPath,
      maxFailedProbes: source.kind === "file" ? MAX_FAILED_PROBES : undefined,
      session: { ...session, partition: { index, count: workers } },
    },
    source,
  }));
  if (workers === 1) return [makePart(setups[0], log)];
  return setups.map((setup) => new WorkerPart(import.meta.url, setup, log));
}

if (isWorker()) servePart("tcpcopy");
else if (import.meta.main) await runMain("tcpcopy", main);
