/**
 * Strangers at intercept's port, with real kernels: whatever they do, everything arrives exactly.
 * At full strength: `deno run -A test/lab/run.ts --case strangers-idle-1000,strangers-leave-1000`.
 */

import assert from "node:assert/strict";
import { requirePrograms } from "./hosts.ts";
import { runCase } from "./run_case.ts";
import { strangerCases } from "./stranger_cases.ts";

/** What the strangers must have done at the least, so that there was an attack. */
const attacks: Record<string, { figure: string; least: number }> = {
  "strangers-idle": { figure: "strangersSentAway", least: 150 },
  "strangers-silent": { figure: "strangersSentAway", least: 100 },
  "strangers-announce": { figure: "strangerAnnouncements", least: 3 * 28_000 },
  "strangers-leave": { figure: "strangerAnnouncements", least: 50 },
  "strangers-workers": { figure: "strangersSentAway", least: 150 },
};
/** Of intercept's log: some 60 lines, and its report every 30 s. */
const MAX_LOG_BYTES = 12_000;

for (const [name, { figure, least }] of Object.entries(attacks)) {
  const { title } = strangerCases.get(name)!;
  Deno.test(`lab: ${title}`, async () => {
    requirePrograms(["ip", "nsenter", "unshare", "ethtool"]);
    const { share, problems, figures } = await runCase(name, ["--scale", "0.5"]);
    assert.equal(share, 1, problems.join("\n"));
    assert.deepEqual(problems, []);
    assert.ok((figures?.[figure] ?? 0) >= least, `${figure}: ${figures?.[figure]}`);
    const logBytes = figures?.interceptLogBytes ?? 0;
    assert.ok(logBytes > 0 && logBytes < MAX_LOG_BYTES, `${logBytes} bytes of log`);
  });
}
