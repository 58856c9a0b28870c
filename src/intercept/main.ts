/** intercept: catches a test server's responses for tcpcopy. */

import type { Logger } from "@logtape/logtape";
import { SystemError } from "../../ffi/errno.ts";
import { formatEndpoint } from "../cli/addresses.ts";
import { announceReady } from "../cli/daemon.ts";
import { runMain } from "../cli/fatal.ts";
import { giveUpPrivileges } from "../cli/privileges.ts";
import { runProcess } from "../cli/process_options.ts";
import type { Settings } from "../cli/program.ts";
import { reloadOnHangup } from "../cli/reload.ts";
import { standBack } from "../cli/stand_back.ts";
import { isWorker } from "../cli/workers.ts";
import { onSignals } from "../loop/signals.ts";
import { ProcessUsage, type Usage } from "../observe/process_usage.ts";
import { describeUsage } from "../observe/report.ts";
import { WHOLE } from "../wire/partition.ts";
import { AnswerWatch } from "./answer_watch.ts";
import { mergeRelayFigures, type RelayFigures, summarizeRelay } from "./figures.ts";
import {
  type GivenInterceptOptions,
  type InterceptOptions,
  interpretOptions,
  readOptions,
} from "./options.ts";
import { Relay } from "./relay.ts";
import { type RelaySetup, RelayWorker, serveRelay } from "./relay_worker.ts";
import { Scout } from "./scout.ts";
import { SplitRelay } from "./split_relay.ts";

const REPORT_EVERY_MS = 30_000;
const LOOK_EVERY_MS = 500;

/** A relay, or several as one. */
interface Relaying {
  readonly port: number;
  figures(): RelayFigures;
  run(): Promise<void>;
  /** Most headers in one tunnel frame, for connections from now on. */
  limitFrames(maxCombined: number): void;
  stop(): void;
}

async function main(): Promise<number> {
  const settings = readOptions();
  const options = await interpretOptions(settings.given);
  if (settings.given.printConfig) {
    console.log(settings.format());
    return 0;
  }
  return await runProcess("intercept", options.process, (log) => start(settings, options, log));
}

async function start(
  settings: Settings<GivenInterceptOptions>,
  options: InterceptOptions,
  log: Logger,
): Promise<number> {
  const { process, notices, workers, ...setup } = options;
  standBack(log);
  for (const notice of notices) log.info(notice);
  if (settings.given.logLevel === "debug") log.debug(`options: ${settings.format()}`);
  const relaying = workers === 1
    ? openOne({ ...setup, partition: WHOLE }, log)
    : await openSeveral(setup, workers, log);
  const scout = openScout(log);
  giveUpPrivileges(log, { log: process.log, read: [settings.path] });
  const ends = [
    onSignals(["SIGINT", "SIGTERM"], (signal) => {
      log.info(`${signal}: ending`);
      relaying.stop();
    }),
    reloadOnHangup({
      log,
      settings,
      reloadable: ["max-combined"],
      interpret: interpretOptions,
      apply: ({ maxCombined }) => relaying.limitFrames(maxCombined),
    }),
  ];
  const usage = new ProcessUsage();
  const report = (taken: Usage) =>
    log.info(`${summarizeRelay(relaying.figures())}; ${describeUsage(taken)}`);
  const answers = new AnswerWatch(options, scout, (text, isTrouble) => {
    if (isTrouble) log.warn(text);
    else log.info(text);
  });
  const look = () => {
    const { tunnel: { announced, records }, lastAnnounced } = relaying.figures();
    answers.look({ announced, records, lastAnnounced }, performance.now());
  };
  const timers = [
    setInterval(() => report(usage.sinceLast()), REPORT_EVERY_MS),
    setInterval(look, LOOK_EVERY_MS),
  ];
  const running = relaying.run();
  log.info(
    `ready: capturing on ${options.devices.join(", ")} (${options.filter})` +
      `${workers === 1 ? "" : ` with ${workers} workers`}, ` +
      `listening on ${formatEndpoint(options.bindAddress, relaying.port)}`,
  );
  announceReady();
  try {
    await running;
  } finally {
    for (const timer of timers) clearInterval(timer);
    scout?.close();
    for (const end of ends) end();
    report(usage.sinceStart());
  }
  return 0;
}

/** While privileges are there; without it nothing is told apart. */
function openScout(log: Logger): Scout | undefined {
  try {
    return new Scout();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    log.warn(`answers that are not captured cannot be looked for (${error.message})`);
    return undefined;
  }
}

/** Everything in this thread. */
function openOne(setup: RelaySetup, log: Logger): Relaying {
  const relay = new Relay({ ...setup, log });
  const port = relay.listen();
  return {
    port,
    figures: () => relay.figures(),
    run: () => relay.run(),
    limitFrames: (maxCombined) => relay.limitFrames(maxCombined),
    stop: () => relay.stop(),
  };
}

/** A thread for each part of the clients; this one listens. */
async function openSeveral(
  setup: Omit<RelaySetup, "partition">,
  count: number,
  log: Logger,
): Promise<Relaying> {
  const workers = Array.from(
    { length: count },
    (_, index) => new RelayWorker(import.meta.url, { ...setup, partition: { index, count } }, log),
  );
  await Promise.all(workers.map((worker) => worker.opened));
  const split = new SplitRelay(workers, setup, log);
  const runAll = async () => {
    for (const worker of workers) worker.run();
    const failed = new Promise<never>((_, reject) => {
      for (const worker of workers) worker.ended.catch(reject);
    });
    await Promise.race([split.run(), failed]);
    for (const worker of workers) worker.stop();
    await Promise.all(workers.map((worker) => worker.ended));
  };
  return {
    port: split.port,
    figures: () => mergeRelayFigures([split.figures(), ...workers.map((worker) => worker.figures)]),
    run: runAll,
    limitFrames: (maxCombined) => {
      for (const worker of workers) worker.limitFrames(maxCombined);
    },
    stop: () => split.stop(),
  };
}

if (isWorker()) serveRelay();
else if (import.meta.main) await runMain("intercept", main);
