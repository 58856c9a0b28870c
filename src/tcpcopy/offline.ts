/** Offline replay: the packets of a capture file, in the rhythm they were recorded in. */

import type { Logger } from "@logtape/logtape";
import { dropRoot } from "../../ffi/privileges.ts";
import { PcapFileReader } from "../capture/pcap_file.ts";
import { onSignals } from "../loop/signals.ts";
import { mergeFigures } from "../observe/merge.ts";
import { formatCount, formatShare } from "../observe/report.ts";
import { type Transfer, TransferMap } from "../session/transfer.ts";
import { VERSION } from "../version.ts";
import type { FileSource } from "./file_part.ts";
import type { Part } from "./part.ts";
import { describeTransfers } from "./replay.ts";
import { type Survey, surveyFile } from "./survey.ts";
import { type MemoryLimits, Watch } from "./watch.ts";

const PROGRESS_EVERY_MS = 200;
/** Parts are told to begin so far ahead that each has heard of it by then. */
const BEGIN_AHEAD_MS = 20;

/**
 * Plays the file and ends when the last session has ended.
 *
 * @param makeParts called when the file has proved to be usable
 * @param times how often to play the file
 * @returns the exit code: 0 only if every session was complete
 */
export async function runOffline(
  makeParts: () => readonly Part[],
  transfers: readonly Transfer[],
  source: FileSource,
  times: number,
  limits: MemoryLimits,
  log: Logger,
): Promise<number> {
  const survey = surveySource(source, transfers);
  const parts = makeParts();
  await Promise.all(parts.map((part) => part.open()));
  // Playing the file again means opening it again, which may need root.
  if (times === 1) dropRoot();
  const failed = Promise.race(parts.map((part) => part.failed));
  failed.catch(() => {}); // heard of wherever it is waited for
  const stop = Promise.withResolvers<void>();
  let interrupted = false;
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    if (!interrupted) log.info(`${signal}: the replay ends here`);
    interrupted = true;
    stop.resolve();
  });
  using watch = new Watch(parts, limits, log);
  using progress = new ProgressLine(parts, survey, times);
  try {
    const connected = Promise.all(parts.map((part) => part.connect()));
    await Promise.race([connected, failed, stop.promise]);
    announce(transfers, source, survey, log);
    for (let round = 0; round < times && !interrupted; round++) {
      progress.round++;
      const startAtMs = Date.now() + (parts.length > 1 ? BEGIN_AHEAD_MS : 0);
      const played = Promise.all(parts.map((part) => part.play(startAtMs)));
      await Promise.race([played, failed, stop.promise]);
    }
    progress.clear();
    const final = await Promise.all(parts.map((part) => part.finish()));
    watch.report(final);
    const { ledger } = mergeFigures(final.map((status) => status.figures));
    return ledger.allComplete && !interrupted ? 0 : 1;
  } finally {
    unsubscribe();
  }
}

function surveySource(source: FileSource, transfers: readonly Transfer[]): Survey {
  using file = new PcapFileReader(source.path, { libpcapPath: source.libpcapPath });
  return surveyFile(file, new TransferMap(transfers), source.maxGapMs);
}

function announce(
  transfers: readonly Transfer[],
  source: FileSource,
  survey: Survey,
  log: Logger,
): void {
  const { packets, requestPackets, cutPackets, durationMs } = survey;
  const seconds = (durationMs / source.acceleration / 1000).toFixed(1);
  log.info(
    `ready: version ${VERSION}, ${describeTransfers(transfers)}, playing ${source.path}: ` +
      `${formatCount(packets)} packets, ${formatCount(requestPackets)} of them requests, ` +
      `${seconds} s`,
  );
  if (cutPackets === 0) return;
  log.warn(
    `${formatCount(cutPackets)} request packets were cut short when they were recorded: ` +
      "their sessions end there",
  );
}

/** One line on the terminal that is written over again and again. */
class ProgressLine implements Disposable {
  /** Which time the file is played, from 1 on. */
  round = 0;
  readonly #parts: readonly Part[];
  readonly #survey: Survey;
  readonly #rounds: number;
  readonly #isTerminal = Deno.stderr.isTerminal();
  readonly #timer: ReturnType<typeof setInterval> | undefined;

  constructor(parts: readonly Part[], survey: Survey, rounds: number) {
    this.#parts = parts;
    this.#survey = survey;
    this.#rounds = rounds;
    if (this.#isTerminal) this.#timer = setInterval(() => this.#show(), PROGRESS_EVERY_MS);
  }

  clear(): void {
    if (this.#isTerminal) this.#write("");
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #show(): void {
    if (this.round === 0) return;
    const status = this.#parts.map((part) => part.status);
    const { ledger, counters } = mergeFigures(status.map(({ figures }) => figures));
    const played = Math.min(...status.map((part) => part.played));
    const round = this.#rounds > 1 ? `round ${this.round} of ${this.#rounds}, ` : "";
    this.#write(
      `${round}${formatShare(played, this.#survey.packets)} played, ` +
        `${formatCount(ledger.seen)} sessions, ${formatCount(ledger.open)} open, ` +
        `${formatShare(counters.acknowledgedBytes, counters.capturedBytes)} acknowledged`,
    );
  }

  #write(text: string): void {
    Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  }
}
