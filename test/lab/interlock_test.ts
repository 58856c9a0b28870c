/**
 * What keeps a replay from real clients and from going round, between real kernels.
 *
 * One alone, with its figures: `deno run -A test/lab/interlock.ts unrouted`.
 */

import assert from "node:assert/strict";
import { requirePrograms } from "./hosts.ts";
import { runInterlock } from "./interlock.ts";

const titles: Record<string, string> = {
  unrouted: "without -c and without routes real clients get the answers to probes only",
  removed: "routes that vanish stop the replay, until they are back",
  forwarded: "an assistant that forwards to real clients is found out by the probe",
  loop: "two tcpcopies whose targets are each other's services come to an end",
  terminated: "SIGTERM stops at once, and resets what is open at the target",
};

for (const [name, title] of Object.entries(titles)) {
  Deno.test(`lab: ${title}`, async () => {
    requirePrograms(["ip", "nsenter", "unshare", "ethtool", "nft"]);
    const { problems } = await runInterlock(name);
    assert.deepEqual(problems, []);
  });
}
