/** Captured connections that are another tcpcopy's replays, and are not replayed again. Pure. */

import { CLOSED_ENTRIES, ClosedQueue } from "./closed_queue.ts";
import { FlowTable } from "./flow_table.ts";

/**
 * A flow's value is the number of its entry in the queue; with this added, it was heard since the queue
 * looked at it last.
 */
const HEARD = CLOSED_ENTRIES;

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
      (...expired) => this.#forget(...expired),
    );
    this.#queue.expire(nowMs);
    if (this.has(address, word)) return;
    this.#flows.set(address, word, this.#queue.push(address, word, nowMs) + HEARD);
  }

  /** Whether a flow is remembered; it was heard then. */
  has(address: number, word: number): boolean {
    if (this.#flows.size === 0) return false;
    const value = this.#flows.get(address, word);
    if (value >= 0 && value < HEARD) this.#flows.set(address, word, value + HEARD);
    return value >= 0;
  }

  /** The flow is a real client's now. */
  delete(address: number, word: number): void {
    if (this.#flows.size > 0) this.#flows.delete(address, word);
  }

  #forget(
    address: number,
    word: number,
    entry: number,
    mayStay: boolean,
    nowMs: number,
  ): void {
    const value = this.#flows.get(address, word);
    // Otherwise it was deleted, and is perhaps here anew.
    if (value < 0 || value % HEARD !== entry) return;
    if (mayStay && value >= HEARD) {
      this.#flows.set(address, word, this.#queue!.push(address, word, nowMs));
    } else this.#flows.delete(address, word);
  }
}
