/** Command-line arguments of the lab's own programs: `--name value`, or `--name` alone. Pure. */

/**
 * Reads `--name value` pairs; of an option given more than once the last value counts.
 *
 * @param names the options that take a value
 * @param switches the options that take none; they get the value "true"
 * @param lists those of `names` whose values, given more than once, are joined by commas
 * @throws Error for anything else
 */
export function parseArguments(
  args: readonly string[],
  names: readonly string[],
  switches: readonly string[] = [],
  lists: readonly string[] = [],
): Map<string, string> {
  const values = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const name = args[i].replace(/^--/, "");
    if (args[i].startsWith("--") && switches.includes(name)) {
      values.set(name, "true");
    } else if (args[i].startsWith("--") && names.includes(name)) {
      if (i + 1 >= args.length) throw new Error(`option --${name} needs a value`);
      const before = lists.includes(name) ? values.get(name) : undefined;
      i++;
      values.set(name, before === undefined ? args[i] : `${before},${args[i]}`);
    } else {
      const known = [...names.map((n) => `--${n} VALUE`), ...switches.map((n) => `--${n}`)];
      throw new Error(`unknown argument ${args[i]}: expected one of ${known.join(", ")}`);
    }
  }
  return values;
}

/** The number given for `name`, or `fallback`. */
export function numberArgument(
  values: Map<string, string>,
  name: string,
  fallback: number,
): number {
  const text = values.get(name);
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text === "" || !Number.isFinite(value) || value < 0) {
    throw new Error(`option --${name}: expected a number, came "${text}"`);
  }
  return value;
}
