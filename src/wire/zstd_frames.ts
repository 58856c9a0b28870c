/**
 * Follows the frames of zstd-compressed data (RFC 8878 section 3.1) without decompressing them: tells
 * where blocks end, each of which becomes 128 KiB at most, and whether the data end where a frame ends.
 * A decompressor that is fed piece by piece may take the end of cut-off data for their end. Pure.
 */

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const BLOCK_RLE = 1;

/** Whether data that begin with these four bytes, read as little-endian number, are zstd's. */
export function isZstdMagic(magic: number): boolean {
  return magic === MAGIC || (magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC;
}

/** What the bytes gathered in `#field` are. */
type Field = "magic" | "skippable size" | "descriptor" | "block header";

export class ZstdFrames {
  /** The field that is being read, little-endian, and how many of its bytes are there. */
  #field: Field = "magic";
  #value = 0;
  #valueBytes = 0;
  #skipBytes = 0;
  #isInBlock = false;
  #hasChecksum = false;
  /** Bytes followed so far. */
  bytesRead = 0;
  /** Something that is no frame has come: what follows is not looked at. */
  isLost = false;

  /** Whether the bytes so far are whole frames. */
  get isAtEnd(): boolean {
    return !this.isLost && this.#field === "magic" && this.#valueBytes === 0 &&
      this.#skipBytes === 0;
  }

  /**
   * Follows the next piece of data, up to the end of a block.
   *
   * @returns how many of its bytes were followed: all of them, if no block ends before
   */
  feed(chunk: Uint8Array): number {
    let at = 0;
    while (at < chunk.length && !this.isLost) {
      if (this.#skipBytes > 0) {
        const count = Math.min(this.#skipBytes, chunk.length - at);
        this.#skipBytes -= count;
        at += count;
        if (this.#skipBytes > 0 || !this.#isInBlock) continue;
        this.#isInBlock = false;
        break;
      }
      this.#value += chunk[at++] * 2 ** (8 * this.#valueBytes);
      this.#valueBytes++;
      if (this.#valueBytes === fieldBytes(this.#field)) {
        const value = this.#value;
        this.#value = 0;
        this.#valueBytes = 0;
        this.#take(value);
      }
    }
    this.bytesRead += at;
    return at;
  }

  #take(value: number): void {
    switch (this.#field) {
      case "magic":
        if (value === MAGIC) this.#field = "descriptor";
        else if (isZstdMagic(value)) this.#field = "skippable size";
        else this.isLost = true;
        return;
      case "skippable size":
        this.#skipBytes = value;
        this.#field = "magic";
        return;
      case "descriptor": {
        const isSingleSegment = (value & 0x20) !== 0;
        const sizeFlag = value >>> 6;
        const sizeBytes = sizeFlag === 0 && isSingleSegment ? 1 : CONTENT_SIZE_BYTES[sizeFlag];
        this.#hasChecksum = (value & 0x04) !== 0;
        this.#skipBytes = (isSingleSegment ? 0 : 1) + DICTIONARY_ID_BYTES[value & 3] + sizeBytes;
        this.#field = "block header";
        return;
      }
      case "block header": {
        const isLast = (value & 1) !== 0;
        const type = (value >>> 1) & 3;
        this.#skipBytes = type === BLOCK_RLE ? 1 : value >>> 3;
        this.#isInBlock = true;
        if (!isLast) return;
        if (this.#hasChecksum) this.#skipBytes += 4;
        this.#field = "magic";
      }
    }
  }
}

function fieldBytes(field: Field): number {
  if (field === "descriptor") return 1;
  return field === "block header" ? 3 : 4;
}
