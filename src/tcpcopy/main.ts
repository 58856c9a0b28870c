/** tcpcopy: replays captured TCP requests against a target server. */

import { runMain } from "../cli/fatal.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { openLog } from "../observe/log.ts";
import { DEFAULT_SESSION_CONFIG } from "../session/config.ts";
import { runOffline } from "./offline.ts";
import { runOnline } from "./online.ts";
import { readOptions } from "./options.ts";
import { Replay } from "./replay.ts";

/** Share of the memory cap that payload may take; the rest is for sessions and the runtime. */
const PAYLOAD_SHARE = 0.5;

async function main(): Promise<number> {
  const options = readOptions();
  const log = openLog({ program: "tcpcopy", file: options.logFile });
  const intercepts = [];
  for (const { host, port } of options.intercepts) {
    intercepts.push({ address: await resolveIpv4(host, "-s"), port });
  }
  const maxPayloadBytes = Math.floor(options.maxMemoryBytes * PAYLOAD_SHARE);
  const replay = new Replay({
    transfers: options.transfers,
    intercepts,
    tunnelConnections: options.tunnelConnections,
    maxMemoryBytes: options.maxMemoryBytes,
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
  if (options.offline === undefined) return await runOnline(replay, options.transfers);
  return await runOffline(replay, options.transfers, {
    ...options.offline,
    libpcapPath: options.libpcapPath,
    maxWaitingBytes: maxPayloadBytes / 2,
  });
}

if (import.meta.main) await runMain("tcpcopy", main);
