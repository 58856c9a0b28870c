/** What the command lines of all programs have in common. */

import { object } from "@optique/core/constructs";
import type { Message } from "@optique/core/message";
import { formatMessage, message } from "@optique/core/message";
import { optional } from "@optique/core/modifiers";
import { type Parser, parseSync } from "@optique/core/parser";
import { option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { run } from "@optique/run";
import { versionText } from "../version.ts";
import { UsageError } from "./fatal.ts";
import {
  formatConfiguration,
  type GivenOptions,
  readArguments,
  readConfiguration,
  toArguments,
} from "./given_options.ts";
import { OptionTable } from "./option_table.ts";

export { message };
export type { Message };

/** How a program presents itself. */
export interface ProgramText {
  name: string;
  brief: Message;
  description?: Message;
  examples?: Message;
}

/** The options for configuration files; a program merges them into its own. */
export const configuration = object("Configuration", {
  config: optional(
    option("--config", string({ metavar: "FILE" }), {
      description:
        message`Take options from this JSON file, by their long names: {"percentage": 50}. The command line wins. SIGHUP reads it again.`,
    }),
  ),
  printConfig: option("--print-config", {
    description: message`Print all options in force as such a file, and exit.`,
  }),
});

/** What every parser with `configuration` merged in yields. */
interface WithConfiguration {
  readonly config: string | undefined;
  readonly printConfig: boolean;
}

/** The options of a program, from its configuration file and its command line. */
export interface Settings<T> {
  /** What the parser made of them. */
  readonly given: T;
  /** The same as text, by key. */
  readonly options: GivenOptions;
  /** The configuration file, if there is one. */
  readonly path: string | undefined;
  /** All options in force as the text of a configuration file. */
  format(): string;
  /**
   * Reads the configuration file again, with the same command line.
   *
   * @throws UsageError when it can no longer be used
   */
  reread(): Settings<T>;
}

/** The largest configuration file that is read. */
const MAX_FILE_BYTES = 1 << 20;

/**
 * Reads the command line and the configuration file it may name. For `-h`, `-v` and mistakes in the
 * options' form it prints and ends the process; mistakes are one line on standard error and exit
 * code 1.
 *
 * @throws UsageError for a configuration file that cannot be used
 */
export function readSettings<T extends WithConfiguration>(
  parser: Parser<"sync", T, unknown>,
  text: ProgramText,
): Settings<T> {
  const table = new OptionTable(parser);
  const { given, rest } = readArguments(Deno.args, table);
  const path = given.get("config")?.[0];
  const options = merge(path, given, table);
  return settingsOf(
    runParser(parser, [...toArguments(options, table), ...rest], text, path),
    options,
  );

  function settingsOf(value: T, options: GivenOptions): Settings<T> {
    return {
      given: value,
      options,
      path,
      format: () => formatConfiguration(options, table),
      reread: () => {
        const options = merge(path, given, table);
        const result = parseSync(parser, toArguments(options, table));
        if (result.success) return settingsOf(result.value, options);
        throw new UsageError(formatMessage(result.error, { colors: false }));
      },
    };
  }
}

/**
 * Reads the command line of a program without a configuration file of this kind; ends the process for
 * `-h`, `-v` and mistakes, as `readSettings` does.
 */
export function readCommandLine<T>(parser: Parser<"sync", T, unknown>, text: ProgramText): T {
  return runParser(parser, Deno.args, text, undefined);
}

function runParser<T>(
  parser: Parser<"sync", T, unknown>,
  args: readonly string[],
  text: ProgramText,
  path: string | undefined,
): T {
  return run(parser, {
    programName: text.name,
    args,
    help: { option: { names: ["-h", "--help"] } },
    version: { value: `${text.name} ${versionText()}`, option: { names: ["-v", "--version"] } },
    completion: { option: true },
    aboveError: "none",
    stderr: (lines) => console.error(toOneLine(text.name, lines, path)),
    brief: text.brief,
    description: text.description,
    examples: text.examples,
    showDefault: true,
    maxWidth: 100,
  });
}

/** The options of the file and those of the command line, which win. */
function merge(
  path: string | undefined,
  given: GivenOptions,
  table: OptionTable,
): GivenOptions {
  if (path === undefined) return given;
  return new Map([...readConfiguration(readFile(path), path, table), ...given]);
}

function readFile(path: string): string {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_FILE_BYTES) {
      throw new UsageError(`--config ${path}: ${size} bytes are no configuration file`);
    }
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--config ${path}: cannot be read: ${(error as Error).message}`);
  }
}

/** A mistake in the options as one line that ends with where to look. */
function toOneLine(name: string, lines: string, path: string | undefined): string {
  const text = lines.replace(/^Error: /, "").replace(/\s*\n\s*/g, " ").trim();
  const where = path === undefined ? "" : `, ${path}`;
  return `${name}: ${text} See ${name} --help${where}.`;
}
