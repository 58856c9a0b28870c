/**
 * Runs the tests of the switches one after the other in a sandbox; for `switches_test.ts`, or by hand:
 *
 *     deno run -A test/switches/inside.ts [PART OF A NAME]
 *
 * Prints a line of JSON for each: its name, and an error if there was one.
 */

import { isInside, runInside, watchParent } from "../lab/enter.ts";
import { interceptRows } from "./intercept_rows.ts";
import { manyCases } from "./many.ts";
import { Stage } from "./stage.ts";
import { tcpcopyRows } from "./tcpcopy_rows.ts";

/** How one came out. */
export interface SwitchResult {
  name: string;
  error?: string;
  seconds: number;
}

/** All tests by name. */
export const switchTests: ReadonlyMap<string, (stage: Stage) => Promise<void>> = new Map([
  ...[...tcpcopyRows, ...interceptRows].map((row) =>
    [`${row.program} ${row.original}`, row.test] as const
  ),
  ...manyCases.map(({ name, test }) => [name, test] as const),
]);

async function main(part: string): Promise<void> {
  const stage = await Stage.open();
  watchParent(() => stage.close());
  try {
    for (const [name, test] of switchTests) {
      if (!name.includes(part)) continue;
      const startMs = performance.now();
      let error: string | undefined;
      try {
        await test(stage);
      } catch (caught) {
        error = caught instanceof Error ? caught.stack ?? caught.message : String(caught);
      }
      const seconds = Math.round((performance.now() - startMs) / 100) / 10;
      console.log(JSON.stringify({ name, error, seconds } satisfies SwitchResult));
    }
  } finally {
    await stage.close();
  }
}

if (import.meta.main) {
  try {
    if (isInside()) {
      await main(Deno.args[0] ?? "");
      Deno.exit(0);
    }
    Deno.exit(await runInside(new URL(import.meta.url).pathname, Deno.args));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(2);
  }
}
