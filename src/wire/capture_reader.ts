/**
 * Finds the packets in the bytes of a capture file, pcap or pcapng, as they come in. Pure.
 *
 * What always holds: every packet before a defect is given intact; the memory is bounded by the
 * largest packet, whatever the file says; what is given does not depend on how the bytes were cut
 * into pieces.
 */

import { type CaptureFormat, CaptureFormatError, RecordedPacket } from "./capture_format.ts";
import { isPcapMagic, PcapRecords } from "./pcap_records.ts";
import { PCAPNG_SECTION_HEADER, PcapngBlocks } from "./pcapng_blocks.ts";

const FIRST_BUFFER_BYTES = 1 << 18;

/**
 * ```ts
 * const reader = new CaptureReader();
 * const room = reader.room(file.length);
 * room.set(file);
 * reader.fill(file.length);
 * while (reader.next()) console.log(reader.packet.capturedLength);
 * if (!reader.isBetweenRecords) console.log("cut off");
 * ```
 */
export class CaptureReader {
  /** Memory with the current packet at `packet.offset`; valid until `room`. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_BUFFER_BYTES);
  view: DataView<ArrayBuffer> = new DataView(this.bytes.buffer);
  readonly packet = new RecordedPacket();
  /** Packets given. */
  packetsRead = 0;

  #format: CaptureFormat | undefined;
  #start = 0;
  #end = 0;
  /** Bytes still to come that nobody wants. */
  #skipBytes = 0;

  /** Makes room for at least `minBytes` behind what waits; the current packet is gone then. */
  room(minBytes: number): Uint8Array {
    const waiting = this.#end - this.#start;
    if (this.#end + minBytes > this.bytes.length) {
      if (waiting + minBytes > this.bytes.length) {
        const grown = new Uint8Array(Math.max(waiting + minBytes, this.bytes.length * 2));
        grown.set(this.bytes.subarray(this.#start, this.#end));
        this.bytes = grown;
        this.view = new DataView(grown.buffer);
      } else {
        this.bytes.copyWithin(0, this.#start, this.#end);
      }
      this.#start = 0;
      this.#end = waiting;
    }
    return this.bytes.subarray(this.#end);
  }

  /** So many bytes were written at the start of what `room` gave. */
  fill(count: number): void {
    this.#end += count;
    this.#skip();
  }

  /** Whether the bytes so far end where a file may end. */
  get isBetweenRecords(): boolean {
    return this.#format !== undefined && this.#start === this.#end && this.#skipBytes === 0;
  }

  /** Whether any bytes have come. */
  get isEmpty(): boolean {
    return this.#format === undefined && this.#start === this.#end;
  }

  /**
   * Moves to the next packet.
   *
   * @returns false when more bytes are needed
   * @throws CaptureFormatError when what follows is no capture file
   */
  next(): boolean {
    while (this.#skipBytes === 0) {
      const format = this.#format ??= this.#recognize();
      if (format === undefined) return false;
      const taken = format.take(this.view, this.#start, this.#end, this.packet);
      if (taken <= 0) return false;
      this.#skipBytes = taken;
      this.#skip();
      if (format.isPacket) {
        this.packetsRead++;
        return true;
      }
    }
    return false;
  }

  /** What is known of a file by its first four bytes; undefined when they are not there yet. */
  #recognize(): CaptureFormat | undefined {
    if (this.#end - this.#start < 4) return undefined;
    const magic = this.view.getUint32(this.#start);
    if (magic === PCAPNG_SECTION_HEADER) return new PcapngBlocks();
    if (isPcapMagic(magic)) return new PcapRecords();
    throw new CaptureFormatError("unknown file format");
  }

  #skip(): void {
    const count = Math.min(this.#skipBytes, this.#end - this.#start);
    this.#start += count;
    this.#skipBytes -= count;
  }
}
