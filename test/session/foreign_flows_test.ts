import assert from "node:assert/strict";
import { ForeignFlows } from "../../src/session/foreign_flows.ts";

Deno.test("a flow that is deleted and comes again is remembered from then on", () => {
  const flows = new ForeignFlows(1000);
  flows.add(1, 1, 0);
  flows.delete(1, 1);
  flows.add(1, 1, 900);
  flows.add(2, 2, 1100); // the first entry's time has come
  assert.ok(flows.has(1, 1));
  flows.add(3, 3, 2200);
  assert.ok(flows.has(1, 1), "it was heard at 1100");
  flows.add(3, 3, 3300);
  flows.add(3, 3, 4400);
  flows.add(3, 3, 5500);
  assert.ok(!flows.has(1, 1));
  assert.equal(flows.size, 1);
});
