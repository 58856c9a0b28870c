/** How the programs end when something is wrong: one clear line, exit code 1. */

import { Errno, SystemError } from "../../ffi/errno.ts";
import { InvariantError } from "../../ffi/invariant.ts";

const FAULTS: ReadonlySet<number> = new Set([Errno.EBADF, Errno.EFAULT]);

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
    console.error(describeFatal(program, error));
  }
  Deno.exit(code);
}

/** What nobody caught in a worker, which is a fault; its stack is not told, only where it was. */
export function faultOfWorker(name: string, event: ErrorEvent): InvariantError {
  return new InvariantError(`${name}: ${event.message} (${event.filename}:${event.lineno})`);
}

/** What is written about an error that ends the program. */
export function describeFatal(program: string, error: unknown): string {
  return `${program}: ${describeError(error)}`;
}

/** Why a program ends, in one line; a fault of the program with its stack. */
export function describeError(error: unknown): string {
  if (error instanceof Error && !isFault(error)) return error.message;
  const stack = error instanceof Error ? error.stack : String(error);
  return `this is a fault of the program, please report it: ${stack}`;
}

/** Whether something does not hold that users and networks cannot be the cause of. */
function isFault(error: Error): boolean {
  // Descriptors and addresses that the kernel does not know are the program's own.
  if (error instanceof SystemError) return FAULTS.has(error.errno);
  return error instanceof TypeError || error instanceof RangeError ||
    error instanceof ReferenceError;
}
