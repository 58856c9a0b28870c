/**
 * The framed echo protocol of the lab: what client and server say to each other. Pure.
 *
 * Every byte of a stream is determined by (connection, request number, length), so that both ends
 * can check what they read without having been told; a frame also says how many replies its sender
 * had read before, so that a server can tell a request that came too early.
 */

/** Bytes of a frame header, before the payload. */
export const HEADER_BYTES = 32;
/** First four bytes of a request ("LABQ"). */
export const REQUEST_MAGIC = 0x4c414251;
/** First four bytes of a reply ("LABR"). */
export const REPLY_MAGIC = 0x4c414252;
/** First four bytes of a message that nobody asked for ("LABU"). */
export const UNASKED_MAGIC = 0x4c414255;
/** Longest payload a frame may have. */
export const MAX_PAYLOAD_BYTES = 8 * 1024 * 1024;

/** Bits of {@linkcode FrameHeader.flags}. */
export const FrameFlag = {
  /** The server closes its side of the connection after this reply. */
  CloseAfterReply: 1,
} as const;

/** A frame header, request or reply. All integers are big-endian on the wire. */
export interface FrameHeader {
  /** `REQUEST_MAGIC` or `REPLY_MAGIC`. */
  magic: number;
  /** The number of the connection in the whole run, 0 and up. */
  connectionId: number;
  /** The number of the request in its connection, 0 and up. */
  requestNumber: number;
  /** Bytes that follow the header. */
  payloadBytes: number;
  /** Payload bytes asked for in the reply; zero in a reply. */
  replyBytes: number;
  /** Replies (a greeting is one) the sender had read in full before it sent the first byte of this. */
  repliesRead: number;
  /** Milliseconds the server waits before it replies. */
  delayMs: number;
  /** Bits of {@linkcode FrameFlag}. */
  flags: number;
}

/** Writes `header` at `offset`. */
export function writeFrameHeader(view: DataView, offset: number, header: FrameHeader): void {
  view.setUint32(offset, header.magic);
  view.setUint32(offset + 4, header.connectionId);
  view.setUint32(offset + 8, header.requestNumber);
  view.setUint32(offset + 12, header.payloadBytes);
  view.setUint32(offset + 16, header.replyBytes);
  view.setUint32(offset + 20, header.repliesRead);
  view.setUint32(offset + 24, header.delayMs);
  view.setUint32(offset + 28, header.flags);
}

/** Reads the header at `offset`. */
export function readFrameHeader(view: DataView, offset: number): FrameHeader {
  return {
    magic: view.getUint32(offset),
    connectionId: view.getUint32(offset + 4),
    requestNumber: view.getUint32(offset + 8),
    payloadBytes: view.getUint32(offset + 12),
    replyBytes: view.getUint32(offset + 16),
    repliesRead: view.getUint32(offset + 20),
    delayMs: view.getUint32(offset + 24),
    flags: view.getUint32(offset + 28),
  };
}

/**
 * A check value over a frame: the header's, which determines the payload (FNV-1a).
 *
 * The streams of several connections can be put together by their frames' check values, as they
 * cannot by the hash over each.
 */
export function frameCheck(header: FrameHeader): string {
  const { magic, connectionId, requestNumber, payloadBytes } = header;
  const { replyBytes, repliesRead, delayMs, flags } = header;
  const words = [
    ...[magic, connectionId, requestNumber, payloadBytes],
    ...[replyBytes, repliesRead, delayMs, flags],
  ];
  let hash = 0x811c9dc5;
  for (const word of words) {
    for (let shift = 24; shift >= 0; shift -= 8) {
      hash = Math.imul(hash ^ ((word >>> shift) & 0xff), 0x01000193);
    }
  }
  return (hash >>> 0).toString(16);
}

/** Start positions of payloads in the block are below this; a prime, so that they scatter. */
const START_POSITIONS = 1_048_573;
let block: Uint8Array<ArrayBuffer> | undefined;

/** The pseudo-random bytes that all payloads are cut from (xorshift32), made at the first use. */
function payloadBlock(): Uint8Array<ArrayBuffer> {
  if (block !== undefined) return block;
  const words = new Uint32Array((MAX_PAYLOAD_BYTES + START_POSITIONS + 3) >> 2);
  let state = 0x2545f491;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return block = new Uint8Array(words.buffer);
}

/**
 * The payload of one frame: a view of shared memory, not to be written to.
 *
 * @param magic tells requests from replies
 * @param lengthBytes at most `MAX_PAYLOAD_BYTES`
 */
