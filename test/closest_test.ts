import assert from "node:assert/strict";
import { closest, unknownName } from "../src/closest.ts";

Deno.test("the closest word is close", () => {
  assert.equal(closest("percentgae", ["percentage", "port"]), "percentage");
  assert.equal(closest("Port", ["percentage", "port"]), "port");
  assert.equal(closest("transfer", ["percentage", "port"]), undefined);
});

Deno.test("an unknown name is told with what was meant, or with what there is", () => {
  const known = ["switch", "interval"];
  assert.equal(unknownName("switch", known), undefined);
  assert.equal(unknownName("swich", known), 'unknown key "swich"; did you mean "switch"?');
  assert.equal(unknownName("x", known), 'unknown key "x"; expected switch, interval');
  assert.equal(unknownName("x", known, "{…}"), 'unknown key "x"; expected {…}');
});
