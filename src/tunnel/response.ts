/**
 * What intercept says to tcpcopy: records of the target's packets, in frames. Pure; allocates
 * nothing per record.
 *
 * "combined" is what the default build of the original speaks: a count (2 bytes, network byte order)
 * and that many records, at most 16 short or 6 long ones. "bare" is its build with
 * --disable-combined: records only.
 */

import type { Packet } from "../wire/packet.ts";
import {
  normalizeRecord,
  NOT_A_RECORD,
  RECORD_BYTES,
  type RecordBytes,
  USELESS_RECORD,
  writeRecord,
} from "./record.ts";

/** How records stand in the stream. */
export type FrameMode = "combined" | "bare";

/** Length of the count in front of a combined frame. */
export const FRAME_HEADER_BYTES = 2;

/** The most records a combined frame may have; the receiving original drops the connection above. */
export function maxRecordsPerFrame(recordBytes: RecordBytes): number {
  return recordBytes === RECORD_BYTES ? 16 : 6;
}

/**
 * The queue of frames towards one tcpcopy, laid out in memory the caller provides (native memory, so
 * that it can be sent from there). Bounded: what does not fit is refused.
 *
 * The bytes between `start` and `end` wait for sending; before they are sent, `endFrame` must be
 * called, because the count of an open frame still changes.
 */
export class ResponseEncoder {
  /** Offset of the first byte that has not been consumed. */
  start: number;
  /** Offset behind the last byte written. */
  end: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #origin: number;
  readonly #limit: number;
  readonly #recordBytes: RecordBytes;
  readonly #isCombined: boolean;
  readonly #maxRecords: number;
  /** Where the open frame's count stands; meaningless while `#frameRecords` is 0. */
  #frameAt: number;
  /** Records in the open frame, 0 when none is open. */
  #frameRecords: number;

  /**
   * @param view the same memory as `bytes`
   * @param offset where the queue's own part of the memory begins
   * @param capacityBytes how long that part is
   * @param maxRecords most records in a frame, if fewer than the protocol allows
   */
  constructor(
    bytes: Uint8Array,
    view: DataView,
    offset: number,
    capacityBytes: number,
    mode: FrameMode,
    recordBytes: RecordBytes,
    maxRecords = Infinity,
  ) {
    this.start = offset;
    this.end = offset;
    this.#bytes = bytes;
    this.#view = view;
    this.#origin = offset;
    this.#limit = offset + capacityBytes;
    this.#recordBytes = recordBytes;
    this.#isCombined = mode === "combined";
    this.#maxRecords = Math.min(maxRecords, maxRecordsPerFrame(recordBytes));
    this.#frameAt = offset;
    this.#frameRecords = 0;
  }

  /** How many bytes wait to be sent. */
  get pendingBytes(): number {
    return this.end - this.start;
  }

