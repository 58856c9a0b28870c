/**
 * Fixed-size blocks of payload memory with a hard upper bound. Pure.
 *
 * Captured bytes that the target has not acknowledged live here and nowhere else, so the memory cap
 * of a whole replay is the cap of one pool. A block is shared by the segments of one session that
 * were captured one after the other; it counts its users and returns to the pool with the last.
 */

const EXTENT_BYTES = 1 << 20;

/** A pool of equal blocks carved from extents of 1 MiB that are taken only when needed. */
export class BlockPool {
  /** Size of every block; a power of two, at least 2048. */
  readonly blockBytes: number;
  /** Most blocks that may exist from now on. */
  maxBlocks = 0;
  readonly #blocksPerExtent: number;
  /** The number of blocks per extent is a power of two: these find a block without a division. */
  readonly #extentShift: number;
  readonly #blockShift: number;
  readonly #extents: DataView[] = [];
  /** Where the bytes written last into each block end, as an offset in `viewOf(block)`. */
  writtenTo = new Int32Array(0);
  #users = new Int32Array(0);
  #freeList = new Int32Array(0);
  #freeCount = 0;
  #used = 0;

  /**
   * @param maxBytes cap of the memory held by the pool
   * @param minBlockBytes the largest piece that must fit into one block
   */
  constructor(maxBytes: number, minBlockBytes = 2048) {
    let blockBytes = 2048;
    while (blockBytes < minBlockBytes) blockBytes *= 2;
    this.blockBytes = blockBytes;
    this.#blocksPerExtent = Math.max(1, EXTENT_BYTES / blockBytes);
    this.#extentShift = Math.log2(this.#blocksPerExtent);
    this.#blockShift = Math.log2(blockBytes);
    this.limit(maxBytes);
  }

  /** Sets another cap; blocks that exist already stay, as spare room for the next payload. */
  limit(maxBytes: number): void {
    this.maxBlocks = Math.max(this.#blocksPerExtent, Math.floor(maxBytes / this.blockBytes));
  }

  /** Blocks in use. */
  get usedBlocks(): number {
    return this.#used;
  }

  /** Bytes in use, in whole blocks. */
  get usedBytes(): number {
    return this.#used * this.blockBytes;
  }

  /** Whether so much is in use that nothing should be kept that may never be sent. */
  get isScarce(): boolean {
    return this.#used * 2 > this.maxBlocks;
  }

  /** Takes a block with one user. Returns its number, or -1 when the cap is reached. */
  take(): number {
    if (this.#freeCount === 0 && !this.#grow()) return -1;
    const block = this.#freeList[--this.#freeCount];
    this.#users[block] = 1;
    this.writtenTo[block] = this.offsetOf(block);
    this.#used++;
    return block;
  }

  /** Counts one more user of a block. */
  retain(block: number): void {
    this.#users[block]++;
  }

  /** Counts one user less; the last one returns the block. */
  release(block: number): void {
    if (--this.#users[block] > 0) return;
    this.#used--;
    this.#freeList[this.#freeCount++] = block;
  }

  /** The memory a block lies in, see `offsetOf`. */
  viewOf(block: number): DataView {
    return this.#extents[block >> this.#extentShift];
  }

  /** Where a block begins in `viewOf(block)`. */
  offsetOf(block: number): number {
    return (block & (this.#blocksPerExtent - 1)) << this.#blockShift;
  }

  #grow(): boolean {
    const have = this.#extents.length * this.#blocksPerExtent;
    if (have + this.#blocksPerExtent > this.maxBlocks) return false;
    this.#extents.push(new DataView(new ArrayBuffer(this.#blocksPerExtent * this.blockBytes)));
    const total = have + this.#blocksPerExtent;
    this.#users = grown(this.#users, total);
    this.writtenTo = grown(this.writtenTo, total);
    this.#freeList = grown(this.#freeList, total);
    for (let block = total - 1; block >= have; block--) this.#freeList[this.#freeCount++] = block;
    return true;
  }
}

/** A longer copy of an array. */
export function grown(old: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const copy = new Int32Array(length);
  copy.set(old);
  return copy;
}
