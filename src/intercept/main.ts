/** intercept: catches a test server's responses for tcpcopy. */

import { runMain } from "../cli/fatal.ts";
import { onSignals } from "../loop/signals.ts";
import { openLog } from "../observe/log.ts";
import { readOptions } from "./options.ts";
import { Relay } from "./relay.ts";

async function main(): Promise<number> {
  const { logFile, ...options } = await readOptions();
  const log = openLog({ program: "intercept", file: logFile });
  const relay = new Relay({ ...options, log });
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    log.info(`${signal}: ending`);
    relay.stop();
  });
  try {
    await relay.run();
  } finally {
    unsubscribe();
  }
  return 0;
}

if (import.meta.main) await runMain("intercept", main);
