/**
 * Notices when connections are announced and none of their answers is captured, and says why. Pure.
 *
 * Whoever has forgotten a route, or mistyped a filter, is to read it within 5 s, and not to compare counters
 * after 30. What is told apart: answers that do not come here, those that the filter lets not through, and
 * those on devices that are not captured from.
 */

import { formatEndpoint } from "../cli/addresses.ts";
import { formatCount } from "../observe/report.ts";
import type { AnnouncedConnection } from "../tunnel/latest_announcements.ts";
import { formatIpv4 } from "../wire/ipv4.ts";
import type { Sighting } from "./scout.ts";

/** Every connection is answered within a few milliseconds, unless something is wrong. */
const SCOUT_AFTER_MS = 500;
/** A SYN is sent again after 1 s and 3 s: so long something is to be seen, if there is anything. */
const SAY_AFTER_MS = 3300;
const SAY_AGAIN_AFTER_MS = 60_000;

const Cause = { None: 0, Unknown: 1, Route: 2, Filter: 3, Device: 4 } as const;
type Cause = typeof Cause[keyof typeof Cause];

/** What is counted. */
export interface AnswerFigures {
  /** Announcements so far. */
  announced: number;
  /** Headers of answers that went to a tcpcopy so far. */
  records: number;
  /** Connections announced last. */
  lastAnnounced: readonly AnnouncedConnection[];
}

/** Looks past the filter: `Scout`. */
export interface AnswerScout {
  lookFor(connections: readonly AnnouncedConnection[]): void;
  sightings(): Sighting[];
}

/** What is captured. */
export interface CapturePlace {
  devices: readonly string[];
  filter: string;
}

export class AnswerWatch {
  readonly #place: CapturePlace;
  readonly #scout: AnswerScout | undefined;
  readonly #say: (text: string, isTrouble: boolean) => void;
  #records = 0;
  /** Announcements when the last answer came. */
  #announced = 0;
  /** Since when announced connections go without answers. */
  #sinceMs = Infinity;
  #isScouting = false;
  #sightings: Sighting[] = [];
  /** The cause that was said last; none since answers came. */
  #said: Cause = Cause.None;
  #saidAtMs = -Infinity;

  /** @param scout undefined: it could not be made, and nothing is told apart */
  constructor(
    place: CapturePlace,
    scout: AnswerScout | undefined,
    say: (text: string, isTrouble: boolean) => void,
  ) {
    this.#place = place;
    this.#scout = scout;
    this.#say = say;
  }

  /** To be called every half second. */
  look({ announced, records, lastAnnounced }: AnswerFigures, nowMs: number): void {
    if (records !== this.#records) {
      this.#records = records;
      this.#announced = announced;
      this.#rest();
      if (this.#said !== Cause.None) this.#say("answers are captured now", false);
      this.#said = Cause.None;
      return;
    }
    if (announced === this.#announced) return;
    if (this.#sinceMs === Infinity) this.#sinceMs = nowMs;
    const silentMs = nowMs - this.#sinceMs;
    if (!this.#isScouting && silentMs >= SCOUT_AFTER_MS) {
      this.#isScouting = true;
      this.#scout?.lookFor(lastAnnounced);
    }
    if (this.#isScouting) this.#sightings.push(...this.#scout?.sightings() ?? []);
    if (silentMs < SAY_AFTER_MS) return;
    const [cause, reason] = this.#reason(lastAnnounced[0]);
    if (cause !== this.#said || nowMs - this.#saidAtMs >= SAY_AGAIN_AFTER_MS) {
      const count = announced - this.#announced;
      const connections = count === 1 ? "1 connection" : `${formatCount(count)} connections`;
      this.#say(`${connections} announced, no answer captured: ${reason}`, true);
      this.#said = cause;
      this.#announced = announced;
      this.#saidAtMs = nowMs;
    }
    this.#rest();
  }

  /** Begins anew with what is announced then. */
  #rest(): void {
    this.#sinceMs = Infinity;
    this.#sightings = [];
    if (!this.#isScouting) return;
    this.#isScouting = false;
    this.#scout?.lookFor([]);
  }

  #reason(example: AnnouncedConnection | undefined): [cause: Cause, text: string] {
    const { devices, filter } = this.#place;
    if (this.#scout === undefined || example === undefined) {
      return [Cause.Unknown, `the route on the target, or -F "${filter}"`];
    }
    // What is only passed on has come in somewhere.
    const incoming = this.#sightings.filter(({ isOutgoing }) => !isOutgoing);
    const seen = incoming.length > 0 ? incoming : this.#sightings;
    const here = seen.find(({ device }) => devices.includes("any") || devices.includes(device));
    if (here !== undefined) {
      const text = `-F "${filter}" does not let them through: there are packets ` +
        `${describe(here.connection)} on ${here.device}`;
      return [Cause.Filter, text];
    }
    if (seen.length > 0) {
      const { device, connection } = seen[0];
      const text = `they pass ${device}, which -i ${devices.join(",")} does not name: there are ` +
        `packets ${describe(connection)}`;
      return [Cause.Device, text];
    }
    const text = `the route on the target, or the target itself: no packet ${describe(example)} ` +
      `passes this host. On the target see "ip route get ${formatIpv4(example.client)}"`;
    return [Cause.Route, text];
  }
}

/** "from 198.18.0.2:8080 to 198.19.0.1:50001" */
function describe({ client, clientPort, target, targetPort }: AnnouncedConnection): string {
  const from = target === 0 ? `port ${targetPort}` : formatEndpoint(target, targetPort);
  return `from ${from} to ${formatEndpoint(client, clientPort)}`;
}
