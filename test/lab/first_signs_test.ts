/** A replay that cannot work says why, between real kernels: `deno run -A test/lab/first_signs.ts`. */

import assert from "node:assert/strict";
import { runFirstSigns } from "./first_signs.ts";
import { requirePrograms } from "./hosts.ts";

Deno.test("lab: a forgotten route, a wrong filter, a wrong device and a wrong port are told", async () => {
  requirePrograms(["ip", "nsenter", "unshare", "ethtool"]);
  const result = await runFirstSigns();
  // How soon is not judged on a machine that may be busy; the unit tests know the seconds.
  assert.deepEqual(
    Object.fromEntries(
      Object.entries(result).map(([name, signs]) => [name, Object.keys(signs).sort()]),
    ),
    {
      "route and port": ["answers", "port", "route"],
      "filter": ["filter"],
      "filter, on the target": ["filter"],
      "device": ["device"],
    },
  );
});
