/** Recognises TLS by the first bytes of a stream (RFC 8446 section 5.1). Pure. */

const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const CLIENT_HELLO = 1;
/** Major version of every record since SSL 3.0; the minor one goes up to 4. */
const MAJOR_VERSION = 3;
const MAX_MINOR_VERSION = 4;
/** A record's header, and the first byte of a hand-shake message. */
const HEADER_BYTES = 5;
/** Longest record, with the expansion encryption may bring (RFC 8446 section 5.2). */
const MAX_RECORD_BYTES = (1 << 14) + 2048;

/**
 * Whether a client's bytes begin with TLS: with a ClientHello, or, where the beginning of the
 * connection was not captured, with a record of encrypted data.
 *
 * @param length how many bytes there are
 * @param byteAt gives the byte at a position
 * @param isBeginning whether nothing came before them
 */
export function looksEncrypted(
  length: number,
  byteAt: (at: number) => number,
  isBeginning: boolean,
): boolean {
  if (length <= HEADER_BYTES) return false;
  const type = byteAt(0);
  if (type !== HANDSHAKE && (type !== APPLICATION_DATA || isBeginning)) return false;
  if (byteAt(1) !== MAJOR_VERSION || byteAt(2) > MAX_MINOR_VERSION) return false;
  const recordBytes = (byteAt(3) << 8) | byteAt(4);
  if (recordBytes === 0 || recordBytes > MAX_RECORD_BYTES) return false;
  return type === APPLICATION_DATA || byteAt(HEADER_BYTES) === CLIENT_HELLO;
}
