/**
 * A hierarchical timer wheel. Pure: time comes in as an argument.
 *
 * Five levels of 64 slots each. Level 0 has one slot per millisecond of the current block of 64 ms,
 * level 1 one slot per 64 ms of the current block of 4096 ms, and so on. A timer sits on the lowest
 * level whose current block contains its deadline; when its slot on a higher level begins, it moves
 * down. (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987.)
 *
 * What always holds: every timer on level n is due before every timer on level n + 1; the lists are
 * linked through typed arrays, so no operation allocates; scheduling and cancelling take constant
 * time.
 */

const LEVELS = 5;
const SLOT_BITS = 6;
const SLOTS = 1 << SLOT_BITS;
const SLOT_MASK = SLOTS - 1;
/** Ticks, counted from the origin, that the five levels can tell apart. */
const HORIZON_TICKS = 2 ** (LEVELS * SLOT_BITS);
/** Where the origin moves forward; later timers are kept at the horizon until then. */
const REBASE_TICKS = HORIZON_TICKS / 2;

/** Lists beyond the slots: what was overdue when scheduled, and what is about to fire. */
const OVERDUE = LEVELS * SLOTS;
const FIRING = OVERDUE + 1;
const LISTS = FIRING + 1;
const NONE = -1;

/**
 * Timers named by small integers that the caller chooses.
 *
 * ```ts
 * const wheel = new TimerWheel(0);
 * wheel.schedule(7, 250);
 * wheel.advance(300, (id) => console.log(`timer ${id}`));
 * ```
 */
export class TimerWheel {
  /** Deadline of each scheduled id, in the caller's ms. */
  #deadlines: Float64Array;
  /** List each id is linked into, or NONE. */
  #lists: Int32Array;
  /** Next and previous id in the same list, or NONE. */
  #next: Int32Array;
  #previous: Int32Array;
  /** First and last id of each list, or NONE. */
  readonly #heads = new Int32Array(LISTS).fill(NONE);
  readonly #tails = new Int32Array(LISTS).fill(NONE);
  /** Per level two words, one bit per slot that is not empty. */
  readonly #occupied = new Int32Array(LEVELS * 2);
  /** The caller's time at tick 0. */
  #originMs: number;
  /** Every timer on the wheel has a tick of at least this. */
  #tick = 0;
  /** The time reached: what is scheduled for this time or before is overdue. */
  #reachedMs: number;
  #size = 0;

  /**
   * @param startMs the time now
   * @param capacity how many ids to make room for at first; more ids make the room double
   */
  constructor(startMs: number, capacity = 64) {
    const room = Math.max(1, capacity);
    this.#deadlines = new Float64Array(room);
    this.#lists = new Int32Array(room).fill(NONE);
    this.#next = new Int32Array(room);
    this.#previous = new Int32Array(room);
    this.#originMs = Math.floor(startMs);
    this.#reachedMs = this.#originMs;
  }

  /** How many timers are scheduled. */
  get size(): number {
    return this.#size;
  }

  /** Whether a timer has a deadline ahead. False while and after it fires. */
  isScheduled(id: number): boolean {
    return id >= 0 && id < this.#lists.length && this.#lists[id] !== NONE;
  }

