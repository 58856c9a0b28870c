/** All switches of tcpcopy. */

import { processRows } from "./process_rows.ts";
import type { Row } from "./row.ts";
import { sessionRows } from "./session_rows.ts";

export const tcpcopyRows: readonly Row[] = [...sessionRows, ...processRows];
