/** What is to happen when, in virtual time: a binary heap of events. Pure. */

/** A thing to be done at a time; `cancelled` keeps it from being done. */
export interface AgendaEvent {
  readonly atMs: number;
  readonly order: number;
  readonly run: (nowMs: number) => void;
  cancelled: boolean;
}

/** Events in order of time, then of being entered. */
export class Agenda {
  /** The time reached. */
  nowMs = 0;
  readonly #heap: AgendaEvent[] = [];
  #order = 0;

  /** Enters an event; a time that has passed counts as now. */
  at(atMs: number, run: (nowMs: number) => void): AgendaEvent {
    const event = {
      atMs: Math.max(this.nowMs, Math.ceil(atMs)),
      order: this.#order++,
      run,
      cancelled: false,
    };
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = event;
    return event;
  }

  after(delayMs: number, run: (nowMs: number) => void): AgendaEvent {
    return this.at(this.nowMs + delayMs, run);
  }

  /** When the next event is due, Infinity when there is none. */
  nextMs(): number {
    while (this.#heap.length > 0 && this.#heap[0].cancelled) this.#pop();
    return this.#heap.length === 0 ? Infinity : this.#heap[0].atMs;
  }

  /** Moves time to `nowMs` and runs everything due by then, also what is entered meanwhile. */
  advance(nowMs: number): void {
    while (this.nextMs() <= nowMs) {
      const event = this.#pop();
      this.nowMs = event.atMs;
      event.run(this.nowMs);
    }
    this.nowMs = nowMs;
  }

  #pop(): AgendaEvent {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: AgendaEvent, b: AgendaEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
