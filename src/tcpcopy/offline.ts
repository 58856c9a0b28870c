/** Offline replay: the packets of capture files, in the rhythm they were recorded in. */

import type { Logger } from "@logtape/logtape";
import { isReadOnce } from "../capture/byte_stream.ts";
import { CaptureFileError } from "../capture/pcap_file.ts";
import { openRecording } from "../capture/recording.ts";
import { announceReady } from "../cli/daemon.ts";
import { giveUpPrivileges, type LaterFiles } from "../cli/privileges.ts";
import { onSignals } from "../loop/signals.ts";
import { mergeFigures } from "../observe/merge.ts";
import { acknowledgedShare, formatCount } from "../observe/report.ts";
import { serviceAddress, type Transfer, TransferMap } from "../session/transfer.ts";
import { VERSION } from "../version.ts";
import type { FileSource } from "./file_part.ts";
import type { Part } from "./part.ts";
import {
  describePlayingTime,
  describeProgress,
  leastPlayed,
  type PlayedStretch,
} from "./playing_time.ts";
import { describeTransfers } from "./replay.ts";
import { type Survey, surveyRecording } from "./survey.ts";
import type { Watch } from "./watch.ts";

const PROGRESS_EVERY_MS = 200;
const LOG_PROGRESS_EVERY_MS = 30_000;
/** Parts are told to begin so far ahead that each has heard of it by then. */
const BEGIN_AHEAD_MS = 20;

/**
 * Plays the files and ends when the last session has ended.
 *
 * @param makeWatch makes the parts; called when the files have proved to be usable
 * @param times how often to play the files
 * @param files what it needs of the file system while it runs
 * @returns the exit code: 0 only if every session was complete
 */
export async function runOffline(
  makeWatch: () => Watch,
  transfers: readonly Transfer[],
  source: FileSource,
  times: number,
  log: Logger,
  files: LaterFiles,
): Promise<number> {
  // What can be read only once is judged by the part that plays it.
  const survey = source.paths.some(isReadOnce) ? undefined : await surveyed(source, transfers, log);
  using watch = makeWatch();
  const { parts, failed, lonely } = watch;
  const [name] = await Promise.all(parts.map((part) => part.open()));
  giveUpPrivileges(log, files);
  const stop = Promise.withResolvers<void>();
  let interrupted = false;
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    if (!interrupted) log.info(`${signal}: the replay ends here`);
    interrupted = true;
    stop.resolve();
  });
  const ended = Promise.race([stop.promise, lonely.then(() => void (interrupted = true))]);
  const whole = survey === undefined ? undefined : wholeOf(survey, source.acceleration);
  using progress = new ProgressLine(parts, whole, times, log);
  try {
    const connected = Promise.all(parts.map((part) => part.connect()));
    await Promise.race([connected, failed, ended]);
    const known = survey === undefined || whole === undefined
      ? ""
      : `: ${describeSurvey(survey)}, ${describePlayingTime(whole, times)}`;
    log.info(
      `ready: version ${VERSION}, ${describeTransfers(transfers)}, playing ${name}${known}`,
    );
    announceReady({ readsInput: source.paths.includes("-") });
    watch.lookForSigns({ ports: [] });
    const isBroken = () => parts.some(({ status }) => status.defect !== undefined);
    for (let round = 0; round < times && !interrupted && !isBroken(); round++) {
      progress.round++;
      const startAtMs = Date.now() + (parts.length > 1 ? BEGIN_AHEAD_MS : 0);
      const played = Promise.all(parts.map((part) => part.play(startAtMs)));
      await Promise.race([played, failed, ended]);
    }
    progress.clear();
    const final = await Promise.all(parts.map((part) => part.finish()));
    watch.report(final);
    watch.assertIntercept();
    const defect = final.map((status) => status.defect).find((text) => text !== undefined);
    if (defect !== undefined) throw new Error(defect);
    const { ledger } = mergeFigures(final.map((status) => status.figures));
    return ledger.allComplete && !interrupted ? 0 : 1;
  } finally {
    unsubscribe();
  }
}

async function surveyed(
  source: FileSource,
  transfers: readonly Transfer[],
  log: Logger,
): Promise<Survey> {
  using recording = openRecording(source.paths, serviceAddress(transfers));
  for (const warning of recording.warnings) log.warn(warning);
  const options = {
    name: recording.name,
    transfers: new TransferMap(transfers),
    maxGapMs: source.maxGapMs,
    allowTruncated: source.allowTruncated,
    warn: (text: string) => log.warn(text),
  };
  try {
    return await surveyRecording(recording, options);
  } catch (error) {
    if (!(error instanceof CaptureFileError)) throw error;
    throw new Error(`${error.message} Nothing was replayed.`);
  }
}

function wholeOf({ packets, recordedMs, durationMs }: Survey, acceleration: number): PlayedStretch {
  return { packets, recordedMs, playingMs: durationMs / acceleration };
}

function describeSurvey(survey: Survey): string {
  const cut = survey.cutPackets === 0
    ? ""
    : `, ${formatCount(survey.cutPackets)} cut short when they were recorded`;
  return `${formatCount(survey.packets)} packets, ${formatCount(survey.requestPackets)} of them ` +
    `requests${cut}`;
}

/** One line on the terminal that is written over again and again; elsewhere one in the log at times. */
class ProgressLine implements Disposable {
  /** Which time the file is played, from 1 on. */
  round = 0;
  readonly #parts: readonly Part[];
  /** Undefined for what can be read only once. */
  readonly #whole: PlayedStretch | undefined;
  readonly #rounds: number;
  readonly #log: Logger;
  readonly #isTerminal = Deno.stderr.isTerminal();
  readonly #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    parts: readonly Part[],
    whole: PlayedStretch | undefined,
    rounds: number,
    log: Logger,
  ) {
    this.#parts = parts;
    this.#whole = whole;
    this.#rounds = rounds;
    this.#log = log;
    const everyMs = this.#isTerminal ? PROGRESS_EVERY_MS : LOG_PROGRESS_EVERY_MS;
    this.#timer = setInterval(() => this.#show(), everyMs);
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
    const played = describeProgress(leastPlayed(status.map((part) => part.played)), this.#whole);
    const round = this.#rounds > 1 ? `round ${this.round} of ${this.#rounds}, ` : "";
    this.#write(
      `${round}${played}, ${formatCount(ledger.seen)} sessions, ` +
        `${formatCount(ledger.open)} open, ${acknowledgedShare({ counters })} acknowledged`,
    );
  }

  #write(text: string): void {
    if (!this.#isTerminal) this.#log.info(text);
    else Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  }
}
