/**
 * Understands the ledger tcpcopy prints when it ends. Pure.
 */

/** What became of the sessions. */
export interface LedgerText {
  sessions: number;
  /** Sessions by outcome, as the ledger names it. */
  outcomes: Record<string, number>;
  /** The lines after the requests: how far they were behind, and what was unusual. */
  troubles: string[];
}

/** Finds the ledger in the program's output; `undefined`: there is none. */
export function readLedger(output: string): LedgerText | undefined {
  const lines = output.split("\n");
  const first = lines.findLastIndex((line) => /^sessions {2,}[\d,]+$/.test(line));
  if (first < 0) return undefined;
  const ledger: LedgerText = { sessions: numberAtEnd(lines[first]), outcomes: {}, troubles: [] };
  let isAfterRequests = false;
  for (const line of lines.slice(first + 1)) {
    if (/^(bytes|packets|cpu|memory|requests) /.test(line)) {
      isAfterRequests = line.startsWith("requests");
    } else if (!line.startsWith("  ")) break;
    else if (isAfterRequests) ledger.troubles.push(line.trim());
    else if (!line.startsWith("  (")) {
      const [, name, count] = /^ {2}(.*?) +([\d,]+)$/.exec(line) ?? [];
      if (name !== undefined) ledger.outcomes[name] = numberAtEnd(count);
    }
  }
  return ledger;
}

function numberAtEnd(line: string): number {
  return Number(line.split(" ").pop()?.replaceAll(",", ""));
}

/** What is wrong with it, one entry each: sessions that did not arrive whole, a sum that is not right. */
export function ledgerProblems(ledger: LedgerText): string[] {
  const problems: string[] = [];
  let sum = 0;
  for (const [name, count] of Object.entries(ledger.outcomes)) {
    sum += count;
    if (name !== "complete" && name !== "continued" && count > 0) problems.push(`${count} ${name}`);
  }
  if (sum !== ledger.sessions) problems.push(`${sum} outcomes of ${ledger.sessions} sessions`);
  return problems;
}
