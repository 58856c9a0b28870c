/**
 * What the client offers in its SYN, in one integer: every session keeps it, because the SYN may
 * have to be sent again and the session may connect anew. Pure.
 */

/** The client's own hand-shake options, as captured (or made up for a joined session). */
export interface HandshakeOptions {
  /** Maximum segment size to announce, bytes, at most 65535. */
  mss: number;
  /** Window scale to offer, 0 to 14, -1 for none. */
  windowScale: number;
  sackPermitted: boolean;
  timestamps: boolean;
  /** How many replays the SYN has behind it, itself among them; see replay_mark.ts. Default 1. */
  generation?: number;
}

const SCALE_SHIFT = 16;
const SCALE_MASK = 0xf;
const SACK_BIT = 1 << 20;
const TIMESTAMPS_BIT = 1 << 21;
const GENERATION_SHIFT = 22;
const GENERATION_MASK = 0x7;

/** Packs the options. */
export function packHandshake(options: HandshakeOptions): number {
  return options.mss | ((options.windowScale + 1) << SCALE_SHIFT) |
    (options.sackPermitted ? SACK_BIT : 0) | (options.timestamps ? TIMESTAMPS_BIT : 0) |
    ((options.generation ?? 1) << GENERATION_SHIFT);
}

/** The generation of packed options, 1 to MAX_GENERATIONS. */
export function offeredGeneration(packed: number): number {
  return (packed >> GENERATION_SHIFT) & GENERATION_MASK;
}

/** The maximum segment size of packed options. */
export function offeredMss(packed: number): number {
  return packed & 0xffff;
}

/** The window scale of packed options, -1 for none. */
export function offeredScale(packed: number): number {
  return ((packed >> SCALE_SHIFT) & SCALE_MASK) - 1;
}

/** Whether packed options permit SACK. */
export function offersSack(packed: number): boolean {
  return (packed & SACK_BIT) !== 0;
}

/** Whether packed options have timestamps. */
export function offersTimestamps(packed: number): boolean {
  return (packed & TIMESTAMPS_BIT) !== 0;
}
