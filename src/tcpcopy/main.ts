/** tcpcopy: replays captured TCP requests against a target server. */

import { runMain } from "../cli/fatal.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { standBack } from "../cli/stand_back.ts";
import { isWorker } from "../cli/workers.ts";
import { openLog } from "../observe/log.ts";
import { DEFAULT_SESSION_CONFIG } from "../session/config.ts";
import { makePart } from "./make_part.ts";
import { payloadCap } from "./memory_guard.ts";
import { runOffline } from "./offline.ts";
import { runOnline } from "./online.ts";
import { readOptions } from "./options.ts";
import { refuseOwnService } from "./own_service.ts";
import type { FileSource } from "./file_part.ts";
import type { LiveSource } from "./live_part.ts";
import type { Part, PartSetup } from "./part.ts";
import type { InterceptAddress } from "./tunnels.ts";
import { servePart, WorkerPart } from "./part_worker.ts";

async function main(): Promise<number> {
  const options = readOptions();
  const { transfers, workers, maxMemoryBytes } = options;
  if (options.offline === undefined) {
    refuseOwnService(transfers, Deno.networkInterfaces().map(({ address }) => address));
  }
  const log = openLog({ program: "tcpcopy", file: options.logFile });
  standBack(log);
  const intercepts: InterceptAddress[] = [];
  for (const { host, port } of options.intercepts) {
    intercepts.push({ address: await resolveIpv4(host, "-s"), port });
  }
  const limits = { maxMemoryBytes, maxPayloadBytes: payloadCap(maxMemoryBytes, workers) };
  const maxPayloadBytes = Math.floor(limits.maxPayloadBytes / workers);
  const session = {
    ...DEFAULT_SESSION_CONFIG,
    mtuBytes: options.mtuBytes,
    mssBytes: options.mssBytes,
    maxPayloadBytes,
    maxSessions: Math.ceil(DEFAULT_SESSION_CONFIG.maxSessions / workers),
    copies: options.copies,
    percentage: options.percentage,
    clientAddresses: options.clientAddresses,
    sessionTimeoutMs: options.sessionTimeoutMs,
    clockOffsetMs: Date.now() | 0,
    secret: crypto.getRandomValues(new Int32Array(1))[0],
  };
  const { tunnelConnections, inject } = options;
  const makeParts = (source: LiveSource | FileSource): Part[] => {
    const setups = Array.from({ length: workers }, (_, index): PartSetup => ({
      replay: {
        ...{ transfers, intercepts, tunnelConnections, inject },
        session: { ...session, partition: { index, count: workers } },
      },
      source,
    }));
    if (workers === 1) return [makePart(setups[0], log)];
    return setups.map((setup) => new WorkerPart(import.meta.url, setup, log));
  };
  if (options.offline === undefined) {
    const parts = makeParts({ kind: "live", way: options.capture });
    return await runOnline(parts, transfers, limits, log);
  }
  const { times, ...playing } = options.offline;
  const source: FileSource = {
    kind: "file",
    ...playing,
    libpcapPath: options.libpcapPath,
    maxWaitingBytes: maxPayloadBytes / 2,
  };
  return await runOffline(() => makeParts(source), transfers, source, times, limits, log);
}

if (isWorker()) servePart("tcpcopy");
else if (import.meta.main) await runMain("tcpcopy", main);
