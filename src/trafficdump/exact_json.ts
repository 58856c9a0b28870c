/**
 * JSON that is passed on: numbers stand as they came, whatever their size, and objects can be written
 * as Go's encoding/json writes them, byte for byte. Pure.
 */

/** Deeper nesting is no data, and could exhaust the stack of everybody who reads it. */
const MAX_DEPTH = 100;

/** JSON.rawJSON and its like (ECMAScript proposal "JSON.parse source text access"). */
const json = JSON as unknown as {
  parse(
    text: string,
    revive: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
  isRawJSON(value: unknown): value is { readonly rawJSON: string };
};

/**
 * Parses a text. A number that JavaScript would write otherwise, such as 12345678901234567890 or 1.0,
 * becomes an object that `JSON.stringify` and `goJson` write as it came.
 *
 * @throws SyntaxError for what is no JSON
 */
export function parseExactly(text: string): unknown {
  return json.parse(text, (_key, value, { source }) => {
    if (typeof value !== "number" || source === undefined || source === String(value)) return value;
    return json.rawJSON(source);
  });
}

/**
 * Writes a JSON value as Go's `json.Marshal` does a map (Go 1.18, which Layotto is built with): keys in
 * the order of their bytes, and what could end a script in HTML as an escape.
 */
export function goJson(value: unknown): string {
  if (typeof value === "string") return goString(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (json.isRawJSON(value)) return value.rawJSON;
  if (Array.isArray(value)) return `[${value.map(goJson).join(",")}]`;
  const fields = Object.entries(value).sort(([a], [b]) => compareCodePoints(a, b));
  return `{${fields.map(([name, one]) => `${goString(name)}:${goJson(one)}`).join(",")}}`;
}

/** What JSON.stringify has escaped, and what Go escapes besides. */
const ESCAPED = /\\u[0-9a-f]{4}|\\.|[<>&\u2028\u2029]/g;

function goString(text: string): string {
  return JSON.stringify(text).replace(ESCAPED, (piece) => {
    if (piece === "\\b") return "\\u0008";
    if (piece === "\\f") return "\\u000c";
    // Half a pair of surrogates is no character; Go has replaced it when it read it.
    if (piece.startsWith("\\ud")) return "\ufffd";
    if (piece.startsWith("\\")) return piece;
    return `\\u${piece.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The order of UTF-8's bytes, which is not that of JavaScript's strings. */
function compareCodePoints(a: string, b: string): number {
  const [ones, others] = [[...a], [...b]];
  const shorter = Math.min(ones.length, others.length);
  for (let i = 0; i < shorter; i++) {
    const difference = ones[i].codePointAt(0)! - others[i].codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return ones.length - others.length;
}

/**
 * Refuses what is nested deeper than 100 levels, by its brackets and without recursion.
 *
 * @throws RangeError
 */
export function assertDepth(text: string): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (inString) {
      if (character === "\\") i++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (depth > MAX_DEPTH) throw new RangeError(`it is nested deeper than ${MAX_DEPTH} levels`);
  }
}
