/**
 * Native memory that stays where it is: mapped once, viewed once as typed arrays.
 *
 * A pointer stored inside a native structure does not keep a JavaScript buffer alive or in place.
 * Everything the kernel or a C library is to find by such a pointer therefore lives in an arena.
 * An arena's address never changes; freeing it detaches its views, so that a late access reads
 * nothing instead of unmapped memory.
 */

import { SystemError } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
/** What mmap(2) returns on failure: (void *) -1. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/**
 * One mapping of zeroed, page-aligned memory, given out piece by piece and freed as a whole.
 *
 * ```ts
 * const arena = new Arena(4096);
 * const offset = arena.allocate(16, 8);
 * arena.view.setUint32(offset, 42, true);
 * arena.free();
 * ```
 */
export class Arena {
  /** The whole mapping. Empty once the arena was freed. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same memory as `bytes`. Accesses throw a TypeError once the arena was freed. */
  readonly view: DataView<ArrayBuffer>;
  /** Where the mapping begins, for arithmetic and for storing into native structures. */
  readonly address: number;
  /** The same address as a bigint, which C functions take faster than a number. */
  readonly base: bigint;
  /** Length of the mapping. */
  readonly sizeBytes: number;
  /** Everything below this offset has been given out. */
  #used = 0;
  #freed = false;

  /**
   * @param sizeBytes length of the mapping, at least 1
   * @throws SystemError when the kernel has no memory left to map
   */
  constructor(sizeBytes: number) {
    if (!Number.isInteger(sizeBytes) || sizeBytes < 1) {
      throw new RangeError(`An arena needs a whole number of bytes above 0, not ${sizeBytes}.`);
    }
    const pointer = libc().mmap(
      0n,
      BigInt(sizeBytes),
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS,
      -1,
      0n,
    );
    const errno = lastErrno();
    const base = BigInt.asUintN(64, BigInt(Deno.UnsafePointer.value(pointer)));
    if (pointer === null || base === MAP_FAILED) {
      throw new SystemError(`native memory of ${sizeBytes} bytes`, "mmap", errno);
    }
    const buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, sizeBytes);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.base = base;
    this.address = Number(base);
    this.sizeBytes = sizeBytes;
  }

  /** How many bytes have not been given out yet. */
  get freeBytes(): number {
    return this.sizeBytes - this.#used;
  }

  /**
   * Gives out the next piece. Pieces are never given back singly.
   *
   * @param sizeBytes length of the piece
   * @param alignBytes a power of two of which the offset (and the address) is a multiple
   * @returns the offset of the piece in the arena
   * @throws RangeError when the rest of the arena is too small
   */
  allocate(sizeBytes: number, alignBytes = 8): number {
    if (!(sizeBytes >= 0) || alignBytes < 1 || (alignBytes & (alignBytes - 1)) !== 0) {
      throw new RangeError(
        `An arena piece needs a size of at least 0 and a power of two as alignment, ` +
          `not ${sizeBytes} and ${alignBytes}.`,
      );
    }
    const offset = Math.ceil(this.#used / alignBytes) * alignBytes;
    if (offset + sizeBytes > this.sizeBytes) {
      throw new RangeError(
        `The arena of ${this.sizeBytes} bytes is full: ${sizeBytes} bytes were asked for, ` +
          `${Math.max(0, this.sizeBytes - offset)} are left.`,
      );
    }
    this.#used = offset + sizeBytes;
    return offset;
  }

  /** The native address of an offset, in the form C functions take fastest. */
  addressAt(offset: number): bigint {
    return BigInt.asUintN(64, this.base + BigInt(offset));
  }

  /**
   * Unmaps the memory; a second call does nothing. The caller sees to it that neither the kernel
   * nor a C library still uses an address inside.
   */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    // Moves the contents' owner away from the views, which leaves them with length 0.
    this.bytes.buffer.transfer();
    libc().munmap(this.base, BigInt(this.sizeBytes));
  }
}