  /**
   * Sets a timer, or sets it anew. A deadline that has passed already (also one that the running
   * `advance` has reached) fires on the next `advance`, after those set before it.
   *
   * @param id 0 or above; memory grows with the largest id
   * @param deadlineMs fractions are rounded up, so that no timer fires early
   * @throws RangeError for a deadline that is not a number or an id that is no small integer
   */
  schedule(id: number, deadlineMs: number): void {
    if ((id | 0) !== id || id < 0 || deadlineMs !== deadlineMs) {
      throw new RangeError(
        `A timer needs a small whole number as id and a time, not ${id} and ${deadlineMs}.`,
      );
    }
    if (id >= this.#lists.length) this.#grow(id);
    if (this.#lists[id] === NONE) this.#size++;
    else this.#unlink(id);
    const deadline = Math.ceil(deadlineMs);
    this.#deadlines[id] = deadline;
    if (deadline <= this.#reachedMs) this.#link(id, OVERDUE);
    else this.#place(id);
  }

  /** Takes a timer's deadline away; harmless when it has none. */
  cancel(id: number): void {
    if (!this.isScheduled(id)) return;
    this.#unlink(id);
    this.#size--;
  }

  /**
   * Moves time forward and fires what is due, each timer once, in order of the deadlines.
   *
   * `fire` may schedule and cancel any id, its own included. If it throws, the error passes through
   * and the timers not yet fired do so on the next call.
   *
   * @param nowMs the time now; a time before the one reached counts as that one
   */
  advance(nowMs: number, fire: (id: number) => void): void {
    const now = Math.floor(nowMs);
    if (now > this.#reachedMs) this.#reachedMs = now;
    const target = this.#reachedMs;
    // Only those that were overdue before the call (and those left over when `fire` threw): what
    // joins them meanwhile waits for the next.
    this.#splice(OVERDUE, FIRING);
    this.#drain(fire);
    while (target - this.#originMs > REBASE_TICKS) {
      this.#turn(REBASE_TICKS, fire);
      this.#rebase(target);
    }
    this.#turn(target - this.#originMs, fire);
  }

  /**
   * When to call `advance` next: never later than the earliest deadline; for deadlines further than
   * 64 ms away it may be earlier. `Infinity` when no timer is set.
   */
  nextDeadlineMs(): number {
    if (this.#size === 0) return Infinity;
    if (this.#heads[OVERDUE] !== NONE || this.#heads[FIRING] !== NONE) return this.#reachedMs;
    return this.#originMs + this.#slotStart(this.#earliestSlot());
  }

  /** Fires everything with a tick up to `target` and moves the current tick there. */
  #turn(target: number, fire: (id: number) => void): void {
    for (;;) {
      const slot = this.#earliestSlot();
      if (slot === NONE) break;
      const start = this.#slotStart(slot);
      if (start > target) break;
      this.#tick = start;
      if (slot < SLOTS) {
        this.#splice(slot, FIRING);
        this.#drain(fire);
      } else {
        this.#moveDown(slot);
      }
    }
    this.#tick = target;
  }

  /** Fires the list of the moment from its head; whatever `fire` takes out of it does not fire. */
  #drain(fire: (id: number) => void): void {
    for (let id = this.#heads[FIRING]; id !== NONE; id = this.#heads[FIRING]) {
      this.#unlink(id);
      this.#size--;
      fire(id);
    }
  }

  /** Distributes a slot of a higher level, which begins now, over the levels below. */
  #moveDown(slot: number): void {
    for (let id = this.#heads[slot]; id !== NONE; id = this.#heads[slot]) {
      this.#unlink(id);
      this.#place(id);
    }
  }

  /** Links a timer into the slot for its deadline, which is not before the current tick. */
  #place(id: number): void {
    const tick = Math.min(this.#deadlines[id] - this.#originMs, HORIZON_TICKS - 1) | 0;
    const differing = tick ^ this.#tick;
    const level = differing === 0 ? 0 : ((31 - Math.clz32(differing)) / SLOT_BITS) | 0;
    this.#link(id, level * SLOTS + ((tick >> (level * SLOT_BITS)) & SLOT_MASK));
  }

  /** The slot that begins first: the first occupied one of the lowest level that has any. */
  #earliestSlot(): number {
    const occupied = this.#occupied;
    for (let level = 0; level < LEVELS; level++) {
      // On its level every occupied slot lies ahead in the current block, so the lowest bit is first.
      const low = occupied[level * 2];
      if (low !== 0) return level * SLOTS + 31 - Math.clz32(low & -low);
      const high = occupied[level * 2 + 1];
      if (high !== 0) return level * SLOTS + 63 - Math.clz32(high & -high);
    }
    return NONE;
  }

  /** The first tick of a slot in the current block of its level. */
  #slotStart(slot: number): number {
    const level = (slot / SLOTS) | 0;
    const blockBits = (level + 1) * SLOT_BITS;
    // The highest level's block is everything: a shift by 30 leaves nothing of a 30-bit tick.
    return ((this.#tick >> blockBits) << blockBits) | ((slot & SLOT_MASK) << (level * SLOT_BITS));
  }

  /** Moves the origin to the current tick, or straight to `targetMs` when no slot is occupied. */
  #rebase(targetMs: number): void {
    const empty = this.#earliestSlot() === NONE;
    this.#originMs = empty ? targetMs : this.#originMs + this.#tick;
    this.#tick = 0;
    if (empty) return;
    for (let id = 0; id < this.#lists.length; id++) {
      const list = this.#lists[id];
      if (list === NONE || list >= OVERDUE) continue;
      this.#unlink(id);
      // Nothing fires now, so this list is free to keep what was found apart from what is placed.
      this.#link(id, FIRING);
    }
    for (let id = this.#heads[FIRING]; id !== NONE; id = this.#heads[FIRING]) {
      this.#unlink(id);
      this.#place(id);
    }
  }

  /** Appends an id that is in no list. */
  #link(id: number, list: number): void {
    const tail = this.#tails[list];
    this.#lists[id] = list;
    this.#previous[id] = tail;
    this.#next[id] = NONE;
    this.#tails[list] = id;
    if (tail !== NONE) {
      this.#next[tail] = id;
      return;
    }
    this.#heads[list] = id;
    if (list < OVERDUE) this.#occupied[list >> 5] |= 1 << (list & 31);
  }

  /** Takes an id out of the list it is in. */
  #unlink(id: number): void {
    const list = this.#lists[id];
    const next = this.#next[id];
    const previous = this.#previous[id];
    this.#lists[id] = NONE;
    if (next === NONE) this.#tails[list] = previous;
    else this.#previous[next] = previous;
    if (previous !== NONE) {
      this.#next[previous] = next;
      return;
    }
    this.#heads[list] = next;
    if (next === NONE && list < OVERDUE) this.#occupied[list >> 5] &= ~(1 << (list & 31));
  }

  /** Moves all of one list to the end of another. */
  #splice(from: number, to: number): void {
    for (let id = this.#heads[from]; id !== NONE; id = this.#heads[from]) {
      this.#unlink(id);
      this.#link(id, to);
    }
  }

  #grow(id: number): void {
    let room = this.#lists.length;
    while (room <= id) room *= 2;
    const deadlines = new Float64Array(room);
    deadlines.set(this.#deadlines);
    this.#deadlines = deadlines;
    const lists = new Int32Array(room).fill(NONE);
    lists.set(this.#lists);
    this.#lists = lists;
    const next = new Int32Array(room);
    next.set(this.#next);
    this.#next = next;
    const previous = new Int32Array(room);
    previous.set(this.#previous);
    this.#previous = previous;
  }
}
