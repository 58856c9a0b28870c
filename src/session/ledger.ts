/**
 * What became of every session. Pure.
 *
 * Each session seen ends in exactly one outcome; `seen` always equals the open sessions plus the sum
 * of the outcomes. This is what the operator trusts.
 */

/** How a session ended. */
export const Outcome = {
  /** Every captured byte was acknowledged by the target and the ending was passed on. */
  Complete: 0,
  /** The target answered the SYN with a reset: nothing listens there. */
  Refused: 1,
  /** The target did not answer the SYN: no route, a filter, or its answers do not reach intercept. */
  NoAnswer: 2,
  /** The target reset the connection and bytes were lost with it. */
  ResetByTarget: 3,
  /** Nothing happened for longer than the session time-out. */
  TimedOut: 4,
  /** A captured packet was missing and did not come. */
  CaptureGap: 5,
  /** Given up to stay within the memory cap, or no free source port. */
  Shed: 6,
  /** Began before the capture did, and no boundary between requests was seen to join at. */
  NotJoined: 7,
  /** Still open when the program was told to stop. */
  OpenAtExit: 8,
  /** The target ended connection after connection without answering: a login it refuses? */
  Rejected: 9,
  /** The captured connection is encrypted (TLS); what was captured means nothing to the target. */
  Encrypted: 10,
  /** The client of a SYN never proved that the online service accepted it: a scan, a flood. */
  NeverAccepted: 11,
  /** As Complete, but over more than one connection, since the target ended the one before. */
  Continued: 12,
} as const;
export type Outcome = typeof Outcome[keyof typeof Outcome];

/** A word for each outcome, in the order of their numbers. */
export const OUTCOME_NAMES = [
  "complete",
  "refused",
  "no answer",
  "reset by target",
  "timed out",
  "capture gap",
  "shed",
  "not joined",
  "open at exit",
  "rejected",
  "encrypted",
  "never accepted",
  "continued",
] as const;

/** What outcomes look like that need more than a word; shown where there are such sessions. */
export const OUTCOME_ADVICE: readonly (string | undefined)[] = OUTCOME_NAMES.map((_, outcome) => {
  if (outcome === Outcome.Rejected) {
    return "the target ended their connections without answering: a login it refuses (another " +
      "password than online), a protocol it does not understand, or TLS where online has none";
  }
  if (outcome === Outcome.Encrypted) {
    return "TLS cannot be replayed as it was captured, the target has other keys: copy the traffic " +
      "behind what ends TLS, or replay it all the same with --tls-as-is";
  }
  if (outcome === Outcome.NeverAccepted) {
    return "connections that the online service never accepted (scans, floods, refused ones): the " +
      "target does not hear of them";
  }
  if (outcome === Outcome.Continued) {
    return "complete, but the target closed the connection where the online server did not, and " +
      "the rest went over a fresh one";
  }
  return undefined;
});

/** Sessions by outcome. */
export class Ledger {
  /** Sessions that began. */
  seen = 0;
  /** Sessions by Outcome. */
  readonly ended: number[] = OUTCOME_NAMES.map(() => 0);

  /** Books the end of a session. */
  book(outcome: Outcome): void {
    this.ended[outcome]++;
  }

  /** Sessions that have not ended. */
  get open(): number {
    return this.seen - this.ended.reduce((sum, count) => sum + count, 0);
  }

  /** Whether everything that the online service accepted has arrived. */
  get allComplete(): boolean {
    const { Complete, Continued, NeverAccepted } = Outcome;
    return this.ended[Complete] + this.ended[Continued] + this.ended[NeverAccepted] === this.seen;
  }
}
