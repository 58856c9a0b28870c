/**
 * Who may stay connected to intercept when there is not room for all. Pure.
 *
 * Whoever reaches the port can connect; a tcpcopy shows itself only by what it does. So a newcomer is
 * always let in, and when there is no room, the least useful gives way to it: one that has not said
 * hello, then one that has no routes, then one whose routes never carried a record. Among equals those
 * give way whose address has most of them, so that a host with many idle connections takes the room
 * from itself; among these the one that has been idle longest. A connection over which records went
 * never gives way. Nobody is sent away for being idle while there is room: on a quiet night a tcpcopy
 * has nothing to say, and the original exits when it is sent away.
 */

import { isInNetworks } from "../wire/networks.ts";

/** How useful a connection is; what is more useful has the greater number. */
export const Usefulness = {
  /** Has not said hello, though there was time to. */
  Silent: 0,
  /** Has said hello, or only just come, and has no routes. */
  Idle: 1,
  /** Has routes, over which nothing ever went. */
  Waiting: 2,
  /** Records went over it. */
  Serving: 3,
} as const;
/** One of the values of {@link Usefulness}. */
export type Usefulness = typeof Usefulness[keyof typeof Usefulness];

/** Time to say hello, before which a connection counts as if it had. */
const HELLO_WITHIN_MS = 1000;

/** How useful a connection is by what it has done. */
export function usefulnessOf(
  hasGreeted: boolean,
  hasRoutes: boolean,
  hasServed: boolean,
  ageMs: number,
): Usefulness {
  if (hasServed) return Usefulness.Serving;
  if (hasRoutes) return Usefulness.Waiting;
  return hasGreeted || ageMs < HELLO_WITHIN_MS ? Usefulness.Idle : Usefulness.Silent;
}

/** A connection, as far as it matters here. */
export interface Guest {
  /** IPv4 address it comes from, int32. */
  readonly address: number;
  /** When it connected, or said something last. */
  readonly heardAtMs: number;
  usefulness(nowMs: number): Usefulness;
  /** Closes it; it is removed before this returns. The reason is a clause without a full stop. */
  end(reason: string): void;
}

/** Who is let in. */
export interface AdmissionRules {
  maxConnections: number;
  /** From one address. */
  maxPerAddress: number;
  /** Networks, pairs of address and mask, int32; undefined: all. */
  allow: Int32Array | undefined;
}

/**
 * One tcpcopy has up to 16 workers with `-C` connections each, and a host may run several, or stand
 * for several behind an address translation.
 */
export const DEFAULT_ADMISSION_RULES: AdmissionRules = {
  maxConnections: 128,
  maxPerAddress: 64,
  allow: undefined,
};

/** The connections there are. */
export class Admission<G extends Guest> {
  readonly guests = new Set<G>();
  readonly #rules: AdmissionRules;
  readonly #stats: { evicted: number };
  readonly #perAddress = new Map<number, number>();

  /** @param stats counts those that had to give way */
  constructor(rules: AdmissionRules, stats: { evicted: number }) {
    this.#rules = rules;
    this.#stats = stats;
  }

  /**
   * Makes room for one more connection from this address.
   *
   * @returns why it cannot be let in, as a clause without a full stop; empty when it can
   */
  refusalOf(address: number, nowMs: number): string {
    const { maxConnections, maxPerAddress, allow } = this.#rules;
    if (allow !== undefined && !isInNetworks(allow, address)) {
      return "its address is not among those of --allow";
    }
    const isAddressFull = (this.#perAddress.get(address) ?? 0) >= maxPerAddress;
    if (!isAddressFull && this.guests.size < maxConnections) return "";
    const victim = this.#leastUseful(isAddressFull ? address : undefined, nowMs);
    if (victim === undefined) return "there are too many, and all are in use";
    this.#stats.evicted++;
    victim.end("a newer connection needed the room");
    return "";
  }

  /**
   * Who gives way.
   *
   * @param onlyAddress undefined: it may come from anywhere
   * @returns undefined when all have to stay
   */
  #leastUseful(onlyAddress: number | undefined, nowMs: number): G | undefined {
    const candidates: G[] = [];
    let least: Usefulness = Usefulness.Serving;
    for (const guest of this.guests) {
      if (onlyAddress !== undefined && guest.address !== onlyAddress) continue;
      const usefulness = guest.usefulness(nowMs);
      if (usefulness === Usefulness.Serving || usefulness > least) continue;
      if (usefulness < least) candidates.length = 0;
      least = usefulness;
      candidates.push(guest);
    }
    const perAddress = new Map<number, number>();
    for (const { address } of candidates) {
      perAddress.set(address, (perAddress.get(address) ?? 0) + 1);
    }
    return candidates.toSorted((one, other) =>
      perAddress.get(other.address)! - perAddress.get(one.address)! ||
      one.heardAtMs - other.heardAtMs
    )[0];
  }

  add(guest: G): void {
    this.guests.add(guest);
    this.#perAddress.set(guest.address, (this.#perAddress.get(guest.address) ?? 0) + 1);
  }

  remove(guest: G): void {
    if (!this.guests.delete(guest)) return;
    const left = this.#perAddress.get(guest.address)! - 1;
    if (left === 0) this.#perAddress.delete(guest.address);
    else this.#perAddress.set(guest.address, left);
  }
}
