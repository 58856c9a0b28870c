/**
 * What is known of how one target answers: how long it is silent inside its answers, how long before
 * them, and whether they are as long as the online server's. Pure. Learned from all sessions of a
 * transfer, used by each to tell when an answer is whole.
 *
 * Silences inside answers are kept apart by where they were: after how many pushed pieces, and how
 * much of what the client had read online had come by then. So a target that always answers in three
 * pieces is waited for after the first and the second, and not after the third.
 */

import { SilenceCounts, SilenceTable } from "./silence_table.ts";

/** Pieces that are told apart: not pushed yet, 1 to 6, and more. */
const PIECES = 8;
/** Shares of the length read online: not known yet, below half, below all, up to double, more. */
const SHARES = 5;
const PLACES = PIECES * SHARES;
/** From this share on the answer is as long as online. */
const ENOUGH = 3;

/** Before anything is known, an answer that was pushed may go on within this time… */
const PUSHED_CAUTION_MS = 64;
/** …or this, if it is as long as online… */
const ENOUGH_CAUTION_MS = 32;
/** …or so many times as long as nearly all silences of this target were, when so many are known. */
const KNOWN_CAUTION = 4;
const KNOWN_SHARE = 0.995;
const MIN_KNOWN = 32;
const PUSHED_CAUTION = 0.1;
/** What does not end with a push is probably not the end; its rest may have to be sent again. */
const UNPUSHED_CAUTION_MS = 512;
const UNPUSHED_CAUTION = 1;

/**
 * The further such waits have put a session behind, the less it waits for small chances. By level:
 * the lag from which it is in force, and the chance per ms that makes waiting worth while (at last
 * none does: a target that never falls silent is not listened to for ever).
 */
const LEVEL_FROM_MS = [0, 100, 250, 800, 3000] as const;
const LEVEL_WORTH = [0.002, 0.007, 0.015, 0.025, Infinity] as const;
const LEVELS = LEVEL_FROM_MS.length;
/** On a path that loses packets the rest of an answer comes late: so many times smaller chances. */
const LOSSY_PATIENCE = 10;
/** For so long after a sign of loss. */
const LOSSY_MS = 10_000;
/** Waits are worked out anew after so many observations at a place. */
const REFRESH_AFTER = 8;

/** A turn not answered for so long, beyond the time it took online, may never be. */
const ABSENCE_FLOOR_MS = 200;
/** Sessions wait so long together beyond that, then the target is known to leave out answers. */
const ABSENCE_BUDGET_MS = 2000;
/** A second of it comes back in 50, to look again. */
const ABSENCE_REFILL = 0.02;
/** A target that said something to anyone so shortly before is alive. */
const ALIVE_MS = 50;
/** While it is silent towards everyone it may hang: time counts less, and once for all. */
const STALLED_SHARE = 0.25;

/** A target that closes after most of its answers is given so long to do so. */
const CLOSING_MS = 20;
const MIN_CLOSINGS = 16;
const CLOSING_WINDOW = 256;
/** One that has closed after any of so many answers may do so again. */
const CLOSING_MEMORY = 10_000;

/** Lengths agree when so many turns were exact, one in so many at least, and few were short. */
const MIN_EXACT = 16;
const MIN_EXACT_ONE_IN = 8;
const MAX_SHORT_ONE_IN = 64;
const AGREEMENT_WINDOW = 1 << 10;
/**
 * Where they agree and packets are lost, an answer that is shorter than online is hardly whole: its
 * rest was lost, and comes again.
 */
const AGREED_PATIENCE_MS = 1500;

/** Where in an answer a silence is. */
export function placeOf(pieces: number, isPushed: boolean, got: number, expected: number): number {
  let share = 0;
  if (expected > 0) {
    share = got * 2 < expected ? 1 : got < expected ? 2 : got <= expected * 2 ? ENOUGH : 4;
  }
  const piece = isPushed ? Math.min(pieces, PIECES - 1) : 0;
  return piece * SHARES + share;
}

export class Rhythm {
  readonly #places: (SilenceTable | undefined)[] = new Array(PLACES).fill(undefined);
  /** By place, then level, then whether the path is lossy; -1: to be worked out. */
  readonly #waitsMs = new Int32Array(PLACES * LEVELS * 2).fill(-1);
  readonly #sinceRefresh = new Uint8Array(PLACES);
  /** Pushed silences that went on, in all places. */
  readonly #continued = new SilenceCounts();
  #lossyUntilMs = 0;
  #heardAtMs = 0;
  #absenceBudgetMs = ABSENCE_BUDGET_MS;
  #absenceAtMs = 0;
  #closings = 0;
  #answers = 0;
  #answersSinceClosing = CLOSING_MEMORY;
  #turns = 0;
  #exact = 0;
  #short = 0;

  // ------------------------------------------------------------------------- inside an answer

  /** More of an answer came after a silence. */
  noteContinued(place: number, silenceMs: number): void {
    this.#at(place).noteContinued(silenceMs);
    if (place >= SHARES) this.#continued.note(silenceMs);
    this.#refresh(place);
  }

  /** Nothing more came, as far as it was watched; 0 when it was not. */
  noteEnded(place: number, watchedMs: number): void {
    this.#at(place).noteEnded(watchedMs);
    this.#refresh(place);
  }

  /** A sign that packets of the target are lost on their way. */
  noteLoss(nowMs: number): void {
    this.#lossyUntilMs = nowMs + LOSSY_MS;
  }

