/** tcpcopy: replays captured TCP requests against a target server. */

import type { Logger } from "@logtape/logtape";
import { runMain } from "../cli/fatal.ts";
import { runProcess } from "../cli/process_options.ts";
import type { Settings } from "../cli/program.ts";
import { reloadOnHangup } from "../cli/reload.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { DEFAULT_SESSION_CONFIG } from "../session/config.ts";
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
import { Replay } from "./replay.ts";

async function main(): Promise<number> {
  const settings = readOptions();
  const options = interpretOptions(settings.given);
  if (settings.given.printConfig) {
    console.log(settings.format());
    return 0;
  }
  if (options.offline === undefined) {
    refuseOwnService(options.transfers, Deno.networkInterfaces().map(({ address }) => address));
  }
  return await runProcess("tcpcopy", options.process, (log) => start(settings, options, log));
}

async function start(
  settings: Settings<GivenTcpcopyOptions>,
  options: TcpcopyOptions,
  log: Logger,
): Promise<number> {
  for (const notice of options.notices) log.info(notice);
  if (settings.given.logLevel === "debug") log.debug(`options: ${settings.format()}`);
  const intercepts = [];
  for (const { host, port } of options.intercepts) {
    intercepts.push({ address: await resolveIpv4(host, "-s"), port });
  }
  const maxPayloadBytes = payloadCap(options.maxMemoryBytes);
  const replay = new Replay({
    transfers: options.transfers,
    intercepts,
    tunnelConnections: options.tunnelConnections,
    tunnelForm: options.tunnelForm,
    startsWithoutIntercept: options.startsWithoutIntercept,
    endsWithoutIntercept: options.endsWithoutIntercept,
    maxMemoryBytes: options.maxMemoryBytes,
    inject: options.inject,
    outputDevice: options.outputDevice,
    libpcapPath: options.libpcapPath,
    session: {
      ...DEFAULT_SESSION_CONFIG,
      mtuBytes: options.mtuBytes,
      mssBytes: options.mssBytes,
      maxPayloadBytes,
      ...options.sampling,
      ...options.ports,
      copies: options.copies,
      waitForAnswers: options.waitForAnswers,
      localhostAddress: options.localhostAddress,
      anyTargetAddress: options.tunnelForm.anyTargetAddress,
      clientAddresses: options.clientAddresses,
      sessionTimeoutMs: options.sessionTimeoutMs,
      keepAliveTimeoutMs: options.keepAliveTimeoutMs,
      clockOffsetMs: Date.now() | 0,
      secret: crypto.getRandomValues(new Int32Array(1))[0],
    },
    log,
    logsLedger: options.process.daemon,
  });
  const unsubscribe = reloadOnHangup({
    log,
    settings,
    reloadable: RELOADABLE_KEYS,
    interpret: interpretOptions,
    apply: (next) =>
      replay.reconfigure({
        ...next.sampling,
        sessionTimeoutMs: next.sessionTimeoutMs,
        keepAliveTimeoutMs: next.keepAliveTimeoutMs,
        maxMemoryBytes: next.maxMemoryBytes,
        maxPayloadBytes: payloadCap(next.maxMemoryBytes),
      }),
  });
  try {
    return await run(replay, options, maxPayloadBytes);
  } finally {
    unsubscribe();
  }
}

async function run(
  replay: Replay,
  options: TcpcopyOptions,
  maxPayloadBytes: number,
): Promise<number> {
  if (options.offline !== undefined) {
    const offline = { ...options.offline, maxWaitingBytes: maxPayloadBytes / 2 };
    return await runOffline(replay, options.transfers, offline);
  }
  if (options.live === undefined) throw new TypeError("neither live nor offline");
  return await runOnline(replay, options.transfers, { ...options.live, maxPayloadBytes });
}

if (import.meta.main) await runMain("tcpcopy", main);
