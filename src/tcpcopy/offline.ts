/** Offline replay: the packets of capture files, in the rhythm they were recorded in. */

import { dropRoot } from "../../ffi/privileges.ts";
import { openRecording, type Recording } from "../capture/recording.ts";
import { announceReady } from "../cli/daemon.ts";
import { onSignals } from "../loop/signals.ts";
import { formatCount, formatShare } from "../observe/report.ts";
import { type Transfer, TransferMap } from "../session/transfer.ts";
import { VERSION } from "../version.ts";
import { Player } from "./player.ts";
import { describeTransfers, type Replay } from "./replay.ts";
import { Survey, type SurveyOptions, surveyRecording } from "./survey.ts";

/** What to play, and how. */
export interface OfflineOptions {
  /** Capture files; "-" is standard input. */
  paths: readonly string[];
  acceleration: number;
  /** Longer pauses are cut to this, ms; Infinity keeps them. */
  maxGapMs: number;
  /** How often to play the file. */
  times: number;
  /** Whether packets that were cut short when they were recorded are borne. */
  allowTruncated: boolean;
  /** Payload waiting above this makes the file wait, bytes. */
  maxWaitingBytes: number;
}

const PROGRESS_EVERY_MS = 200;
const LOOK_EVERY_MS = 5;

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
  using recording = openRecording(options.paths);
  const survey = await surveyed(recording, {
    name: recording.name,
    transfers: new TransferMap(transfers),
    maxGapMs: options.maxGapMs,
    allowTruncated: options.allowTruncated,
  });
  dropRoot();
  replay.stripTunnels();
  let interrupted = false;
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    if (!interrupted) log.info(`${signal}: the replay ends here`);
    interrupted = true;
    loop.wake();
  });
  const running = loop.run();
  const progress = new ProgressLine(replay, survey.known?.packets, options.times);
  try {
    await Promise.race([replay.connect(), running]);
    log.info(
      `ready: version ${VERSION}, ${describeTransfers(transfers)}, playing ` +
        `${recording.name}${survey.known ? `: ${describeSurvey(survey.known, options)}` : ""}`,
    );
    announceReady();
    loop.every(PROGRESS_EVERY_MS, () => progress.show());
    // Whatever ends the loop ends the program too.
    const played = playAll(replay, recording, survey, options, () => interrupted, progress);
    await Promise.race([played, running]);
    progress.clear();
    const complete = table.ledger.allComplete && !interrupted;
    replay.finish();
    await running;
    replay.throwFailure();
    return complete ? 0 : 1;
  } finally {
    unsubscribe();
    loop.stop();
  }
}

/** Plays the file as often as asked for, each time to the end of the last session. */
async function playAll(
  replay: Replay,
  recording: Recording,
  survey: Surveyed,
  options: OfflineOptions,
  isInterrupted: () => boolean,
  progress: ProgressLine,
): Promise<void> {
  const { loop, table } = replay;
  for (let round = 0; round < options.times && !isInterrupted(); round++) {
    if (round > 0) {
      recording.rewind();
      table.startOver();
    }
    await playOnce(replay, recording, survey, options, isInterrupted, progress);
    table.stopCapture(loop.nowMs);
    await until(replay, () => table.openSessions === 0 || isInterrupted());
  }
}

async function playOnce(
  replay: Replay,
  recording: Recording,
  survey: Surveyed,
  options: OfflineOptions,
  isInterrupted: () => boolean,
  progress: ProgressLine,
): Promise<void> {
  const { loop, table } = replay;
  const player = new Player(
    recording,
    options,
    loop.nowMs,
    () => {
      if (survey.onTheWay !== undefined) {
        survey.onTheWay.look(recording);
        survey.onTheWay.assertWhole();
      }
      const { linkType, bytes, view, offset, capturedLength } = recording;
      replay.onCaptured(linkType, bytes, view, offset, capturedLength);
    },
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
  if (!isInterrupted()) survey.onTheWay?.assertRequests();
}

/** What is known before, or else a survey to be made while playing. */
interface Surveyed {
  known?: Survey;
  onTheWay?: Survey;
}

async function surveyed(recording: Recording, options: SurveyOptions): Promise<Surveyed> {
  if (!recording.isRewindable) return { onTheWay: new Survey(options) };
  const known = await surveyRecording(recording, options);
  recording.rewind();
  return { known };
}

function describeSurvey(survey: Survey, { acceleration }: OfflineOptions): string {
  const seconds = (survey.durationMs / acceleration / 1000).toFixed(1);
  const cut = survey.cutPackets === 0
    ? ""
    : `, ${formatCount(survey.cutPackets)} cut short when they were recorded`;
  return `${formatCount(survey.packets)} packets, ${formatCount(survey.requestPackets)} of them ` +
    `requests${cut}, ${seconds} s`;
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
  /** Undefined for what can be read only once. */
  readonly #packets: number | undefined;
  readonly #rounds: number;
  readonly #isTerminal = Deno.stderr.isTerminal();
  #player: Player | undefined;
  #round = 0;

  constructor(replay: Replay, packets: number | undefined, rounds: number) {
    this.#replay = replay;
    this.#packets = packets;
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
    const played = this.#packets === undefined
      ? `${formatCount(this.#player.played)} packets`
      : formatShare(this.#player.played, this.#packets);
    this.#write(
      `${round}${played} played, ` +
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
