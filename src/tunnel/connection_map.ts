/**
 * A hash table from connections (client and target, address and port) to integers. Pure; allocates
 * nothing except when it grows.
 *
 * Open addressing with linear probing over one typed array: a look-up touches one or two cache
 * lines. Removal shifts the following entries back, so there are no tombstones and look-ups do not
 * slow down with age. Its owner bounds it.
 */

/** 32-bit words of a slot: client, target, ports, value. */
const SLOT_WORDS = 4;
const CLIENT = 0;
const TARGET = 1;
const PORTS = 2;
const VALUE = 3;

const INITIAL_SLOTS = 1024;

/** See the top of the file. Addresses are int32; a value is an integer above 0. */
export class ConnectionMap {
  /** Connections in the table. */
  size: number;
  readonly #seed: number;
  #words: Int32Array;
  /** Number of slots less one; the number is a power of two. */
  #mask: number;

  /** @param seed int32 that peers cannot know, so that they cannot choose keys that collide */
  constructor(seed: number) {
    this.size = 0;
    this.#seed = seed | 0;
    this.#words = new Int32Array(INITIAL_SLOTS * SLOT_WORDS);
    this.#mask = INITIAL_SLOTS - 1;
  }

  /** Finds a connection's value; 0 when it is not in the table. */
  get(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): number {
    const ports = (clientPort << 16) | targetPort;
    return this.#words[this.#find(clientAddress, ports, targetAddress) + VALUE];
  }

  /** Stores a connection's value, replacing an earlier one. Returns the earlier value or 0. */
  set(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
    value: number,
  ): number {
    const ports = (clientPort << 16) | targetPort;
    let at = this.#find(clientAddress, ports, targetAddress);
    const earlier = this.#words[at + VALUE];
    if (earlier === 0) {
      if (this.#makeRoom()) at = this.#find(clientAddress, ports, targetAddress);
      this.size++;
    }
    const words = this.#words;
    words[at + CLIENT] = clientAddress;
    words[at + TARGET] = targetAddress;
    words[at + PORTS] = ports;
    words[at + VALUE] = value;
    return earlier;
  }

  /** Removes a connection. Returns the value it had, 0 when it was not there. */
  remove(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): number {
    const at = this.#find(clientAddress, (clientPort << 16) | targetPort, targetAddress);
    const value = this.#words[at + VALUE];
    if (value !== 0) this.#removeSlot(at / SLOT_WORDS);
    return value;
  }

  /** Returns the word index of the slot with this key, or of the free slot where it would go. */
  #find(client: number, ports: number, target: number): number {
    const words = this.#words;
    let slot = this.#home(client, ports, target);
    for (;;) { // ends at a free slot: at most three quarters of them are taken
      const at = slot * SLOT_WORDS;
      if (words[at + VALUE] === 0) return at;
      if (
        words[at + CLIENT] === client && words[at + PORTS] === ports &&
        words[at + TARGET] === target
      ) return at;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** The slot a key belongs in: each word multiplied and mixed into a seeded state. */
  #home(client: number, ports: number, target: number): number {
    let hash = this.#seed;
    hash = Math.imul(hash ^ client, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15) ^ ports, 0xc2b2ae35);
    hash = Math.imul(hash ^ (hash >>> 13) ^ target, 0x27d4eb2f);
    hash ^= hash >>> 16;
    return hash & this.#mask;
  }

  /** Grows if one more entry would be too many. Returns whether entries have moved. */
  #makeRoom(): boolean {
    const slots = this.#mask + 1;
    if ((this.size + 1) * 4 <= slots * 3) return false;
    this.#grow(slots * 2);
    return true;
  }

  #grow(slots: number): void {
    const old = this.#words;
    const words = new Int32Array(slots * SLOT_WORDS);
    this.#words = words;
    this.#mask = slots - 1;
    for (let from = 0; from < old.length; from += SLOT_WORDS) {
      if (old[from + VALUE] === 0) continue;
      const to = this.#find(old[from + CLIENT], old[from + PORTS], old[from + TARGET]);
      for (let word = 0; word < SLOT_WORDS; word++) words[to + word] = old[from + word];
    }
  }

  /**
   * Frees a slot and moves later entries of the same run back, so that every entry stays reachable
   * from the slot it belongs in without crossing a free one.
   */
  #removeSlot(slot: number): void {
    const words = this.#words;
    const mask = this.#mask;
    let hole = slot;
    let next = (hole + 1) & mask;
    while (words[next * SLOT_WORDS + VALUE] !== 0) {
      const from = next * SLOT_WORDS;
      const home = this.#home(words[from + CLIENT], words[from + PORTS], words[from + TARGET]);
      // The entry may move if its home does not lie between the hole and itself.
      if (((next - home) & mask) >= ((next - hole) & mask)) {
        const to = hole * SLOT_WORDS;
        for (let word = 0; word < SLOT_WORDS; word++) words[to + word] = words[from + word];
        hole = next;
      }
      next = (next + 1) & mask;
    }
    words[hole * SLOT_WORDS + VALUE] = 0;
    this.size--;
  }
}
