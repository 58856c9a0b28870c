/** Offline replay: the packets of a capture file, in the rhythm they were recorded in. */

import { dropRoot } from "../../ffi/privileges.ts";
import { DumpLogReader, isDumpLog } from "../capture/dump_log.ts";
import { PcapFileReader } from "../capture/pcap_file.ts";
import type { Recording } from "../capture/recording.ts";
import { UsageError } from "../cli/fatal.ts";
import { onSignals } from "../loop/signals.ts";
import { formatCount, formatShare } from "../observe/report.ts";
import { type Transfer, TransferMap } from "../session/transfer.ts";
import { VERSION } from "../version.ts";
import { Player } from "./player.ts";
import { describeTransfers, type Replay } from "./replay.ts";
import { type Survey, surveyFile } from "./survey.ts";

/** What to play, and how. */
export interface OfflineOptions {
  path: string;
  acceleration: number;
  /** Longer pauses are cut to this, ms; Infinity keeps them. */
  maxGapMs: number;
  /** How often to play the file. */
  times: number;
  libpcapPath: string | undefined;
  /** Payload waiting above this makes the file wait, bytes. */
  maxWaitingBytes: number;
}

const PROGRESS_EVERY_MS = 200;
const LOOK_EVERY_MS = 5;
/** 127.0.0.1 */
const LOCALHOST = 0x7f00_0001;

/**
 * Plays the file and ends when the last session has ended.
 *
 * @returns the exit code: 0 only if every session was complete
 */
export async function runOffline(
  replay: Replay,
  transfers: readonly Transfer[],
  options: OfflineOptions,
): Promise<number> {
  const { loop, log, table } = replay;
  using file = openRecording(transfers, options, table.config.clientAddresses.length > 0);
  const survey = surveyFile(file, new TransferMap(transfers), options.maxGapMs);
  // Playing the file again means opening it again, which may need root.
  if (options.times === 1) dropRoot();
  let interrupted = false;
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    if (!interrupted) log.info(`${signal}: the replay ends here`);
    interrupted = true;
    loop.wake();
  });
  const running = loop.run();
  const progress = new ProgressLine(replay, survey, options.times);
  try {
    await Promise.race([replay.connect(), running]);
    log.info(
      `ready: version ${VERSION}, ${describeTransfers(transfers)}, playing ${options.path}: ` +
        `${formatCount(survey.packets)} packets, ${
          formatCount(survey.requestPackets)
        } of them requests, ` +
        `${(survey.durationMs / options.acceleration / 1000).toFixed(1)} s`,
    );
    if (file instanceof DumpLogReader && file.skippedLines > 0) {
      log.warn(`${formatCount(file.skippedLines)} lines are no records and are skipped`);
    }
    if (survey.cutPackets > 0) {
      log.warn(
        `${
          formatCount(survey.cutPackets)
        } request packets were cut short when they were recorded: ` +
          "their sessions end there",
      );
    }
    loop.every(PROGRESS_EVERY_MS, () => progress.show());
    // Whatever ends the loop ends the program too.
    const played = playAll(replay, file, options, () => interrupted, progress);
    await Promise.race([played, running]);
    progress.clear();
    const complete = table.ledger.allComplete && !interrupted;
    replay.finish();
    await running;
    return complete ? 0 : 1;
  } finally {
    unsubscribe();
    loop.stop();
  }
}

/** A capture file, or a dump's log, whichever it is. */
function openRecording(
  transfers: readonly Transfer[],
  options: OfflineOptions,
  hasClientAddresses: boolean,
): Recording {
  const { path, libpcapPath } = options;
  if (!isDumpLog(path)) return new PcapFileReader(path, { libpcapPath });
  if (!hasClientAddresses) {
    throw new UsageError(`${path} does not say who the clients were: give them addresses with -c`);
  }
  // A log knows ports only: its services were wherever -x says they are.
  return new DumpLogReader(path, (port) => {
    const transfer = transfers.find(({ onlinePort }) => onlinePort === port);
    return transfer?.onlineAddress ?? LOCALHOST;
  });
}

/** Plays the file as often as asked for, each time to the end of the last session. */
async function playAll(
  replay: Replay,
  file: Recording,
  options: OfflineOptions,
  isInterrupted: () => boolean,
  progress: ProgressLine,
): Promise<void> {
  const { loop, table } = replay;
  for (let round = 0; round < options.times && !isInterrupted(); round++) {
    if (round > 0) {
      file.rewind();
      table.startOver();
    }
    await playOnce(replay, file, options, isInterrupted, progress);
    table.stopCapture(loop.nowMs);
    await until(replay, () => table.openSessions === 0 || isInterrupted());
  }
}

async function playOnce(
  replay: Replay,
  file: Recording,
  options: OfflineOptions,
  isInterrupted: () => boolean,
  progress: ProgressLine,
): Promise<void> {
  const { loop, table } = replay;
  const player = new Player(
    file,
    options,
    loop.nowMs,
    () => replay.onCaptured(file.linkType, file.bytes, file.view, file.offset, file.capturedLength),
    // With no session open there is nothing to wait for.
    () =>
      table.payloadBytes > options.maxWaitingBytes || (table.shedding && table.openSessions > 0),
  );
  progress.begin(player);
  loop.addTimerSource(player);
  loop.wake();
  try {
    await until(replay, () => player.ended || isInterrupted());
  } finally {
    loop.removeTimerSource(player);
  }
}

/** Resolves when the condition holds; looked at between turns of the loop. */
function until(replay: Replay, isDone: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = replay.loop.every(LOOK_EVERY_MS, () => {
    if (!isDone()) return;
    replay.loop.clear(timer);
    resolve();
  });
  return promise;
}

/** One line on the terminal that is written over again and again. */
class ProgressLine {
  readonly #replay: Replay;
  readonly #survey: Survey;
  readonly #rounds: number;
  readonly #isTerminal = Deno.stderr.isTerminal();
  #player: Player | undefined;
  #round = 0;

  constructor(replay: Replay, survey: Survey, rounds: number) {
    this.#replay = replay;
    this.#survey = survey;
    this.#rounds = rounds;
  }

  begin(player: Player): void {
    this.#player = player;
    this.#round++;
  }

  show(): void {
    if (!this.#isTerminal || this.#player === undefined) return;
    const { ledger, counters, openSessions } = this.#replay.table;
    const round = this.#rounds > 1 ? `round ${this.#round} of ${this.#rounds}, ` : "";
    this.#write(
      `${round}${formatShare(this.#player.played, this.#survey.packets)} played, ` +
        `${formatCount(ledger.seen)} sessions, ${formatCount(openSessions)} open, ` +
        `${formatShare(counters.acknowledgedBytes, counters.capturedBytes)} acknowledged`,
    );
  }

  clear(): void {
    if (this.#isTerminal) this.#write("");
  }

  #write(text: string): void {
    Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  }
}
