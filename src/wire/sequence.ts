/**
 * Arithmetic on TCP sequence numbers (RFC 9293 section 3.4). Pure.
 *
 * Sequence numbers are carried as signed 32-bit integers everywhere, so that V8 keeps them as
 * small integers; only their difference modulo 2^32 has a meaning.
 */

/** How far `a` lies ahead of `b`: positive when `a` is newer, negative when it is older. */
export function seqDiff(a: number, b: number): number {
  return (a - b) | 0;
}

/** Whether `a` comes before `b`. */
export function seqLess(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** Whether `a` comes before `b` or is the same. */
export function seqLessEq(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

/** The newer of two sequence numbers. */
export function seqMax(a: number, b: number): number {
  return ((a - b) | 0) < 0 ? b : a;
}