  /** Appends the record of a captured IPv4 packet. Returns false when the queue is full. */
  append(packet: Packet): boolean {
    const at = this.#reserve();
    if (at < 0) return false;
    writeRecord(packet, this.#bytes, this.#view, at, this.#recordBytes);
    return true;
  }

  /** Appends a record written earlier with the same record length. False when the queue is full. */
  appendRecord(view: DataView, offset: number): boolean {
    const at = this.#reserve();
    if (at < 0) return false;
    for (let i = 0; i < this.#recordBytes; i += 4) {
      this.#view.setInt32(at + i, view.getInt32(offset + i));
    }
    return true;
  }

  /** Finishes the open frame; the next record opens a new one. */
  endFrame(): void {
    this.#frameRecords = 0;
  }

  /** Takes the first `count` pending bytes out of the queue, after they were sent. */
  consume(count: number): void {
    this.start += count;
    if (this.start >= this.end) this.clear();
  }

  /** Empties the queue. */
  clear(): void {
    this.start = this.#origin;
    this.end = this.#origin;
    this.#frameRecords = 0;
  }

  /** Makes room for one record, opening a frame if need be. Returns its offset, -1 when full. */
  #reserve(): number {
    const opensFrame = this.#isCombined &&
      (this.#frameRecords === 0 || this.#frameRecords === this.#maxRecords);
    const needed = opensFrame ? FRAME_HEADER_BYTES + this.#recordBytes : this.#recordBytes;
    if (this.end + needed > this.#limit && !this.#compact(needed)) return -1;
    if (this.#isCombined) {
      if (opensFrame) {
        this.#frameAt = this.end;
        this.#frameRecords = 0;
        this.end += FRAME_HEADER_BYTES;
      }
      this.#frameRecords++;
      this.#view.setUint16(this.#frameAt, this.#frameRecords);
    }
    const at = this.end;
    this.end += this.#recordBytes;
    return at;
  }

  /**
   * Moves what is pending to the front. Only when that frees a good part of the memory: a queue that
   * stays nearly full would otherwise be moved for every record.
   */
  #compact(needed: number): boolean {
    const freed = this.start - this.#origin;
    if (freed < needed || freed < (this.#limit - this.#origin) >> 2) return false;
    this.#bytes.copyWithin(this.#origin, this.start, this.end);
    this.start -= freed;
    this.end -= freed;
    this.#frameAt -= freed;
    return true;
  }
}

/**
 * Takes one record. It is a consistent IPv4 packet of which `length` bytes are present:
 * `packet.parseIp(bytes, view, offset, length)` reads it.
 */
export interface RecordHandler {
  (bytes: Uint8Array, view: DataView, offset: number, length: number): void;
}

/**
 * Cuts a byte stream from intercept into records. One decoder serves one connection; it holds at
 * most one unfinished record. After an error it takes nothing more.
 */
export class ResponseDecoder {
  /** Why the stream was refused; empty while it is good. */
  error: string;
  /** Records handed over. */
  records: number;
  /** Records dropped because their lengths contradict each other. */
  uselessRecords: number;
  readonly #isCombined: boolean;
  readonly #recordBytes: RecordBytes;
  readonly #maxRecords: number;
  readonly #onRecord: RecordHandler;
  /** Records of the current frame that are still to come. */
  #frameLeft: number;
  readonly #carry: Uint8Array;
  readonly #carryView: DataView;
  #carryLength: number;

  constructor(mode: FrameMode, recordBytes: RecordBytes, onRecord: RecordHandler) {
    this.error = "";
    this.records = 0;
    this.uselessRecords = 0;
    this.#isCombined = mode === "combined";
    this.#recordBytes = recordBytes;
    this.#maxRecords = maxRecordsPerFrame(recordBytes);
    this.#onRecord = onRecord;
    this.#frameLeft = 0;
    this.#carry = new Uint8Array(recordBytes);
    this.#carryView = new DataView(this.#carry.buffer);
    this.#carryLength = 0;
  }

  /**
   * Takes the next bytes of the stream, cut anywhere. The handler sees records in place, so the
   * bytes may be changed.
   *
   * @param view the same memory as `bytes`
   * @returns false when the stream is not the protocol; `error` then says why
   */
  feed(bytes: Uint8Array, view: DataView, offset: number, length: number): boolean {
    let at = offset;
    const end = offset + length;
    while (at < end && this.error === "") {
      const expectsCount = this.#isCombined && this.#frameLeft === 0;
      const needed = expectsCount ? FRAME_HEADER_BYTES : this.#recordBytes;
      if (this.#carryLength === 0 && end - at >= needed) {
        if (expectsCount) this.#takeCount(view, at);
        else this.#takeRecord(bytes, view, at);
        at += needed;
        continue;
      }
      const wanted = needed - this.#carryLength;
      const given = end - at < wanted ? end - at : wanted;
      for (let i = 0; i < given; i++) this.#carry[this.#carryLength + i] = bytes[at + i];
      this.#carryLength += given;
      at += given;
      if (this.#carryLength < needed) break;
      this.#carryLength = 0;
      if (expectsCount) this.#takeCount(this.#carryView, 0);
      else this.#takeRecord(this.#carry, this.#carryView, 0);
    }
    return this.error === "";
  }

  #takeCount(view: DataView, at: number): void {
    const count = view.getUint16(at);
    if (count === 0 || count > this.#maxRecords) {
      this.error = `expected a frame of 1 to ${this.#maxRecords} records of ` +
        `${this.#recordBytes} bytes, got a count of ${count}: is intercept built or configured ` +
        `for other frames (combined or bare, with or without payload)?`;
      return;
    }
    this.#frameLeft = count;
  }

  #takeRecord(bytes: Uint8Array, view: DataView, at: number): void {
    if (this.#isCombined) this.#frameLeft--;
    const length = normalizeRecord(bytes, view, at, this.#recordBytes);
    if (length === NOT_A_RECORD) {
      this.error = "expected the headers of an IPv4 TCP packet in a record, got something else: " +
        "is intercept built or configured for other frames (combined or bare, with or " +
        "without payload)?";
      return;
    }
    if (length === USELESS_RECORD) {
      this.uselessRecords++;
      return;
    }
    this.records++;
    this.#onRecord(bytes, view, at, length);
  }
}
