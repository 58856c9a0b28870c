/** tcpcopy: replays captured TCP requests against a target server. */

import { runMain } from "../cli/fatal.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { openLog } from "../observe/log.ts";
import { DEFAULT_SESSION_CONFIG } from "../session/config.ts";
import { payloadCap } from "./memory_guard.ts";
import { runOffline } from "./offline.ts";
import { runOnline } from "./online.ts";
import { readOptions } from "./options.ts";
import { refuseOwnService } from "./own_service.ts";
import { Replay } from "./replay.ts";
import { sampleSessions } from "./sampling.ts";

async function main(): Promise<number> {
  const options = readOptions();
  if (options.offline === undefined) {
    refuseOwnService(options.transfers, Deno.networkInterfaces().map(({ address }) => address));
  }
  const log = openLog({ program: "tcpcopy", file: options.logFile });
  const intercepts = [];
  for (const { host, port } of options.intercepts) {
    intercepts.push({ address: await resolveIpv4(host, "-s"), port });
  }
  const maxPayloadBytes = payloadCap(options.maxMemoryBytes);
  const replay = new Replay({
    transfers: options.transfers,
    intercepts,
    tunnelConnections: options.tunnelConnections,
    maxMemoryBytes: options.maxMemoryBytes,
    inject: options.inject,
    session: {
      ...DEFAULT_SESSION_CONFIG,
      mtuBytes: options.mtuBytes,
      mssBytes: options.mssBytes,
      maxPayloadBytes,
      copies: options.copies,
      percentage: options.percentage,
      clientAddresses: options.clientAddresses,
      sessionTimeoutMs: options.sessionTimeoutMs,
      clockOffsetMs: Date.now() | 0,
      secret: crypto.getRandomValues(new Int32Array(1))[0],
    },
    log,
  });
  if (options.strategy !== undefined) {
    sampleSessions(replay.table, log, options.strategy, options.minIntervalS);
  }
  if (options.offline === undefined) {
    const keepReading = options.strategy !== undefined;
    const live = { way: options.capture, maxPayloadBytes, keepReading };
    return await runOnline(replay, options.transfers, live);
  }
  return await runOffline(replay, options.transfers, {
    ...options.offline,
    libpcapPath: options.libpcapPath,
    maxWaitingBytes: maxPayloadBytes / 2,
  });
}

if (import.meta.main) await runMain("tcpcopy", main);
