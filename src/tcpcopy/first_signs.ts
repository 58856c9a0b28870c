/**
 * Says soon after the start when nothing is captured on a port, or nothing that is sent is answered. Pure.
 *
 * Where many packets go without an answer the interlock stops sending, and says why; this is for
 * where it has not, since there are few. Each is said once.
 */

import { formatCount } from "../observe/report.ts";

/** The first signs are to be read within 5 s, which includes the time between two looks. */
const WAIT_MS = 4000;

/** What is known of a running replay. */
export interface SignFigures {
  /** Captured request packets, by pair of `-x`. */
  requestsOf: readonly number[];
  /** Sessions seen, packets sent, and those that were held back by the interlock. */
  sessions: number;
  sent: number;
  held: number;
  /** Headers of answers that came by way of intercept. */
  answers: number;
}

/** What packets come from. */
export interface SignSource {
  /** The online port of each pair of `-x`; empty when nothing is captured live. */
  ports: readonly number[];
  /** Which of these ports some socket of this host listens on; undefined where the service is elsewhere. */
  listening?: (ports: ReadonlySet<number>) => ReadonlySet<number>;
}

export class FirstSigns {
  readonly #source: SignSource;
  readonly #say: (text: string, isTrouble: boolean) => void;
  readonly #startMs: number;
  #areCapturesJudged = false;
  /** When the first packet was sent; undefined: none was. */
  #sentAtMs: number | undefined;
  #areAnswersJudged = false;

  constructor(
    source: SignSource,
    nowMs: number,
    say: (text: string, isTrouble: boolean) => void,
  ) {
    this.#source = source;
    this.#startMs = nowMs;
    this.#say = say;
  }

  /** To be called twice a second, until it returns false. */
  look(figures: SignFigures, nowMs: number): boolean {
    if (!this.#areCapturesJudged && nowMs - this.#startMs >= WAIT_MS) {
      this.#areCapturesJudged = true;
      this.#judgeCaptures(figures.requestsOf);
    }
    if (!this.#areAnswersJudged) this.#judgeAnswers(figures, nowMs);
    return !this.#areCapturesJudged || !this.#areAnswersJudged;
  }

  #judgeAnswers({ sessions, sent, held, answers }: SignFigures, nowMs: number): void {
    if (sent > 0) this.#sentAtMs ??= nowMs;
    if (answers > 0 || held > 0) {
      this.#areAnswersJudged = true;
      return;
    }
    if (nowMs - (this.#sentAtMs ?? nowMs) < WAIT_MS) return;
    this.#areAnswersJudged = true;
    const many = sessions === 1 ? "1 session has" : `${formatCount(sessions)} sessions have`;
    this.#say(
      `${many} begun, and no answer has come: is the target there, does it route its answers to ` +
        "intercept's host, does intercept's filter (-F) let them through? Intercept's log tells them " +
        "apart",
      true,
    );
  }

  #judgeCaptures(requestsOf: readonly number[]): void {
    const { ports, listening } = this.#source;
    const busy = new Set(ports.filter((_, index) => requestsOf[index] > 0));
    const silent = new Set(ports.filter((port) => !busy.has(port)));
    const served = silent.size === 0 ? undefined : listening?.(silent);
    for (const port of silent) {
      if (served?.has(port)) {
        this.#say(`port ${port}: nothing captured yet; a service listens there`, false);
        continue;
      }
      const why = served === undefined
        ? "does the mirror send it here, wrapped perhaps (--decapsulate), and does -F let it through?"
        : "and no service listens there. -x names the port that clients' packets have on this very " +
          "host: behind a load balancer, or in a container, it may be another, or they do not pass " +
          "this network namespace";
      this.#say(`port ${port}: nothing captured yet, ${why}`, true);
    }
  }
}
