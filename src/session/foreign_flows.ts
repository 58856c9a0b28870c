/** Captured connections that are another tcpcopy's replays, and are not replayed again. Pure. */

import { ClosedQueue } from "./closed_queue.ts";
import { FlowTable } from "./flow_table.ts";

/** Whether a flow was heard since the queue looked at it last. */
const QUIET = 0;
const HEARD = 1;

/**
 * Remembers their flows, for what is captured of them later. A flow is forgotten when it was silent
 * for long, and earlier when there are too many: what is then taken for a client's is joined, and its
 * replay is known again by its own SYN.
 */
export class ForeignFlows {
  readonly #flows = new FlowTable();
  readonly #idleMs: number;
  #queue: ClosedQueue | undefined;

  /** @param idleMs a flow that was silent for so long may be forgotten */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  /** Flows that are remembered. */
  get size(): number {
    return this.#flows.size;
  }

  /** Remembers a flow; address and word as in the FlowTable of the captured flows. */
  add(address: number, word: number, nowMs: number): void {
    this.#queue ??= new ClosedQueue(
      this.#idleMs,
      (address, word, mayStay) => this.#forget(address, word, mayStay),
    );
    this.#queue.expire(nowMs);
    const isKnown = this.#flows.get(address, word) >= 0;
    this.#flows.set(address, word, HEARD);
    if (!isKnown) this.#queue.push(address, word, nowMs);
  }

  /** Whether a flow is remembered; it was heard then. */
  has(address: number, word: number): boolean {
    if (this.#flows.size === 0) return false;
    const state = this.#flows.get(address, word);
    if (state === QUIET) this.#flows.set(address, word, HEARD);
    return state >= 0;
  }

  /** The flow is a real client's now. */
  delete(address: number, word: number): void {
    if (this.#flows.size > 0) this.#flows.delete(address, word);
  }

  #forget(address: number, word: number, mayStay: boolean): boolean {
    if (mayStay && this.#flows.get(address, word) === HEARD) {
      this.#flows.set(address, word, QUIET);
      return true;
    }
    this.#flows.delete(address, word);
    return false;
  }
}
