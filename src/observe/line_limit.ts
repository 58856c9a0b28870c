/**
 * Keeps a kind of log line that others can cause at will from filling the disk. Pure.
 *
 * A few lines may come at once, then one every so often; what is left out is counted and said with the
 * next line.
 */

/** A token bucket over lines. */
export class LineLimit {
  readonly #burst: number;
  readonly #everyMs: number;
  readonly #say: (line: string) => void;
  #left: number;
  #filledAtMs: number | undefined;
  #omitted = 0;

  /**
   * @param say writes a line
   * @param burst lines that may come at once
   * @param everyMs after them, one line may come in this time
   */
  constructor(say: (line: string) => void, burst: number, everyMs: number) {
    this.#say = say;
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#left = burst;
  }

  /** Writes the line, or counts it. */
  say(line: string, nowMs: number): void {
    const gainedLines = Math.floor((nowMs - (this.#filledAtMs ??= nowMs)) / this.#everyMs);
    this.#left = Math.min(this.#burst, this.#left + gainedLines);
    this.#filledAtMs += gainedLines * this.#everyMs;
    if (this.#left === 0) {
      this.#omitted++;
      return;
    }
    this.#left--;
    const omitted = this.#omitted;
    this.#omitted = 0;
    this.#say(omitted === 0 ? line : `${line} (${omitted} lines like this were left out before)`);
  }
}
