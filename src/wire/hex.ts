/**
 * Bytes as hexadecimal text, two digits and a space each, from tables and straight into memory:
 * a dump is three times as long as its data, and strings would cost more than the disk. Pure.
 */

const DIGITS = "0123456789abcdef";
const SPACE = 0x20;
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

const HIGH = new Uint8Array(256);
const LOW = new Uint8Array(256);
/** Four bytes make three words: these are the bytes' shares of them. */
const FIRST = new Uint32Array(256); // "hl " of byte 0, in word 0
const SECOND_A = new Uint32Array(256); // "h" of byte 1, in word 0
const SECOND_B = new Uint32Array(256); // "l " of byte 1, in word 1
const THIRD_A = new Uint32Array(256); // "hl" of byte 2, in word 1
const FOURTH = new Uint32Array(256); // " hl " of bytes 2 and 3, in word 2
for (let byte = 0; byte < 256; byte++) {
  const high = HIGH[byte] = DIGITS.charCodeAt(byte >> 4);
  const low = LOW[byte] = DIGITS.charCodeAt(byte & 15);
  FIRST[byte] = high | low << 8 | SPACE << 16;
  SECOND_A[byte] = high << 24;
  SECOND_B[byte] = low | SPACE << 8;
  THIRD_A[byte] = high << 16 | low << 24;
  FOURTH[byte] = SPACE | high << 8 | low << 16 | SPACE << 24;
}

/**
 * Writes `length` bytes as text; 3 × `length` characters, the last of them a space.
 *
 * @param words the memory of `target`, which must begin at a multiple of four
 * @returns where the text ends
 */
export function writeHex(
  source: Uint8Array,
  from: number,
  length: number,
  target: Uint8Array,
  words: Uint32Array,
  at: number,
): number {
  const end = from + length;
  // Up to three bytes one by one bring the text to a word's beginning.
  while (from < end && ((at & 3) !== 0 || !isLittleEndian)) {
    at = writeOne(source[from++], target, at);
  }
  let word = at >> 2;
  for (const last = end - 3; from < last; from += 4) {
    const second = source[from + 1];
    words[word] = FIRST[source[from]] | SECOND_A[second];
    words[word + 1] = SECOND_B[second] | THIRD_A[source[from + 2]];
    words[word + 2] = FOURTH[source[from + 3]];
    word += 3;
  }
  if ((at & 3) === 0 && isLittleEndian) at = word << 2;
  while (from < end) at = writeOne(source[from++], target, at);
  return at;
}

function writeOne(byte: number, target: Uint8Array, at: number): number {
  target[at] = HIGH[byte];
  target[at + 1] = LOW[byte];
  target[at + 2] = SPACE;
  return at + 3;
}

/** Value of a digit's character, or -1. */
const VALUES = new Int8Array(256).fill(-1);
for (let value = 0; value < 16; value++) {
  VALUES[DIGITS.charCodeAt(value)] = value;
  VALUES[DIGITS.toUpperCase().charCodeAt(value)] = value;
}

/**
 * Reads bytes as `writeHex` and Go's `% x` write them: two digits each, one space between them.
 *
 * @param text the characters of a whole line from `from` on, to `end`
 * @returns how many bytes were written to the front of `target`, which must have room for a third of
 * the text; -1 when the text is something else
 */
export function readHex(text: Uint8Array, from: number, end: number, target: Uint8Array): number {
  let count = 0;
  for (let at = from; at < end; at += 3) {
    if (at + 2 > end || (at + 2 < end && text[at + 2] !== SPACE)) return -1;
    const high = VALUES[text[at]];
    const low = VALUES[text[at + 1]];
    if (high < 0 || low < 0) return -1;
    target[count++] = high << 4 | low;
  }
  return count;
}
