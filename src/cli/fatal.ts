/** How the programs end when something is wrong: one clear line, exit code 1. */

import { SystemError } from "../../ffi/errno.ts";

/** A mistake the user can correct; its message is the whole story. */
export class UsageError extends Error {}

/**
 * Runs a program's main function and ends the process with its exit code.
 *
 * An Error with a message made for people becomes one line on standard error; anything else is a
 * fault of the program and keeps its stack.
 */
export async function runMain(program: string, main: () => Promise<number>): Promise<never> {
  let code = 1;
  try {
    code = await main();
  } catch (error) {
    console.error(`${program}: ${describeError(error)}`);
  }
  Deno.exit(code);
}

/** Why a program ends, in one line; a fault of the program with its stack. */
export function describeError(error: unknown): string {
  const isFault = error instanceof TypeError || error instanceof RangeError ||
    error instanceof ReferenceError || !(error instanceof Error);
  if (!isFault || error instanceof SystemError) return (error as Error).message;
  const stack = error instanceof Error ? error.stack : String(error);
  return `this is a fault of the program, please report it: ${stack}`;
}
