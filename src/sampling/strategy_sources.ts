/**
 * Who has said what about a strategy. Several may speak: files, the endpoint. Pure.
 *
 * What always holds: each source takes back only what it said itself. FORCE_OFF holds as long as one
 * of them says it; otherwise the word said last does.
 */

import { DEFAULT_STRATEGY, type Strategy, strategyJson } from "./strategy.ts";

export class StrategySources {
  /** By source, in the order in which they spoke. */
  readonly #words = new Map<string, Strategy>();

  /** What a source says from now on; `undefined` for nothing any more. */
  say(source: string, strategy: Strategy | undefined): void {
    this.#words.delete(source);
    if (strategy !== undefined) this.#words.set(source, strategy);
  }

  /** Whether a source would say something new with this. */
  isNews(source: string, strategy: Strategy | undefined): boolean {
    const before = this.#words.get(source);
    if (before === undefined || strategy === undefined) return before !== strategy;
    return JSON.stringify(strategyJson(before)) !== JSON.stringify(strategyJson(strategy));
  }

  /** Who says FORCE_OFF; `undefined` when nobody does. */
  get forcedOffBy(): string | undefined {
    return this.#entries().find(([, strategy]) => strategy.switch === "FORCE_OFF")?.[0];
  }

  get inForce(): Strategy {
    const forced = this.forcedOffBy;
    if (forced !== undefined) return this.#words.get(forced)!;
    return this.#entries()[0]?.[1] ?? DEFAULT_STRATEGY;
  }

  /** Who spoke last comes first. */
  #entries(): [string, Strategy][] {
    return [...this.#words].reverse();
  }
}
