/** All switches of tcpcopy. */

import { captureRows } from "./capture_rows.ts";
import { processRows } from "./process_rows.ts";
import type { Row } from "./row.ts";
import { sessionRows } from "./session_rows.ts";

export const tcpcopyRows: readonly Row[] = [
  ...sessionRows,
  ...captureRows,
  ...processRows,
];
