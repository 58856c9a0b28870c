/**
 * Scenarios of the traffic dump between real kernels, each in a sandbox of its own.
 *
 *     deno run -A test/trafficdump/lab.ts capture|fuse|reload|disk|sample|flood|proxy|join|layotto [DIRECTORY]
 *
 * The last line of the output is the result as JSON; with DIRECTORY the files stay there.
 */

import { enter, isInside, runInside, watchParent } from "../lab/enter.ts";
import { Lab } from "../lab/hosts.ts";
import { join } from "./scenario_join.ts";
import { capture } from "./scenario_capture.ts";
import { disk } from "./scenario_disk.ts";
import { flood } from "./scenario_flood.ts";
import { layotto } from "./scenario_layotto.ts";
import { proxy } from "./scenario_proxy.ts";
import { sample } from "./scenario_sample.ts";
import { fuse, reload } from "./scenario_control.ts";

/** What a scenario found out; `problems` is empty when all is as it should be. */
export interface ScenarioResult {
  problems: string[];
  figures: Record<string, unknown>;
}

const scenarios: Record<string, (lab: Lab, directory: string) => Promise<ScenarioResult>> = {
  capture,
  fuse,
  reload,
  disk,
  sample,
  workers: (lab, directory) => sample(lab, directory, ["--workers", "2"]),
  flood,
  proxy,
  join,
  layotto,
};

const TIMEOUT_MS = 150_000;

/** Runs a scenario in a sandbox, from outside. */
export async function runScenario(name: string): Promise<ScenarioResult> {
  const child = await enter(new URL(import.meta.url).pathname, [name], "piped");
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.status;
  clearTimeout(timer);
  await child.stdin.close().catch(() => {}); // closed already when it was killed
  const line = text.trim().split("\n").pop() ?? "";
  if (!line.startsWith("{")) throw new Error(errors.trim() || `no result: ${text}`);
  return JSON.parse(line) as ScenarioResult;
}

async function main(): Promise<number> {
  const scenario = scenarios[Deno.args[0]];
  if (scenario === undefined) {
    console.error(`expected one of ${Object.keys(scenarios).join(", ")}`);
    return 2;
  }
  if (!isInside()) return await runInside(new URL(import.meta.url).pathname, Deno.args);
  const directory = await Deno.makeTempDir({ dir: "/run" });
  // The programs read their files again as the user nobody.
  await Deno.chmod(directory, 0o755);
  const lab = await Lab.create({ offloads: Deno.args[0] === "flood" });
  watchParent(async () => await lab.close());
  try {
    const result = await scenario(lab, directory);
    console.log(JSON.stringify(result));
    return result.problems.length === 0 ? 0 : 1;
  } finally {
    await lab.close();
    if (Deno.args[1] !== undefined) {
      await new Deno.Command("cp", { args: ["-r", directory, Deno.args[1]] }).output();
    }
  }
}

if (import.meta.main) {
  try {
    Deno.exit(await main());
  } catch (error) {
    console.error(error instanceof Error ? error.stack : String(error));
    Deno.exit(2);
  }
}
