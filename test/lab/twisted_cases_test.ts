/** Unit tests of how workloads and twists are combined. */

import assert from "node:assert/strict";
import { cases } from "./cases.ts";
import { serviceCases } from "./service_cases.ts";
import { combinations, twistedCases } from "./twisted_cases.ts";

Deno.test("a twist is run with every workload that can have it, the untwisted one first", () => {
  const names = combinations(["half"]).map(({ name }) => name);
  assert.deepEqual(names.slice(0, 3), ["keepalive/equal", "keepalive/half", "short/equal"]);
  assert.deepEqual(names.slice(-2), ["nginx-rate/equal", "nginx-rate/half"]);
  assert(!combinations(["pieces5"]).some(({ name }) => name === "nginx-rate/pieces5"));
  assert.equal(combinations(["all"]).length, twistedCases.size);
});

Deno.test("workloads can be chosen; what there is not is refused", () => {
  const names = combinations(["half", "empty"], ["pipelined"]).map(({ name }) => name);
  assert.deepEqual(names, ["pipelined/equal", "pipelined/half", "pipelined/empty"]);
  assert.throws(() => combinations(["third"]), /no twisted case with third/);
  assert.throws(() => combinations(["half"], ["upload"]), /no twisted case with upload/);
});

Deno.test("a twist's own reply length is what clients ask for", () => {
  const [workload] = twistedCases.get("keepalive/empty")?.plan.workloads ?? [];
  assert.deepEqual(workload.replyBytes, [4096, 4096]);
});

Deno.test("cases that are no part of the matrix have names of their own", () => {
  for (const name of [...twistedCases.keys(), ...serviceCases.keys()]) assert(!cases.has(name));
});
