/**
 * The control bits of the TCP header (RFC 9293 section 3.1), as they stand in its 14th byte. Pure.
 */

/** Bit masks of the TCP control bits. */
export const TcpFlag = {
  Fin: 1,
  Syn: 2,
  Rst: 4,
  Psh: 8,
  Ack: 16,
  Urg: 32,
  Ece: 64,
  Cwr: 128,
} as const;

const LETTERS = ["F", "S", "R", "P", "A", "U", "E", "C"];

/**
 * Writes control bits as letters for log lines, lowest bit first.
 *
 * @param flags the control bits, 0..255
 * @returns for example `"SA"` for SYN and ACK, `"-"` for none
 */
export function formatTcpFlags(flags: number): string {
  let text = "";
  for (let bit = 0; bit < 8; bit++) {
    if ((flags & (1 << bit)) !== 0) text += LETTERS[bit];
  }
  return text === "" ? "-" : text;
}
