/** What a misspelt word was to be. Pure. */

/**
 * The known word most like a misspelt one, for "did you mean"; `undefined` when none is close.
 * Pairs of letters swapped, letters lost, added or changed count one each, up to a third of the word.
 */
export function closest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.ceil(word.length / 3) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Damerau's edit distance, of adjacent swaps. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + change);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2][j - 2] + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}

/**
 * Says what is wrong with the name of a setting.
 *
 * @param expected what there could be instead
 * @returns `undefined` when it is known
 */
export function unknownName(
  name: string,
  known: readonly string[],
  expected = known.join(", "),
): string | undefined {
  if (known.includes(name)) return undefined;
  const meant = closest(name, known);
  return `unknown key "${name}"; ` +
    (meant === undefined ? `expected ${expected}` : `did you mean "${meant}"?`);
}
