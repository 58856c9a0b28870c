/**
 * Which connections are replayed: lists of client networks, then a share of the rest. Pure.
 *
 * The share is one of connections, as the original's, or of clients with all theirs; that holds where
 * there are many of them, and not behind a load balancer. It goes by a hash without a secret: the same
 * one is in or out in every instance and after every restart, and whoever is in at a small share is in
 * at every larger one. So a share that grows or is raised adds some and drops none.
 */

import { isInNetworks } from "../wire/networks.ts";
import { mix } from "./address_pool.ts";

/** The rules, and whatever changes them while the replay runs takes effect with the next session. */
export interface SamplingRules {
  /** Share that is replayed, percent: 1..100. */
  percentage: number;
  /** The share grows from 1/100 of itself to the whole of it within this time; 0: at once. */
  percentageRampMs: number;
  /** Whether every connection is drawn by itself, or every client with all its connections. */
  sampleConnections: boolean;
  /** Networks as pairs of address and mask, int32. Only these clients are replayed, unless empty. */
  includeClients: Int32Array;
  /** These clients are not, even if included. */
  excludeClients: Int32Array;
}

const BUCKETS = 10_000;
const PER_PERCENT = BUCKETS / 100;
/** The share at the beginning of the ramp, as a part of the whole. */
const FIRST_PART = 1 / 100;

/** Decides by the rules it was given, which may change between two decisions. */
export class ClientSample {
  readonly #rules: SamplingRules;
  /** When the first decision was asked for: the ramp begins there. */
  #startMs: number | undefined;

  constructor(rules: SamplingRules) {
    this.#rules = rules;
  }

  /** Whether a connection from this client is replayed. The address is int32. */
  admits(address: number, port: number, nowMs: number): boolean {
    const rules = this.#rules;
    if (!this.#isListed(address)) return false;
    this.#startMs ??= nowMs;
    if (rules.percentage >= 100 && rules.percentageRampMs === 0) return true;
    const seed = rules.sampleConnections ? address ^ mix(port) : address;
    return mix(seed) % BUCKETS < this.percentageAt(nowMs) * PER_PERCENT;
  }

  /** How likely a connection from this client is to be drawn, 0..1; 0 where a list leaves it out. */
  chanceOf(address: number, nowMs: number): number {
    return this.#isListed(address) ? this.percentageAt(nowMs) / 100 : 0;
  }

  /** Whether the lists let a client in. */
  #isListed(address: number): boolean {
    const { includeClients, excludeClients } = this.#rules;
    if (includeClients.length > 0 && !isInNetworks(includeClients, address)) return false;
    return !isInNetworks(excludeClients, address);
  }

  /** The share at this moment, percent. */
  percentageAt(nowMs: number): number {
    const { percentage, percentageRampMs } = this.#rules;
    if (percentageRampMs === 0) return percentage;
    const part = (nowMs - (this.#startMs ?? nowMs)) / percentageRampMs;
    return percentage * Math.min(1, Math.max(FIRST_PART, part));
  }
}
