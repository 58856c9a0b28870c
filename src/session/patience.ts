/**
 * How much silence ends an answer that is shorter than the online server's. Pure.
 *
 * The end of an answer may be lost on its way, and the target repeats it after 200 ms at the
 * earliest: whoever takes a shorter silence for the end lets the next request go before the answer.
 * Waiting as long for every answer of a target whose answers really are shorter would make the
 * replay crawl. So patience is the rule until enough answers have turned out to be shorter.
 */

/** Shorter answers seen before they count as usual. */
const MIN_SHORT_ANSWERS = 16;
/** They count as usual when at least one turn in so many has one. */
const USUAL_ONE_IN = 20;
/** The past is forgotten by halves. */
const WINDOW_TURNS = 1 << 16;

export class Patience {
  readonly #patientMs: number;
  readonly #usualMs: number;
  #turns = 0;
  #short = 0;

  /**
   * @param patientMs silence that ends an answer as long as shorter answers are rare
   * @param usualMs silence that ends it when they are usual
   */
  constructor(patientMs: number, usualMs: number) {
    this.#patientMs = patientMs;
    this.#usualMs = usualMs;
  }

  /** The silence that ends an answer now, ms. */
  get quietMs(): number {
    const isUsual = this.#short >= MIN_SHORT_ANSWERS && this.#short * USUAL_ONE_IN >= this.#turns;
    return isUsual ? this.#usualMs : this.#patientMs;
  }

  /** A turn that waited for an answer was released. */
  noteTurn(wasShort: boolean): void {
    this.#turns++;
    if (wasShort) this.#short++;
    if (this.#turns < WINDOW_TURNS) return;
    this.#turns >>= 1;
    this.#short >>= 1;
  }
}
