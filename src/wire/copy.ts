/**
 * Copies bytes without allocating. Pure.
 *
 * `target.set(source.subarray(…))` makes an object of 100 bytes per call, which at a million packets
 * a second keeps the garbage collector busy. Words of 64 bits are moved instead, at any alignment
 * (measured: 60 bytes 33 ns against 52, 256 bytes 56 against 57, 1448 bytes 265 against 83 and what
 * the collector takes).
 */

/**
 * Copies `length` bytes. The ranges must not overlap unless they are the same.
 *
 * @throws RangeError when a range is not inside its view
 */
export function copyBytes(
  from: DataView,
  fromOffset: number,
  to: DataView,
  toOffset: number,
  length: number,
): void {
  const end = fromOffset + length;
  let at = fromOffset;
  let out = toOffset;
  // Read and written in one expression, so that the compiled code holds no BigInt object.
  for (; at + 32 <= end; at += 32, out += 32) {
    to.setBigInt64(out, from.getBigInt64(at, true), true);
    to.setBigInt64(out + 8, from.getBigInt64(at + 8, true), true);
    to.setBigInt64(out + 16, from.getBigInt64(at + 16, true), true);
    to.setBigInt64(out + 24, from.getBigInt64(at + 24, true), true);
  }
  for (; at + 8 <= end; at += 8, out += 8) {
    to.setBigInt64(out, from.getBigInt64(at, true), true);
  }
  for (; at < end; at++, out++) to.setUint8(out, from.getUint8(at));
}
