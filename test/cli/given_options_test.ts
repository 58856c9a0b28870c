import assert from "node:assert/strict";
import { merge, object } from "@optique/core/constructs";
import { multiple, optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";
import { UsageError } from "../../src/cli/fatal.ts";
import {
  formatConfiguration,
  readArguments,
  readConfiguration,
  toArguments,
} from "../../src/cli/given_options.ts";
import { OptionTable } from "../../src/cli/option_table.ts";

const table = new OptionTable(merge(
  object("one", {
    transfer: option("-x", "--transfer", string()),
    copies: withDefault(option("-n", "--copies", integer()), 1),
    tags: multiple(option("--tag", string())),
  }),
  object("two", {
    lonely: option("-L", "--lonely"),
    daemon: option("-d", "--daemon"),
    log: optional(option("-l", "--log-file", string())),
    config: optional(option("--config", string())),
  }),
));

const args = (...words: string[]) => {
  const { given, rest } = readArguments(words, table);
  return [...toArguments(given, table), ...rest];
};

Deno.test("a command line is read as getopt does it", () => {
  assert.deepEqual(args("-x80-a", "-n", "3"), ["--transfer=80-a", "--copies=3"]);
  assert.deepEqual(args("-dLn7"), ["--daemon", "--lonely", "--copies=7"]);
  assert.deepEqual(args("-n", "3", "--copies=4"), ["--copies=4"]);
  assert.deepEqual(args("--log-file", "-x"), ["--log-file=-x"]);
  assert.deepEqual(args("--tag", "a", "--tag=b"), ["--tag=a", "--tag=b"]);
});

Deno.test("what is not known is left as it stands, for the parser to refuse", () => {
  assert.deepEqual(args("--bogus=3", "-L"), ["--lonely", "--bogus", "3"]);
  assert.deepEqual(args("-z", "file", "-dz"), ["--daemon", "-z", "file", "-z"]);
  assert.deepEqual(args("--copies"), ["--copies"]);
  assert.deepEqual(args("-n"), ["-n"]);
  assert.deepEqual(args("--", "-L"), ["--", "-L"]);
  assert.deepEqual(args("-h", "-"), ["-h", "-"]);
});

Deno.test("a flag can be said to be off, and is true or false only", () => {
  assert.deepEqual(args("-d", "--daemon=false"), []);
  assert.throws(() => args("--daemon=maybe"), UsageError);
});

Deno.test("a configuration file: every kind of value", () => {
  const text = `{"transfer": ["80-a", "81-b"], "copies": 2, "tag": ["a", "b"],
    "lonely": true, "daemon": false}`;
  const given = readConfiguration(text, "f", table);
  assert.deepEqual(toArguments(given, table), [
    ...["--transfer=80-a,81-b", "--copies=2", "--tag=a", "--tag=b", "--lonely"],
  ]);
});

Deno.test("a configuration file: mistakes are one sentence with the file and the key", () => {
  const refused = (text: string, expected: RegExp) =>
    assert.throws(
      () => readConfiguration(text, "my.json", table),
      (error) => error instanceof UsageError && expected.test(error.message),
      text,
    );
  refused("{", /^my\.json: expected JSON/);
  refused("[]", /^my\.json: expected a JSON object/);
  refused(`{"copys": 1}`, /^my\.json: unknown key "copys"; did you mean "copies"\?$/);
  refused(`{"n": 1}`, /did you mean "copies"/);
  refused(`{"log_file": "a"}`, /did you mean "log-file"/);
  refused(`{"zzzzzz": 1}`, /the keys are .*transfer, copies/);
  refused(`{"config": "other"}`, /unknown key/);
  refused(`{"lonely": "yes"}`, /"lonely": expected true or false, got "yes"/);
  refused(`{"copies": null}`, /"copies": expected a string, a number or a list/);
  refused(`{"copies": []}`, /"copies": expected/);
});

Deno.test("what is printed is a configuration file that says the same", () => {
  const { given } = readArguments(["-x", "80-a", "-L", "--tag", "1", "--config", "c"], table);
  const text = formatConfiguration(given, table);
  assert.deepEqual(JSON.parse(text), {
    transfer: "80-a",
    copies: 1,
    tag: [1],
    lonely: true,
    daemon: false,
  });
  const again = readConfiguration(text, "f", table);
  assert.equal(formatConfiguration(again, table), text);
});

Deno.test("what is printed has no secrets in it", () => {
  const secretive = new OptionTable(object("one", {
    token: optional(option("--api-token", string())),
    server: optional(option("--server", string())),
  }));
  const words = ["--api-token", "hidden", "--server", "http://user:hidden@192.0.2.1/"];
  const { given } = readArguments(words, secretive);
  assert.deepEqual(JSON.parse(formatConfiguration(given, secretive)), {
    "api-token": "***",
    server: "http://user:***@192.0.2.1/",
  });
});
