/** trafficdump: dumps samples of the requests a service gets to files. */

import type { Logger } from "@logtape/logtape";
import type { CapturePair } from "../capture/bpf.ts";
import { announceReady } from "../cli/daemon.ts";
import { runMain, UsageError } from "../cli/fatal.ts";
import { giveUpPrivileges } from "../cli/privileges.ts";
import { runProcess } from "../cli/process_options.ts";
import { standBack } from "../cli/stand_back.ts";
import { StrategyFiles } from "../cli/strategy_files.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { onSignals } from "../loop/signals.ts";
import { reopenLog } from "../observe/log.ts";
import { VERSION } from "../version.ts";
import { PassiveCapture } from "./capture.ts";
import { connectionsPerProxy, descriptorLimit } from "./descriptor_limit.ts";
import { Dump } from "./dump.ts";
import { DumpDirectory } from "./dump_directory.ts";
import { DumpFilter } from "./dump_filter.ts";
import { Endpoint } from "./endpoint.ts";
import { FilterChain, loadFilter, type NetworkFilter } from "./filter.ts";
import { readOptions, type TrafficdumpOptions } from "./options.ts";
import { Proxy } from "./proxy.ts";
import { describePairs, planCapture } from "./what_to_capture.ts";
import { isWriterThread, serveWriter } from "./writer_thread.ts";

/** Memory for captured bytes that wait for the rest of their record, at most. */
const MAX_WAITING_BYTES = 64 << 20;

async function main(): Promise<number> {
  const options = readOptions();
  return await runProcess("trafficdump", options.process, (log) => start(options, log));
}

async function start(options: TrafficdumpOptions, log: Logger): Promise<number> {
  const plan = await planCapture(options, log);
  const { pairs } = plan;
  if (pairs.length === 0 && options.proxies.length === 0) {
    throw new UsageError("-p: expected the ports to capture, or --proxy");
  }
  const userFilters: NetworkFilter[] = [];
  for (const path of options.filters) userFilters.push(await loadFilter(`file://${path}`));

  const directory = new DumpDirectory(options.logDirectory);
  if (directory.unlocked !== undefined) {
    log.warn(
      `whether another trafficdump writes to the same place is not known: ${directory.unlocked}`,
    );
  }
  const dump = new Dump({
    log,
    minIntervalS: options.minIntervalS,
    settings: describe(options, pairs),
    files: {
      directory: directory.path,
      fileBytes: options.fileBytes,
      fileAgeMs: options.fileAgeMs,
      maxBytes: options.maxDiskBytes,
      minFreeBytes: options.minFreeBytes,
      asLayotto: options.asLayotto ?? plan.isLayotto,
    },
    maxQueueBytes: options.queueBytes,
    threadModule: import.meta.url,
  });
  await dump.writer.ready();
  const { config: app, global } = options;
  const strategyFiles = new StrategyFiles(
    dump.sampling,
    log,
    { app, global },
    plan.onConfiguration,
  );
  const refusal = strategyFiles.load();
  if (refusal !== undefined) {
    // Who starts it sees this; in a file that came by itself, nobody may.
    if (options.refusesInvalid) throw new UsageError(refusal);
    log.error(`the strategy cannot be used, nothing is sampled until a good one comes: ${refusal}`);
  }

  // All that needs root is opened before it is given up.
  const capture = pairs.length === 0 ? undefined : new PassiveCapture(dump, {
    ...options,
    pairs,
    way: options.capture,
    maxBytes: MAX_WAITING_BYTES,
  });
  const proxies = openProxies(options, dump, userFilters, log);
  const endpoint = await Endpoint.open({
    dump,
    path: options.endpoint,
    mode: options.endpointMode,
    groupId: options.endpointGroupId,
    tcp: options.portraitTcp,
    reload: () => strategyFiles.reload("asked to reload"),
    status: () => ({ proxies: proxies.map(({ port, counters }) => ({ port, ...counters })) }),
  });
  giveUpPrivileges(log, { log: options.process.log, read: [options.config, options.global] });
  directory.assertWritable();

  const ended = Promise.withResolvers<void>();
  const unsubscribe = onSignals(["SIGINT", "SIGTERM", "SIGHUP"], (signal) => {
    if (signal === "SIGHUP") {
      reopenLog(log, signal);
      strategyFiles.reload(signal);
      return;
    }
    log.info(`${signal}: ending`);
    ended.resolve();
  });
  // A proxy is in the way of the service: only a dump that looks on may wait.
  if (proxies.length === 0) standBack(log, "idle");
  const loop = capture === undefined ? undefined : new EventLoop();
  if (capture !== undefined && loop !== undefined) {
    dump.addSource(capture);
    capture.start(loop);
  }
  strategyFiles.watch();
  dump.sampling.start();
  const running = [loop?.run(), ...proxies.map((proxy) => proxy.run())];
  log.info(
    `ready: version ${VERSION}, ${
      sayWhat(capture, pairs, options)
    }, sampling is ${dump.sampling.describe()}`,
  );
  announceReady();
  try {
    // What ends by itself before a signal has failed.
    await Promise.race([ended.promise, Promise.all(running)]);
  } finally {
    unsubscribe();
    strategyFiles.close();
    for (const proxy of proxies) proxy.close();
    await dump.close();
    await endpoint.close();
    const dropped = capture?.dropped ?? 0;
    if (dropped > 0) log.warn(`packets dropped by the kernel for want of room: ${dropped}`);
    capture?.close();
    loop?.stop();
  }
  return 0;
}

function openProxies(
  options: TrafficdumpOptions,
  dump: Dump,
  userFilters: readonly NetworkFilter[],
  log: Logger,
): Proxy[] {
  const { proxies, maxConnections: wanted, idleTimeoutMs, withPackets } = options;
  if (proxies.length === 0) return [];
  const maxConnections = connectionsPerProxy(wanted, proxies.length, descriptorLimit());
  if (maxConnections < wanted) {
    log.info(
      `at most ${maxConnections} connections at a time, more wait: ` +
        "open files are limited (ulimit -n)",
    );
  }
  return proxies.map((pair) => {
    const filters = new FilterChain([
      ...userFilters,
      new DumpFilter(dump, pair.port, withPackets),
    ]);
    return new Proxy({ ...pair, filters, log, maxConnections, idleTimeoutMs });
  });
}

/** What belongs to the effective configuration besides the strategies. */
function describe(
  options: TrafficdumpOptions,
  pairs: readonly CapturePair[],
): Record<string, unknown> {
  const { proxies, fileBytes, fileAgeMs, maxDiskBytes, minFreeBytes, queueBytes } = options;
  return {
    version: VERSION,
    captured: describePairs(pairs),
    proxies,
    filters: options.filters,
    capture: options.capture,
    pcapng: options.withPackets,
    limits: { fileBytes, fileAgeMs, maxDiskBytes, minFreeBytes, queueBytes },
  };
}

function sayWhat(
  capture: PassiveCapture | undefined,
  pairs: readonly CapturePair[],
  { proxies, logDirectory }: TrafficdumpOptions,
): string {
  const parts = proxies.map(({ hostname, port, upstream }) =>
    `proxy ${hostname}:${port} to ${upstream.hostname}:${upstream.port}`
  );
  if (capture !== undefined) {
    parts.push(`capturing ${describePairs(pairs)} with ${capture.description}`);
  }
  return `${parts.join(", ")}, files in ${logDirectory}/dump`;
}

if (import.meta.main) {
  if (isWriterThread()) serveWriter();
  else await runMain("trafficdump", main);
}
