import assert from "node:assert/strict";
import { PortraitError, readPortrait } from "../../src/trafficdump/portrait.ts";

const good = { businessType: "RPC", port: 8080, data: { a: 1 } };

Deno.test("a report is taken, the port as a number, as text or not at all", () => {
  assert.deepEqual(readPortrait(good), { ...good, port: "8080" });
  assert.equal(readPortrait({ ...good, port: "65535" }).port, "65535");
  const { port: _, ...less } = good;
  assert.equal(readPortrait(less).port, "");
  for (const data of [[1], "text", 0, false]) {
    assert.deepEqual(readPortrait({ ...good, data }).data, data);
  }
});

for (
  const [what, body, reason] of [
    ["null", null, /expected a JSON object .*came null/],
    ["an array", [good], /expected a JSON object .*came \[/],
    ["a text", "RPC", /expected a JSON object .*came "RPC"/],
    ["no type", { data: 1 }, /businessType: .*came nothing/],
    ["a type with spaces", { ...good, businessType: "a b" }, /businessType: .*came "a b"/],
    ["no data", { businessType: "RPC" }, /data: .*came nothing/],
    ["null as data", { ...good, data: null }, /data: .*came null/],
    ["port 0", { ...good, port: 0 }, /port: expected a number from 1 to 65535, came 0/],
    ["port 65536", { ...good, port: 65_536 }, /port: .*came 65536/],
    ["port 80.5", { ...good, port: 80.5 }, /port: .*came 80.5/],
    ["null as port", { ...good, port: null }, /port: .*came null/],
    ["an array as port", { ...good, port: [8080] }, /port: .*came \[8080\]/],
    ["an empty port", { ...good, port: "" }, /port: .*came ""/],
    ["a port with zeros", { ...good, port: "080" }, /port: .*came "080"/],
    ["a misspelt field", { ...good, prot: 80 }, /unknown key "prot"; did you mean "port"\?/],
    ["an unknown field", { ...good, colour: 1 }, /unknown key "colour"; expected \{/],
  ] as const
) {
  Deno.test(`portrait data: ${what} is refused with the reason`, () => {
    assert.throws(() => readPortrait(body), (error) => {
      assert.ok(error instanceof PortraitError);
      assert.match(error.message, reason);
      return true;
    });
  });
}
