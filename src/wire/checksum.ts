/**
 * The Internet checksum (RFC 1071): the one's complement sum of 16-bit words. Pure.
 *
 * The sum is taken over 32-bit words, each split into its halves, because a one's complement sum
 * does not care in which order words are added. It also does not care about byte order as long as
 * the result is swapped back (RFC 1071 section 2 (B)), so words are read little-endian, which needs
 * no swap per word on the machines this runs on; the result is the same on every machine.
 */

/** How much is summed before folding, so that both accumulators stay below 2^30. */
const BLOCK_BYTES = 32768;

/**
 * Sums big-endian 16-bit words in one's complement arithmetic; an odd last byte is padded with a
 * zero byte on its right. Allocates nothing: this is the form for the hot path.
 *
 * @param initial a partial sum of earlier data, 0..2^31-1; the earlier data must have had an even
 * length
 * @returns the sum folded to 0..65535, not complemented; may be passed on as `initial`
 * @throws RangeError when the range is not inside the view
 */
export function onesComplementSumView(
  view: DataView,
  offset: number,
  length: number,
  initial = 0,
): number {
  let at = offset;
  let left = length;
  let sum = 0;
  while (left >= 16) {
    const blockBytes = left < BLOCK_BYTES ? left & ~15 : BLOCK_BYTES;
    const blockEnd = at + blockBytes;
    let high = 0;
    let low = 0;
    while (at < blockEnd) {
      const a = view.getInt32(at, true);
      const b = view.getInt32(at + 4, true);
      const c = view.getInt32(at + 8, true);
      const d = view.getInt32(at + 12, true);
      high = (high + (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16)) | 0;
      low = (low + (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff)) | 0;
      at += 16;
    }
    sum += (high & 0xffff) + (high >>> 16) + (low & 0xffff) + (low >>> 16);
    sum = (sum & 0xffff) + (sum >>> 16);
    left -= blockBytes;
  }
  while (left >= 2) {
    sum += view.getUint16(at, true);
    at += 2;
    left -= 2;
  }
  if (left === 1) sum += view.getUint8(at);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  // Back from little-endian to network order.
  sum = ((sum & 0xff) << 8) | (sum >>> 8);
  sum += (initial & 0xffff) + (initial >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/**
 * The same over a byte array, for callers that hold no DataView. Makes one small object per call;
 * where packets are handled one after the other, use {@link onesComplementSumView}.
 *
 * @param initial a partial sum of earlier data of even length, 0..2^31-1
 * @returns the sum folded to 0..65535, not complemented
 * @throws RangeError when the range is not inside the array
 */
export function onesComplementSum(
  bytes: Uint8Array,
  offset: number,
  length: number,
  initial = 0,
): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return onesComplementSumView(view, offset, length, initial);
}

/**
 * Turns a sum into the value of a checksum field: folded to 16 bits and complemented.
 *
 * @param sum a non-negative sum below 2^32
 * @returns 0..65535
 */
export function foldChecksum(sum: number): number {
  let folded = (sum & 0xffff) + (sum >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}