  /**
   * The silence that ends an answer, ms.
   *
   * @param lagMs how far such waits have put the session behind
   */
  waitMs(place: number, lagMs: number, nowMs: number): number {
    // What does not end with a push goes on: there is no hurry to be had.
    const isUnpushed = place < SHARES;
    const level = isUnpushed ? 0 : levelOf(lagMs);
    const isLossy = isUnpushed || nowMs < this.#lossyUntilMs;
    const at = (place * LEVELS + level) * 2 + (isLossy ? 1 : 0);
    const known = this.#waitsMs[at];
    if (known >= 0) return known;
    const worth = isLossy ? LEVEL_WORTH[level] / LOSSY_PATIENCE : LEVEL_WORTH[level];
    return this.#waitsMs[at] = this.#at(place).waitMs(worth, this.#cautionMs(place));
  }

  /** The longest silence to be expected at a place where little is known, ms. */
  #cautionMs(place: number): number {
    if (place < SHARES) return UNPUSHED_CAUTION_MS;
    const usualMs = place % SHARES < ENOUGH ? PUSHED_CAUTION_MS : ENOUGH_CAUTION_MS;
    if (this.#continued.total < MIN_KNOWN) return usualMs;
    return Math.min(usualMs, KNOWN_CAUTION * this.#continued.quantileMs(KNOWN_SHARE));
  }

  /** The lag from which a wait may be shorter than with this one, ms; 0: it stays as it is. */
  shorterFromMs(lagMs: number): number {
    const next = levelOf(lagMs) + 1;
    return next < LEVELS ? LEVEL_FROM_MS[next] : 0;
  }

  #at(place: number): SilenceTable {
    const caution = place < SHARES ? UNPUSHED_CAUTION : PUSHED_CAUTION;
    return this.#places[place] ??= new SilenceTable(caution);
  }

  #refresh(place: number): void {
    if (++this.#sinceRefresh[place] < REFRESH_AFTER) return;
    this.#sinceRefresh[place] = 0;
    this.#waitsMs.fill(-1, place * LEVELS * 2, (place + 1) * LEVELS * 2);
  }

  // ------------------------------------------------------------------------- before an answer

  /** The first bytes of an answer came, so long after it was asked for, beyond the time online. */
  noteAnswered(beyondMs: number, nowMs: number): void {
    this.#heardAtMs = nowMs;
    // So there are late answers.
    if (beyondMs > ABSENCE_FLOOR_MS) this.#absenceBudgetMs = ABSENCE_BUDGET_MS;
  }

  /** A session has waited for an answer, since `sinceMs`, beyond what is usual. */
  noteAbsent(sinceMs: number, nowMs: number): void {
    const isAlive = nowMs - this.#heardAtMs <= ALIVE_MS;
    const fromMs = isAlive ? sinceMs : Math.max(sinceMs, this.#absenceAtMs);
    const refilledMs = this.#absenceBudgetMs + (nowMs - this.#absenceAtMs) * ABSENCE_REFILL;
    const spentMs = (nowMs - fromMs) * (isAlive ? 1 : STALLED_SHARE);
    this.#absenceBudgetMs = Math.max(0, Math.min(ABSENCE_BUDGET_MS, refilledMs) - spentMs);
    this.#absenceAtMs = nowMs;
  }

  /** Beyond this time without an answer `noteAbsent` wants to be told, ms. */
  get absenceFloorMs(): number {
    return ABSENCE_FLOOR_MS;
  }

  /** How long an answer that has not begun is waited for, beyond the time it took online, ms. */
  absenceMs(answerTimeoutMs: number): number {
    if (this.#absenceBudgetMs > 0) return answerTimeoutMs;
    return Math.min(answerTimeoutMs, ABSENCE_FLOOR_MS);
  }

  // ------------------------------------------------------------------------- after an answer

  /** After an answer the target closed the connection, or was sent the next request. */
  noteClosing(closed: boolean): void {
    this.#answers++;
    this.#answersSinceClosing = closed ? 0 : this.#answersSinceClosing + 1;
    if (closed) this.#closings++;
    if (this.#answers < CLOSING_WINDOW) return;
    this.#answers >>= 1;
    this.#closings >>= 1;
  }

  /** Whether the target may close after an answer: what is sent ahead of that would be lost. */
  get mayClose(): boolean {
    return this.#answersSinceClosing < CLOSING_MEMORY;
  }

  /** How long an answer that is whole must be silent: the target is about to close, ms. */
  get closingMs(): number {
    const isUsual = this.#closings >= MIN_CLOSINGS && this.#closings * 2 > this.#answers;
    return isUsual ? CLOSING_MS : 0;
  }

  // ---------------------------------------------------------------------------------- lengths

  /**
   * A turn was released when the target had said so many bytes more than its client had read online;
   * less than none where answers are shorter.
   *
   * A client that goes on before it has read everything leaves some over, but now and then it has read
   * all: then the sums are the same, if the lengths agree, and never if not.
   */
  noteSurplus(bytes: number): void {
    this.#turns++;
    if (bytes === 0) this.#exact++;
    else if (bytes < 0) this.#short++;
    if (this.#turns < AGREEMENT_WINDOW) return;
    this.#turns >>= 1;
    this.#exact >>= 1;
    this.#short >>= 1;
  }

  /** The least silence that ends an answer shorter than online, ms. */
  shortfallMs(nowMs: number): number {
    return nowMs < this.#lossyUntilMs && this.lengthsAgree ? AGREED_PATIENCE_MS : 0;
  }

  /** Whether this target's answers are as long as the online server's. */
  get lengthsAgree(): boolean {
    return this.#exact >= MIN_EXACT && this.#exact * MIN_EXACT_ONE_IN >= this.#turns &&
      this.#short * MAX_SHORT_ONE_IN <= this.#exact;
  }
}

function levelOf(lagMs: number): number {
  let level = 0;
  while (level + 1 < LEVELS && lagMs >= LEVEL_FROM_MS[level + 1]) level++;
  return level;
}
