/**
 * Clients' networks that a target does not answer by way of intercept, while it answers others: its
 * route leaves them out, and they may get its answers themselves. Pure.
 *
 * Networks of 256 addresses share a bounded number of places; those that share one are judged together.
 */

import { mix } from "./address_pool.ts";

const PLACES = 4096;
const NETWORK_BITS = 8;
/** SYNs in a row, and for how long, without an answer to any client of the network. */
const MAX_SYNS = 8;
const MAX_SILENCE_MS = 2_000;
/** Then one of its SYNs may go in this time. */
const RETRY_MS = 10_000;

/** See the top of the file. */
export class UnansweredNetworks {
  /** Now; set by the owner. */
  nowMs = 0;
  /** Called for a client whose network is not sent for any more. */
  onSilent: (clientAddress: number) => void = () => {};
  readonly #syns = new Uint8Array(PLACES);
  /** When the first of these SYNs was sent, and when the next may be. */
  readonly #sinceMs = new Float64Array(PLACES);
  readonly #nextAtMs = new Float64Array(PLACES);

  /** Whether a SYN of this client may go; it counts as sent then. */
  mayOpen(clientAddress: number): boolean {
    const { nowMs } = this;
    const place = placeOf(clientAddress);
    const syns = this.#syns[place];
    if (syns === 0) this.#sinceMs[place] = nowMs;
    if (syns < MAX_SYNS) this.#syns[place]++;
    if (syns < MAX_SYNS || nowMs - this.#sinceMs[place] < MAX_SILENCE_MS) return true;
    if (syns === MAX_SYNS) {
      this.#syns[place]++;
      this.#nextAtMs[place] = nowMs + RETRY_MS;
      this.onSilent(clientAddress);
      return false;
    }
    if (nowMs < this.#nextAtMs[place]) return false;
    this.#nextAtMs[place] = nowMs + RETRY_MS;
    return true;
  }

  /** The target has answered this client. */
  onAnswer(clientAddress: number): void {
    this.#syns[placeOf(clientAddress)] = 0;
  }

  /** Answers could not come for a while: all begin anew. */
  clear(): void {
    this.#syns.fill(0);
  }
}

function placeOf(clientAddress: number): number {
  return mix(clientAddress >>> NETWORK_BITS) & (PLACES - 1);
}
