/**
 * Decides when no new session may begin for want of memory, and says so. Pure: figures come in,
 * sentences go out.
 *
 * The cap is one of resident memory. What payload may take is so much less that a burst, whose memory
 * stays with the process as room for the next one, leaves sessions room to begin.
 */

/** What the runtime takes by itself, bytes (measured: 80 to 115 MB). */
const RUNTIME_BYTES = 120 << 20;
/** What each worker takes besides, bytes. */
const WORKER_BYTES = 40 << 20;
/** Shares of the whole cap, and of what the runtime leaves, that payload may take. */
const PAYLOAD_SHARE = 0.5;
const PAYLOAD_SHARE_OF_REST = 0.7;
/** Memory grows a little between two looks: so far below the cap no new session begins. */
const SHORT_SHARE = 0.97;
/** Sessions begin again when memory is this far below the cap. */
const RECOVERED_SHARE = 0.94;
/** How long nothing more is said about sessions that are shed again and again. */
const REPEAT_AFTER_MS = 30_000;

/** The smallest cap that leaves room for sessions, MB. */
export const MIN_MEMORY_MB = 160;

/** The smallest cap for several workers, MB. */
export function minMemoryMb(workers: number): number {
  return MIN_MEMORY_MB + threadBytes(workers) / (1 << 20);
}

/** How much captured payload may wait under a memory cap, in all workers together, bytes. */
export function payloadCap(maxMemoryBytes: number, workers = 1): number {
  const rest = maxMemoryBytes - RUNTIME_BYTES - threadBytes(workers);
  return Math.floor(Math.min(maxMemoryBytes * PAYLOAD_SHARE, rest * PAYLOAD_SHARE_OF_REST));
}

/** Without workers the main thread does everything. */
function threadBytes(workers: number): number {
  return workers === 1 ? 0 : workers * WORKER_BYTES;
}

/** What the guard looks at. */
export interface MemoryFigures {
  /** Resident memory of the process, bytes. */
  residentBytes: number;
  /** Payload memory in use, and how much may be, bytes. */
  payloadBytes: number;
  maxPayloadBytes: number;
  /** Sessions shed so far. */
  shedSessions: number;
}

/** A line for the log. */
export interface MemoryNotice {
  text: string;
  isTrouble: boolean;
}

export class MemoryGuard {
  /** Whether no new session may begin. */
  isShort = false;
  /** The cap; may be changed. */
  capBytes: number;
  #shedSessions = 0;
  #saidAtMs = -Infinity;

  constructor(capBytes: number) {
    this.capBytes = capBytes;
  }

  /** Judges the figures; to be called a few times a second. Returns what is to be logged. */
  look(figures: MemoryFigures, nowMs: number): MemoryNotice | undefined {
    const usedBytes = figures.residentBytes;
    const shed = figures.shedSessions - this.#shedSessions;
    this.#shedSessions = figures.shedSessions;
    if (!this.isShort && usedBytes > this.capBytes * SHORT_SHARE) {
      this.isShort = true;
      return {
        text: `memory ${mb(usedBytes)} comes up to the cap of ${mb(this.capBytes)} (-m): ` +
          "new sessions are shed",
        isTrouble: true,
      };
    }
    if (this.isShort && usedBytes < this.capBytes * RECOVERED_SHARE) {
      this.isShort = false;
      return {
        text: `memory ${mb(usedBytes)} is below the cap again: new sessions are replayed`,
        isTrouble: false,
      };
    }
    if (this.isShort || shed === 0 || nowMs - this.#saidAtMs < REPEAT_AFTER_MS) return undefined;
    this.#saidAtMs = nowMs;
    return {
      text: `sessions are shed (${shed} just now): ${mb(figures.payloadBytes)} of captured bytes ` +
        `wait for the target, ${mb(figures.maxPayloadBytes)} may (-m)`,
      isTrouble: true,
    };
  }
}

function mb(bytes: number): string {
  return `${Math.round(bytes / (1 << 20))} MB`;
}
