/**
 * What a recording holds: is it whole, does it have the requests that are asked for, how long will it
 * take. Found in a first pass, before anything is sent; or, for what can be read only once, on the way.
 */

import { Next, type RecordedPackets } from "../capture/recorded_packets.ts";
import { formatEndpoint } from "../cli/addresses.ts";
import { UsageError } from "../cli/fatal.ts";
import type { TransferMap } from "../session/transfer.ts";
import { Packet, ParseResult } from "../wire/packet.ts";
import { describeJump, type Jump, Pace } from "./pace.ts";

const MOST_FREQUENT = 5;
const MAX_DESTINATIONS = 1000;
/** Jumps in time that are told, each a line. */
const MAX_TOLD_JUMPS = 5;
/** Packets between two looks at anything else, and the pause when there is none yet. */
const PACKETS_PER_TURN = 10_000;

/** How a recording is judged. */
export interface SurveyOptions {
  /** For messages: what is read. */
  name: string;
  transfers: TransferMap;
  /** Longer pauses count as this long, ms; undefined: see `Pace`. */
  maxGapMs: number | undefined;
  /** Whether request packets that were cut short when they were recorded are borne. */
  allowTruncated: boolean;
  /** Told what the user should know about the recording. */
  warn?(text: string): void;
}

/** Looks at one packet after the other. */
export class Survey {
  packets = 0;
  /** Packets sent to the online servers of the transfers. */
  requestPackets = 0;
  /** How many of them are not whole. */
  cutPackets = 0;
  readonly #options: SurveyOptions;
  readonly #packet = new Packet();
  readonly #destinations = new Map<string, number>();
  readonly #pace: Pace;
  #jumps = 0;

  constructor(options: SurveyOptions) {
    this.#options = options;
    this.#packet.stripsTunnels = true;
    this.#pace = new Pace(options.maxGapMs, (jump) => this.#onJump(jump));
  }

  /** How long it took to record, ms. */
  get recordedMs(): number {
    return this.#pace.recordedMs;
  }

  /** The same with pauses cut to the given bound, ms. */
  get durationMs(): number {
    return this.#pace.playedMs;
  }

  /** Takes the packet that `recorded` stands on. */
  look(recorded: RecordedPackets): void {
    const packet = this.#packet;
    this.packets++;
    this.#pace.step(recorded.timestampUs);
    const { linkType, bytes, view, offset, capturedLength } = recorded;
    const result = packet.parse(linkType, bytes, view, offset, capturedLength);
    if (result !== ParseResult.Tcp || packet.ipVersion !== 4) return;
    if (this.#isRequest()) {
      this.requestPackets++;
      if (packet.capturedPayloadLength < packet.payloadLength) this.cutPackets++;
    } else if (this.requestPackets === 0 && this.#destinations.size < MAX_DESTINATIONS) {
      const to = formatEndpoint(packet.destinationAddress, packet.destinationPort);
      this.#destinations.set(to, (this.#destinations.get(to) ?? 0) + 1);
    }
  }

  /** @throws UsageError when packets were cut short, unless that is allowed */
  assertWhole(): void {
    if (this.cutPackets === 0 || this.#options.allowTruncated) return;
    throw new UsageError(
      `${this.#options.name}: ${this.cutPackets} of ${this.requestPackets} request packets were ` +
        "cut short when they were recorded; record whole packets (tcpdump -s 0), or give " +
        "--allow-truncated: their sessions then end where bytes are missing",
    );
  }

  /** To be called at the end. @throws UsageError when there is nothing to replay */
  assertRequests(): void {
    if (this.requestPackets > 0) return;
    const frequent = [...this.#destinations].sort((a, b) => b[1] - a[1]).slice(0, MOST_FREQUENT);
    const instead = frequent.length === 0
      ? "there are no TCP packets over IPv4 in it"
      : `most go to ${frequent.map(([to]) => to).join(", ")}`;
    throw new UsageError(
      `${this.#options.name}: none of its ${this.packets} packets is sent to an online server ` +
        `of -x; ${instead}`,
    );
  }

  #onJump(jump: Jump): void {
    const text = describeJump(jump);
    if (text === undefined) return;
    this.#jumps++;
    const { name, warn } = this.#options;
    if (this.#jumps <= MAX_TOLD_JUMPS) warn?.(`${name}: ${text}`);
    else if (this.#jumps === MAX_TOLD_JUMPS + 1) {
      warn?.(`${name}: further jumps in time are played in the same way and not told`);
    }
  }

  #isRequest(): boolean {
    const { transfers } = this.#options;
    const { destinationAddress, destinationPort } = this.#packet;
    for (let index = 0; index < transfers.transfers.length; index++) {
      if (transfers.matches(index, destinationAddress, destinationPort)) return true;
    }
    return false;
  }
}

/**
 * Reads a recording to its end.
 *
 * @throws CaptureFileError for a broken file, UsageError for one that cannot be replayed
 */
export async function surveyRecording(
  recorded: RecordedPackets,
  options: SurveyOptions,
): Promise<Survey> {
  const survey = new Survey(options);
  for (;;) {
    const next = recorded.next();
    if (next === Next.End) break;
    if (next === Next.Packet) survey.look(recorded);
    // What is read ahead comes in between.
    if (next === Next.Wait || survey.packets % PACKETS_PER_TURN === 0) await anotherTurn();
  }
  survey.assertRequests();
  survey.assertWhole();
  return survey;
}

function anotherTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
