/** Sampling for a replay: new sessions begin in windows, and none while the system is busy. */

import type { Logger } from "@logtape/logtape";
import { UsageError } from "../cli/fatal.ts";
import { SamplingLoop } from "../cli/sampling_loop.ts";
import { StrategyFiles } from "../cli/strategy_files.ts";
import type { SessionTable } from "../session/session_table.ts";

/**
 * Lets sessions begin only as the strategy in a file says, from now on. Sessions that have begun in a
 * window go on after it.
 *
 * @returns ends it
 * @throws UsageError for a file that cannot be used
 */
export function sampleSessions(
  table: SessionTable,
  log: Logger,
  path: string,
  minIntervalS: number | undefined,
): () => void {
  let begun = 0;
  const open = () => {
    table.sampling = true;
    begun = table.ledger.seen;
  };
  const sampling = new SamplingLoop({
    onOpen: (window) => {
      open();
      log.info(`window ${window} is open`);
    },
    onClose: (window) => {
      table.sampling = false;
      log.info(`window ${window} is closed: ${table.ledger.seen - begun} sessions have begun`);
    },
    onSkip: (reason) => log.warn(`no window is opened: ${reason}`),
    onFuse: (reason) => {
      table.sampling = reason === undefined;
      if (reason === undefined) log.info("the system has recovered: sessions begin again");
      else log.warn(`no new session begins: ${reason}`);
    },
  }, minIntervalS);
  const files = new StrategyFiles(sampling, log, { app: path, global: undefined });
  const refusal = files.load();
  if (refusal !== undefined) throw new UsageError(`--strategy ${refusal}`);
  table.sampling = false;
  files.watch();
  sampling.start();
  log.info(`sampling is ${sampling.describe()}`);
  return () => {
    files.close();
    sampling.stop();
  };
}
