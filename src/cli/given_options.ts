/**
 * Options as they were given, in a file or on the command line, before their values are looked at.
 * Pure.
 *
 * The command line is read the way getopt(3) does it for the original: values may stick to short
 * names (`-p36524`), flags may be bundled (`-dL`), and of an option given twice the last one counts.
 */

import { closest } from "../closest.ts";
import { maskSecrets } from "../secrets.ts";
import { UsageError } from "./fatal.ts";
import type { OptionEntry, OptionTable } from "./option_table.ts";

/** Values by key; a flag has the value "true". */
export type GivenOptions = Map<string, string[]>;

/** What a command line says. */
export interface ReadArguments {
  given: GivenOptions;
  /** What belongs to no known option, in its order. */
  rest: string[];
}

/** Sorts a command line into options and the rest. */
export function readArguments(args: readonly string[], table: OptionTable): ReadArguments {
  const given: GivenOptions = new Map();
  const rest: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === "--") {
      rest.push(...args.slice(i));
      break;
    }
    if (arg.startsWith("--")) {
      const equals = arg.indexOf("=");
      const entry = table.find(equals < 0 ? arg : arg.slice(0, equals));
      if (entry === undefined) rest.push(...equals < 0 ? [arg] : splitAt(arg, equals));
      else if (equals >= 0) put(given, entry, arg.slice(equals + 1));
      else if (!entry.takesValue) put(given, entry, "true");
      else if (i + 1 < args.length) put(given, entry, args[++i]);
      else rest.push(arg);
    } else if (arg.length > 1 && arg[0] === "-") {
      i += readShort(args, i, table, given, rest);
    } else rest.push(arg);
  }
  return { given, rest };
}

function splitAt(arg: string, equals: number): string[] {
  return [arg.slice(0, equals), arg.slice(equals + 1)];
}

/** Reads a bundle of short options; returns how many further arguments it took. */
function readShort(
  args: readonly string[],
  at: number,
  table: OptionTable,
  given: GivenOptions,
  rest: string[],
): number {
  const bundle = args[at];
  for (let i = 1; i < bundle.length; i++) {
    const entry = table.find(`-${bundle[i]}`);
    if (entry === undefined) {
      rest.push(i === 1 ? bundle : `-${bundle.slice(i)}`);
      return 0;
    }
    if (!entry.takesValue) {
      put(given, entry, "true");
      continue;
    }
    if (i + 1 < bundle.length) {
      put(given, entry, bundle.slice(i + 1));
      return 0;
    }
    if (at + 1 < args.length) {
      put(given, entry, args[at + 1]);
      return 1;
    }
    rest.push(`-${bundle[i]}`);
  }
  return 0;
}

function put(given: GivenOptions, entry: OptionEntry, value: string): void {
  const before = given.get(entry.key);
  if (entry.isRepeatable && before !== undefined) before.push(value);
  else given.set(entry.key, [value]);
}

/** Options as a command line again, every value stuck to its name. */
export function toArguments(given: GivenOptions, table: OptionTable): string[] {
  const args: string[] = [];
  for (const [key, values] of given) {
    const entry = table.find(`--${key}`);
    for (const value of values) {
      if (entry?.takesValue) args.push(`--${key}=${value}`);
      // Said to be off, which a configuration file may have said to be on.
      else if (value === "true") args.push(`--${key}`);
      else if (value !== "false") {
        throw new UsageError(`--${key}: expected true or false, got "${value}"`);
      }
    }
  }
  return args;
}

/** Options that may stand on the command line only. */
const NOT_IN_FILE = new Set(["config", "print-config"]);

/**
 * Reads a configuration file: a JSON object with the long option names as keys. A list becomes one
 * value with commas, or several where an option may be given several times.
 *
 * @param path the file's name, for the messages
 * @throws UsageError for anything else
 */
export function readConfiguration(text: string, path: string, table: OptionTable): GivenOptions {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${path}: expected JSON: ${(error as Error).message}`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new UsageError(`${path}: expected a JSON object, such as {"percentage": 50}`);
  }
  const given: GivenOptions = new Map();
  for (const [key, value] of Object.entries(parsed)) {
    const entry = NOT_IN_FILE.has(key) ? undefined : table.find(`--${key}`);
    if (entry === undefined) throw unknownKey(key, path, table);
    given.set(key, valuesOf(value, entry, path));
  }
  return given;
}

function unknownKey(key: string, path: string, table: OptionTable): UsageError {
  const keys = table.entries.map((entry) => entry.key).filter((known) => !NOT_IN_FILE.has(known));
  const meant = table.find(`-${key.replace(/^-+/, "")}`)?.key ??
    closest(key.replace(/^-+/, "").replaceAll("_", "-"), keys);
  const advice = meant === undefined
    ? `the keys are the long option names: ${keys.join(", ")}`
    : `did you mean "${meant}"?`;
  return new UsageError(`${path}: unknown key "${key}"; ${advice}`);
}

function valuesOf(value: unknown, entry: OptionEntry, path: string): string[] {
  const where = `${path}: "${entry.key}"`;
  if (!entry.takesValue) {
    if (typeof value === "boolean") return [String(value)];
    throw new UsageError(`${where}: expected true or false, got ${JSON.stringify(value)}`);
  }
  const items = Array.isArray(value) ? value : [value];
  const isGood = items.length > 0 &&
    items.every((item) =>
      typeof item === "string" || (typeof item === "number" && Number.isFinite(item))
    );
  if (!isGood) {
    throw new UsageError(
      `${where}: expected a string, a number or a list of them, got ${JSON.stringify(value)}`,
    );
  }
  return entry.isRepeatable ? items.map(String) : [items.join(",")];
}

/** All options in force, given or by default, as the text of a configuration file, without secrets. */
export function formatConfiguration(given: GivenOptions, table: OptionTable): string {
  const result: Record<string, unknown> = {};
  const defaults = table.defaults();
  for (const entry of table.entries) {
    if (NOT_IN_FILE.has(entry.key)) continue;
    const byDefault = defaults.get(entry.key);
    const values = given.get(entry.key) ?? (byDefault === undefined ? undefined : [byDefault]);
    if (!entry.takesValue) result[entry.key] = values?.[0] === "true";
    else if (values !== undefined) {
      const typed = values.map(typedValue);
      result[entry.key] = entry.isRepeatable ? typed : typed[0];
    }
  }
  return JSON.stringify(maskSecrets(result), undefined, 2);
}

/** A number where the text is the usual form of one. */
function typedValue(text: string): string | number {
  const number = Number(text);
  return String(number) === text && Number.isSafeInteger(number) ? number : text;
}
