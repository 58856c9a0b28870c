/** intercept: catches a test server's responses for tcpcopy. */

import type { Logger } from "@logtape/logtape";
import { announceReady } from "../cli/daemon.ts";
import { runMain } from "../cli/fatal.ts";
import { runProcess } from "../cli/process_options.ts";
import type { Settings } from "../cli/program.ts";
import { reloadOnHangup } from "../cli/reload.ts";
import { onSignals } from "../loop/signals.ts";
import {
  type GivenInterceptOptions,
  type InterceptOptions,
  interpretOptions,
  readOptions,
} from "./options.ts";
import { Relay } from "./relay.ts";

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
  for (const notice of options.notices) log.info(notice);
  if (settings.given.logLevel === "debug") log.debug(`options: ${settings.format()}`);
  const relay = new Relay({ ...options, log });
  announceReady();
  const ends = [
    onSignals(["SIGINT", "SIGTERM"], (signal) => {
      log.info(`${signal}: ending`);
      relay.stop();
    }),
    reloadOnHangup({
      log,
      settings,
      reloadable: ["max-combined"],
      interpret: interpretOptions,
      apply: ({ maxCombined }) => relay.limitFrames(maxCombined),
    }),
  ];
  try {
    await relay.run();
  } finally {
    for (const end of ends) end();
  }
  return 0;
}

if (import.meta.main) await runMain("intercept", main);
