/** Unit tests of how calls of commands are counted and compared. */

import assert from "node:assert/strict";
import { compareCalls, parseCommandCalls } from "./redis.ts";

const text = [
  "$300",
  "# Commandstats",
  "cmdstat_set:calls=60000,usec=30000,usec_per_call=0.50,rejected_calls=0,failed_calls=0",
  "cmdstat_config|get:calls=2,usec=50,usec_per_call=25.00,rejected_calls=0,failed_calls=0",
  "cmdstat_info:calls=3,usec=50,usec_per_call=25.00,rejected_calls=0,failed_calls=0",
  "",
].join("\r\n");

Deno.test("calls are read by command, without those for the count itself", () => {
  assert.deepEqual([...parseCommandCalls(text)], [["set", 60000], ["config|get", 2]]);
});

Deno.test("calls that are missing, or too many, are said", () => {
  const online = new Map([["set", 100], ["get", 100]]);
  assert.deepEqual(compareCalls(online, online), { calls: 200, share: 1, differences: [] });
  const { share, differences } = compareCalls(online, new Map([["set", 101], ["incr", 1]]));
  assert.equal(share, 0.5);
  assert.deepEqual(differences, [
    "set: 100 calls online, 101 on the target",
    "get: 100 calls online, 0 on the target",
    "incr: 0 calls online, 1 on the target",
  ]);
});