export function payloadOf(
  magic: number,
  connectionId: number,
  requestNumber: number,
  lengthBytes: number,
): Uint8Array<ArrayBuffer> {
  let hash = Math.imul(connectionId + 1, 0x9e3779b1) ^ Math.imul(requestNumber + 1, 0x85ebca6b) ^
    magic;
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  const start = ((hash ^ (hash >>> 13)) >>> 0) % START_POSITIONS;
  return payloadBlock().subarray(start, start + lengthBytes);
}

/** The bytes a server that speaks first sends on every connection. */
export function greetingOf(lengthBytes: number): Uint8Array<ArrayBuffer> {
  return payloadOf(0, 0, 0, lengthBytes);
}

/** Header and payload of one frame, ready to be sent. */
export function encodeFrame(header: FrameHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + header.payloadBytes);
  writeFrameHeader(new DataView(bytes.buffer), 0, header);
  const { magic, connectionId, requestNumber, payloadBytes } = header;
  bytes.set(payloadOf(magic, connectionId, requestNumber, payloadBytes), HEADER_BYTES);
  return bytes;
}

/** What a {@linkcode FrameReader} tells its owner. */
export interface FrameEvents {
  /** A header came; its payload may be missing still. */
  onHeader?(header: FrameHeader): void;
  /** A frame came whole, with the right payload. */
  onFrame(header: FrameHeader): void;
}

/**
 * Cuts a byte stream, given in arbitrary chunks, into frames and checks every byte.
 *
 * After the first error nothing is understood any more: bytes are only counted.
 */
export class FrameReader {
  /** Bytes fed so far. */
  totalBytes = 0;
  /** What was wrong with the stream; `undefined` as long as all is right. */
  error: string | undefined;
  readonly #magic: number;
  readonly #events: FrameEvents;
  readonly #headerBytes = new Uint8Array(HEADER_BYTES);
  readonly #headerView = new DataView(this.#headerBytes.buffer);
  #headerFill = 0;
  #header: FrameHeader | undefined;
  #expected: Uint8Array = this.#headerBytes;
  #payloadFill = 0;

  /** @param magic the only kind of frame that may come */
  constructor(magic: number, events: FrameEvents) {
    this.#magic = magic;
    this.#events = events;
  }

  /** Bytes of the frame that has begun but is not whole: 0 at a frame boundary. */
  get partialBytes(): number {
    return this.#headerFill + this.#payloadFill;
  }

  /** Takes the next bytes of the stream. */
  feed(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && this.error === undefined) {
      at = this.#header === undefined ? this.#feedHeader(chunk, at) : this.#feedPayload(chunk, at);
    }
    this.totalBytes += chunk.length;
  }

  #feedHeader(chunk: Uint8Array, at: number): number {
    const take = Math.min(HEADER_BYTES - this.#headerFill, chunk.length - at);
    this.#headerBytes.set(chunk.subarray(at, at + take), this.#headerFill);
    this.#headerFill += take;
    if (this.#headerFill < HEADER_BYTES) return at + take;
    const header = readFrameHeader(this.#headerView, 0);
    const position = this.totalBytes + at + take - HEADER_BYTES;
    if (header.magic !== this.#magic || header.payloadBytes > MAX_PAYLOAD_BYTES) {
      const [expected, came] = [this.#magic, header.magic].map((n) => n.toString(16));
      this.error = `byte ${position}: expected a frame header (${expected}), came ${came}`;
      return at + take;
    }
    this.#header = header;
    const { connectionId, requestNumber, payloadBytes } = header;
    this.#expected = payloadOf(this.#magic, connectionId, requestNumber, payloadBytes);
    this.#events.onHeader?.(header);
    if (payloadBytes === 0) this.#finish(header);
    return at + take;
  }

  #feedPayload(chunk: Uint8Array, at: number): number {
    const header = this.#header as FrameHeader;
    const take = Math.min(header.payloadBytes - this.#payloadFill, chunk.length - at);
    const wrong = firstDifference(chunk, at, this.#expected, this.#payloadFill, take);
    if (wrong >= 0) {
      this.error = `byte ${this.totalBytes + at + wrong}: wrong payload, ` +
        `${this.#payloadFill + wrong} bytes into request ${header.requestNumber} ` +
        `of connection ${header.connectionId}`;
      return at + take;
    }
    this.#payloadFill += take;
    if (this.#payloadFill === header.payloadBytes) this.#finish(header);
    return at + take;
  }

  #finish(header: FrameHeader): void {
    this.#header = undefined;
    this.#headerFill = 0;
    this.#payloadFill = 0;
    this.#events.onFrame(header);
  }
}

/** Index of the first byte that differs, or -1. */
export function firstDifference(
  a: Uint8Array,
  aOffset: number,
  b: Uint8Array,
  bOffset: number,
  length: number,
): number {
  for (let i = 0; i < length; i++) {
    if (a[aOffset + i] !== b[bOffset + i]) return i;
  }
  return -1;
}
