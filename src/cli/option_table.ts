/**
 * The options of a program as data: their names, and whether they take a value. Read off the parser
 * of its command line, so that a configuration file knows every option there is. Pure.
 */

import { formatMessage } from "@optique/core/message";
import { getDocPageSync, type Parser } from "@optique/core/parser";
import type { Usage } from "@optique/core/usage";

/** One option. */
export interface OptionEntry {
  /** The long name without dashes; the key in a configuration file. */
  key: string;
  takesValue: boolean;
  /** Whether it may be given several times. */
  isRepeatable: boolean;
}

/** All options of a program. */
export class OptionTable {
  readonly entries: readonly OptionEntry[];
  readonly #byName = new Map<string, OptionEntry>();
  readonly #parser: Parser<"sync", unknown, unknown>;

  constructor(parser: Parser<"sync", unknown, unknown>) {
    this.#parser = parser;
    const entries: OptionEntry[] = [];
    const visit = (usage: Usage, isRepeatable: boolean): void => {
      for (const term of usage) {
        if (term.type === "optional" || term.type === "multiple") {
          visit(term.terms, isRepeatable || term.type === "multiple");
        } else if (term.type === "exclusive") {
          for (const terms of term.terms) visit(terms, isRepeatable);
        } else if (term.type === "option") {
          const long = term.names.find((name) => name.startsWith("--")) ?? term.names[0];
          if (this.#byName.has(long)) continue;
          const entry = {
            key: long.replace(/^-+/, ""),
            takesValue: term.metavar !== undefined,
            isRepeatable,
          };
          entries.push(entry);
          for (const name of term.names) this.#byName.set(name, entry);
        }
      }
    };
    visit(parser.usage, false);
    this.entries = entries;
  }

  /** The option with this name, dashes included. */
  find(name: string): OptionEntry | undefined {
    return this.#byName.get(name);
  }

  /** By key, the values in force when an option is not given, as they would be given. */
  defaults(): Map<string, string> {
    const defaults = new Map<string, string>();
    for (const section of getDocPageSync(this.#parser)?.sections ?? []) {
      for (const { term, default: given } of section.entries) {
        if (term.type !== "option" || given === undefined) continue;
        const key = this.find(term.names[0])?.key;
        const text = formatMessage(given, { colors: false, quotes: false });
        if (key !== undefined) defaults.set(key, text);
      }
    }
    return defaults;
  }
}
