/** What the command lines of all programs have in common. */

import type { Parser } from "@optique/core/parser";
import { message } from "@optique/core/message";
import type { Message } from "@optique/core/message";
import { run } from "@optique/run";
import { versionText } from "../version.ts";

export { message };
export type { Message };

/** How a program presents itself. */
export interface ProgramText {
  name: string;
  brief: Message;
  description?: Message;
  examples?: Message;
}

/**
 * Reads the command line. For `-h`, `-v` and mistakes it prints and ends the process; mistakes are
 * one line on standard error and exit code 1.
 */
export function readCommandLine<T>(parser: Parser<"sync", T, unknown>, text: ProgramText): T {
  return run(parser, {
    programName: text.name,
    args: Deno.args,
    help: { option: { names: ["-h", "--help"] } },
    version: { value: `${text.name} ${versionText()}`, option: { names: ["-v", "--version"] } },
    completion: { option: true },
    aboveError: "none",
    stderr: (lines) => console.error(toOneLine(text.name, lines)),
    brief: text.brief,
    description: text.description,
    examples: text.examples,
    showDefault: true,
    maxWidth: 100,
  });
}

/** A mistake in the command line as one line that ends with where to look. */
function toOneLine(name: string, lines: string): string {
  const text = lines.replace(/^Error: /, "").replace(/\s*\n\s*/g, " ").trim();
  return `${name}: ${text} See ${name} --help.`;
}
