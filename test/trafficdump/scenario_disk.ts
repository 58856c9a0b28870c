/** A full disk: nothing breaks, what is lost is counted, and it goes on when there is space again. */

import { addresses, type Lab } from "../lab/hosts.ts";
import { pause } from "../lab/programs.ts";
import { readRecords } from "./dump_log.ts";
import { Dumper, layottoConfiguration, PATIENT } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { ScenarioResult } from "./lab.ts";

const PORT = 8081;
const TIMEOUT_MS = 30_000;
const POLL_MS = 100;
/** So many records more, and it has recovered. */
const MORE = 50;
const DISK_BYTES = 16 << 20;
const script = (
  name: string,
) => [Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname];

export async function disk(lab: Lab, directory: string): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  const logs = `${directory}/small`;
  await Deno.mkdir(logs);
  const mount = new Deno.Command("mount", {
    args: ["-t", "tmpfs", "-o", `size=${DISK_BYTES}`, "none", logs],
  });
  if (!(await mount.output()).success) throw new Error("no tmpfs could be mounted");
  const service = lab.spawn("online", [
    ...script("http.ts"),
    ...["serve", `${PORT}`, `${directory}/http`],
  ]);
  await service.waitFor(/^ready$/m, TIMEOUT_MS);
  const config = `${directory}/config.json`;
  await Deno.writeTextFile(config, layottoConfiguration(PATIENT, PORT));
  // No free space is kept, so that the disk itself says no.
  const dumper = await Dumper.start(lab, logs, ["-c", config, "--min-free", "0"]);
  await dumper.process.waitFor(/is open for/, TIMEOUT_MS);
  await dumper.ask("PUT", "/strategy/app", { ...PATIENT, interval: 600, duration: 599 });
  lab.spawn("client", [
    ...script("http.ts"),
    ...["ask", `${addresses.online}:${PORT}`, "4", "1000000", "60000"],
  ]);
  await dumper.process.waitFor(/nothing can be written/, TIMEOUT_MS);
  // A disk that is nearly full takes a short piece now and then: between two of them there is trouble.
  let { body: full } = await dumper.ask("GET", "/status");
  const isCounted = () => full.trouble !== null && full.written.failedRecords > 0;
  for (let leftMs = TIMEOUT_MS; leftMs > 0 && !isCounted(); leftMs -= POLL_MS) {
    await pause(POLL_MS);
    ({ body: full } = await dumper.ask("GET", "/status"));
  }
  if (!isCounted()) problems.push("nothing counted");
  // Space returns: the disk becomes larger.
  const remount = ["-o", `remount,size=${64 * DISK_BYTES}`, logs];
  await new Deno.Command("mount", { args: remount }).output();
  const { body: before } = await dumper.ask("GET", "/status");
  let after = before;
  for (let leftMs = TIMEOUT_MS; leftMs > 0; leftMs -= POLL_MS) {
    ({ body: after } = await dumper.ask("GET", "/status"));
    if (after.trouble === null && after.written.records > before.written.records + MORE) break;
    await pause(POLL_MS);
  }
  if (after.trouble !== null || after.written.records <= before.written.records + MORE) {
    problems.push("no recovery");
  }
  problems.push(...await dumper.stop());
  await readRecords(dumper.dumpDirectory); // whole lines, each with one about its connection
  load.end();
  return {
    problems,
    figures: { reason: full.trouble, lost: full.written.failedRecords, after: after.written },
  };
}
