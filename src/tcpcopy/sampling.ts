/** Sampling for a replay: new sessions begin in windows, and none while the system is busy. */

import type { Logger } from "@logtape/logtape";
import { UsageError } from "../cli/fatal.ts";
import { SamplingLoop } from "../cli/sampling_loop.ts";
import { StrategyFiles } from "../cli/strategy_files.ts";
import type { SessionStrategy } from "./sampling_options.ts";
import type { Watch } from "./watch.ts";

/**
 * Lets sessions begin only as the strategy in a file says, from now on. Sessions that have begun in a
 * window go on after it.
 *
 * @returns ends it
 * @throws UsageError for a file that cannot be used
 */
export function sampleSessions(
  watch: Watch,
  log: Logger,
  { path, minIntervalS }: SessionStrategy,
): () => void {
  let begun = 0;
  let hasEnded = false;
  const seen = () => watch.figures().ledger.seen;
  /** What comes to grief in a part ends the program from there. */
  const setSampling = (isOpen: boolean, then = () => {}) => {
    if (!hasEnded) watch.setSampling(isOpen).then(() => hasEnded || then(), () => {});
  };
  const sampling = new SamplingLoop({
    onOpen: (window) => {
      // No session has begun since the last window was closed.
      begun = seen();
      setSampling(true, () => log.info(`window ${window} is open`));
    },
    onClose: (window) => {
      const before = begun;
      setSampling(false, () => {
        log.info(`window ${window} is closed: ${seen() - before} sessions have begun`);
      });
    },
    onSkip: (reason) => log.warn(`no window is opened: ${reason}`),
    onFuse: (reason) => {
      setSampling(reason === undefined);
      if (reason === undefined) log.info("the system has recovered: sessions begin again");
      else log.warn(`no new session begins: ${reason}`);
    },
  }, minIntervalS);
  const files = new StrategyFiles(sampling, log, { app: path, global: undefined });
  const refusal = files.load();
  if (refusal !== undefined) throw new UsageError(`--strategy ${refusal}`);
  setSampling(false);
  files.watch();
  sampling.start();
  log.info(`sampling is ${sampling.describe()}`);
  return () => {
    hasEnded = true;
    files.close();
    sampling.stop();
  };
}
