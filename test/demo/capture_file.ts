/**
 * Writes packets into a capture file as they come. Touches that file only; holds a bounded part of
 * it in memory, so that no packet ever waits for a large copy.
 */

import {
  PCAP_FILE_HEADER_BYTES,
  PCAP_RECORD_HEADER_BYTES,
  writePcapFileHeader,
  writePcapRecordHeader,
} from "../../src/wire/pcap_file.ts";

const BUFFER_BYTES = 1 << 20;

export class CaptureFile {
  readonly #file: Deno.FsFile;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  #length = PCAP_FILE_HEADER_BYTES;

  /**
   * @param linkType a value of LinkType
   * @param snapLength no packet is longer; at most 256 KiB
   */
  constructor(path: string, linkType: number, snapLength: number) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    writePcapFileHeader(this.#view, 0, linkType, snapLength);
  }

  /** Appends `length` bytes of `bytes`, from `offset` on. */
  add(
    timestampUs: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    originalLength: number,
  ): void {
    if (this.#length + PCAP_RECORD_HEADER_BYTES + length > BUFFER_BYTES) this.flush();
    writePcapRecordHeader(this.#view, this.#length, timestampUs, length, originalLength);
    this.#length += PCAP_RECORD_HEADER_BYTES;
    this.#buffer.set(bytes.subarray(offset, offset + length), this.#length);
    this.#length += length;
  }

  /** Writes what is held back; the file is then whole. */
  flush(): void {
    for (let at = 0; at < this.#length;) {
      at += this.#file.writeSync(this.#buffer.subarray(at, this.#length));
    }
    this.#length = 0;
  }
}
