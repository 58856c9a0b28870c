/**
 * How long silences last before more follows, as a life table. Pure.
 *
 * Each observation is a silence after which more came ("continued"), or one that was watched for a
 * while without anything coming ("ended": more might have come later). Counted by octaves, the two
 * together give the chance that more will come, at every length of silence, without being misled by
 * how long the watching lasted (Kaplan and Meier, 1958). The past is forgotten by halves.
 */

/** Upper bounds of the octaves are 1, 2, 4 … 4096 ms; what is longer counts as the last. */
const OCTAVES = 13;
/** Halved when so much was observed. */
const WINDOW = 2048;
/** Caution is halved after so many ends, watched or not. */
const CAUTION_FADES_AFTER = 64;
/** The wait is so many times as long as silences have lasted. */
const MARGIN = 1.5;

/** How often silences of each octave were seen; the past is forgotten by halves. */
export class SilenceCounts {
  readonly #counts = new Float64Array(OCTAVES);
  total = 0;

  /** Takes a silence. */
  note(silenceMs: number): void {
    this.#counts[octaveOf(silenceMs)]++;
    if (++this.total < WINDOW) return;
    this.total /= 2;
    for (let i = 0; i < OCTAVES; i++) this.#counts[i] /= 2;
  }

  /** The silence that a share of all do not exceed, ms, rounded up to a whole octave. */
  quantileMs(share: number): number {
    let left = this.total * share;
    for (let i = 0; i < OCTAVES; i++) {
      left -= this.#counts[i];
      if (left <= 0) return 1 << i;
    }
    return 1 << (OCTAVES - 1);
  }
}

export class SilenceTable {
  readonly #continued = new Float64Array(OCTAVES);
  /** By the number of octaves that were watched to their end. */
  readonly #ended = new Float64Array(OCTAVES + 1);
  /** Made-up continued silences in each of the first octaves: caution until something is known. */
  readonly #caution: number;
  #ends = 0;
  #total = 0;

  /** @param caution how many made-up observations in each octave what is observed starts against */
  constructor(caution: number) {
    this.#caution = caution;
  }

  /** More came after a silence. */
  noteContinued(silenceMs: number): void {
    this.#continued[octaveOf(silenceMs)]++;
    this.#count();
  }

  /** Nothing came, as far as it was watched; 0 when it was not. */
  noteEnded(watchedMs: number): void {
    this.#ends++;
    const octaves = watchedMs < 1 ? 0 : Math.min(OCTAVES, 32 - Math.clz32(watchedMs));
    if (octaves === 0) return; // nothing was learned
    this.#ended[octaves]++;
    this.#count();
  }

  /**
   * How much silence says that nothing more will come: at any shorter one it is worth waiting on.
   *
   * @param worth chance per ms of waiting that makes waiting worth while: 0.002 waits 5 ms for one
   * chance in a hundred
   * @param cautionMs longest silence that is expected while little is known
   * @returns ms; 0 when nothing ever follows
   */
  waitMs(worth: number, cautionMs: number): number {
    const cautionOctaves = octaveOf(cautionMs) + 1;
    let upper = 0; // the silence so far, ms
    for (let octave = 0; octave < OCTAVES; octave++) {
      if (!this.#isWorthFrom(octave, upper, worth, cautionOctaves)) break;
      upper = 1 << octave;
    }
    return Math.ceil(upper * MARGIN);
  }

  /** Whether, after a silence of `fromMs`, some longer one promises enough for its length. */
  #isWorthFrom(octave: number, fromMs: number, worth: number, cautionOctaves: number): boolean {
    let atRisk = 0;
    for (let i = octave; i < OCTAVES; i++) atRisk += this.#continued[i] + this.#ended[i + 1];
    // The made-up observations count against all that were observed up to here, once: few of these
    // were watched for long, and the made-up ones must not speak for the rest.
    const caution = this.#caution * CAUTION_FADES_AFTER / (CAUTION_FADES_AFTER + this.#ends);
    const doubts = caution / (atRisk + caution * Math.max(0, cautionOctaves - octave));
    let survives = 1;
    for (let i = octave; i < OCTAVES; i++) {
      if (atRisk > 0) {
        survives *= 1 - this.#continued[i] / atRisk;
        atRisk -= this.#continued[i] + this.#ended[i + 1];
      }
      const doubt = doubts * (Math.min(i + 1, cautionOctaves) - octave);
      const chance = 1 - survives * (1 - (doubt > 0 ? doubt : 0));
      if (chance >= worth * ((1 << i) - fromMs)) return true;
    }
    return false;
  }

  #count(): void {
    if (++this.#total < WINDOW) return;
    this.#total >>= 1;
    for (let i = 0; i < OCTAVES; i++) this.#continued[i] /= 2;
    for (let i = 0; i <= OCTAVES; i++) this.#ended[i] /= 2;
  }
}

/** 0 for at most 1 ms, 1 for at most 2 ms, 2 for at most 4 ms … */
function octaveOf(ms: number): number {
  if (ms <= 1) return 0;
  return Math.min(OCTAVES - 1, 32 - Math.clz32(ms - 1));
}
