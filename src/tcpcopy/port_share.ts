/** The value of `-f`: how several instances of tcpcopy share the source ports. Pure. */

import { UsageError } from "../cli/fatal.ts";

/** Which source ports an instance uses; see SessionConfig. */
export interface PortShare {
  portShift: number;
  portClass: number;
  portClasses: number;
}

const PORT_STEP = 2048;
const MAX_FACTOR = 1023;
const MAX_CLASSES = 64;

/** Reads the value of `-f`: a factor, or which of how many instances this is. */
export function parsePorts(text: string): PortShare {
  const match = /^(\d{1,4})(?:\/(\d{1,3}))?$/.exec(text);
  const first = Number(match?.[1]);
  if (match !== null && match[2] === undefined && first <= MAX_FACTOR) {
    return { portShift: first * PORT_STEP, portClass: 0, portClasses: 1 };
  }
  const classes = Number(match?.[2]);
  if (match !== null && classes >= 1 && classes <= MAX_CLASSES && first < classes) {
    return { portShift: 0, portClass: first, portClasses: classes };
  }
  throw new UsageError(
    `-f "${text}": expected a number up to ${MAX_FACTOR}, or which of how many instances this is, ` +
      `such as 0/2 and 1/2, of at most ${MAX_CLASSES}`,
  );
}
