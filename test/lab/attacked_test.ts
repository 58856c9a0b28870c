/**
 * Somebody sends packets in others' names while clients are replayed: all arrives exactly, nothing
 * else does. With the dose of a real attack:
 * `deno run -A test/lab/run.ts --case attacked/syns --attack 200000@20000`.
 */

import assert from "node:assert/strict";
import { attackedCases } from "./attacked_cases.ts";
import { requirePrograms } from "./hosts.ts";
import { runCase } from "./run_case.ts";

for (const [name, { title }] of attackedCases) {
  Deno.test(`lab: ${name}, ${title}`, async () => {
    requirePrograms(["ip", "nsenter", "unshare", "ethtool"]);
    const { share, problems, figures } = await runCase(name, []);
    assert.equal(share, 1, problems.join("\n"));
    assert.deepEqual(problems, []);
    const { attackPackets, targetConnections, onlineConnections } = figures!;
    assert.ok(attackPackets >= 20_000, `${attackPackets} packets of the attack left`);
    assert.ok(targetConnections <= onlineConnections, `${targetConnections} at the target`);
  });
}
