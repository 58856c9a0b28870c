/** One row of the README's table of switches, with the test that uses the switch. Pure. */

import type { Stage } from "./stage.ts";

export interface Row {
  program: "tcpcopy" | "intercept";
  /** The original's switch, or that of its configure script, as the table has it: `-x`, `--single`. */
  original: string;
  /** Ours, as the table has it. */
  ours: string;
  /** Uses the switch and looks at what it does; throws when that is not right. */
  test(stage: Stage): Promise<void>;
}
