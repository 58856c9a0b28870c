/** The README's table of switches and the tests of the switches say the same. */

import assert from "node:assert/strict";
import { interceptRows } from "./intercept_rows.ts";
import { tcpcopyRows } from "./tcpcopy_rows.ts";

const readme = Deno.readTextFileSync(new URL("../../README.md", import.meta.url));

/** First and second column of the table under a heading, without their code marks. */
function tableUnder(heading: string): string[] {
  const from = readme.indexOf(`\n${heading}\n`);
  assert.notEqual(from, -1, `the README has no "${heading}"`);
  const section = readme.slice(from + heading.length + 2).split(/\n#/, 1)[0];
  return section.split("\n").filter((line) => /^\| `/.test(line)).map((line) => {
    const [, original, ours] = line.split("|").map((cell) => cell.replaceAll("`", "").trim());
    return `${original} → ${ours}`;
  });
}

for (const [program, rows] of [["tcpcopy", tcpcopyRows], ["intercept", interceptRows]] as const) {
  Deno.test(`every row of the README's table of ${program} has a test, and every test a row`, () => {
    const table = tableUnder(`### From the original: ${program}`);
    assert.deepEqual(table.sort(), rows.map((row) => `${row.original} → ${row.ours}`).sort());
  });
}
