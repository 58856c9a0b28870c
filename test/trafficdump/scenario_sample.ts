/** tcpcopy with a strategy: sessions begin in windows only, and none on a busy system. */

import { addresses, type Lab } from "../lab/hosts.ts";
import { pause } from "../lab/programs.ts";
import { QUICK } from "./dumper.ts";
import { FakeLoad } from "./fake_load.ts";
import type { ScenarioResult } from "./lab.ts";

const PORT = 8081;
const TIMEOUT_MS = 20_000;
/** Windows there can be until the end. */
const MOST_WINDOWS = 6;
const script = (name: string) => [
  ...[Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname],
];

export async function sample(
  lab: Lab,
  directory: string,
  more: string[] = [],
): Promise<ScenarioResult> {
  const load = await FakeLoad.begin(directory);
  const problems: string[] = [];
  for (const host of ["online", "target"] as const) {
    const service = lab.spawn(host, [
      ...script("http.ts"),
      ...["serve", `${PORT}`, `${directory}/${host}`],
    ]);
    await service.waitFor(/^ready$/m, TIMEOUT_MS);
  }
  const intercept = lab.spawn("assistant", [
    ...script("../../src/intercept/main.ts"),
    ...["-i", "eth0", "-F", `tcp and src host ${addresses.target}`],
  ]);
  await intercept.waitFor(/\bready\b/, TIMEOUT_MS);
  const strategy = `${directory}/strategy.json`;
  await Deno.writeTextFile(strategy, JSON.stringify(QUICK));
  const tcpcopy = lab.spawn("online", [
    ...script("../../src/tcpcopy/main.ts"),
    ...["-x", `${PORT}-${addresses.target}:${PORT}`, "-s", addresses.assistant],
    ...["-c", "198.19.0.x", "--strategy", strategy, "--min-interval", "1", ...more],
  ]);
  await tcpcopy.waitFor(/\bready\b/, TIMEOUT_MS);
  lab.spawn("client", [...script("http.ts"), "knock", `${addresses.online}:${PORT}`]);
  const counts: number[] = [];
  for (let window = 0; window < 2; window++) {
    const from = tcpcopy.output.length;
    const match = await tcpcopy.waitFor(/is closed: (\d+) sessions/, TIMEOUT_MS, from);
    counts.push(Number(match[1]));
  }
  if (counts.some((count) => count === 0)) problems.push(`sessions per window: ${counts}`);
  load.cpuPercent = 95;
  await tcpcopy.waitFor(/no window is opened/, TIMEOUT_MS);
  const reached = async () => (await Deno.readTextFile(`${directory}/target`)).split("\n").length;
  await pause(1_000);
  const before = await reached();
  await pause(3_000);
  if (await reached() !== before) problems.push("a busy system got sessions");
  load.cpuPercent = 5;
  await tcpcopy.waitFor(/is closed: \d+ sessions/, TIMEOUT_MS, tcpcopy.output.length);
  await tcpcopy.stop(5_000, "SIGINT");
  const count = (name: string) =>
    Number(new RegExp(`^ *${name} +([\\d,]+)`, "m").exec(ledger)?.[1].replace(",", "") ?? 0);
  const ledger = tcpcopy.output.slice(tcpcopy.output.lastIndexOf("\nsessions "));
  // Whose SYN came just before a window is not joined, for want of a second request.
  const notJoined = count("not joined");
  if (count("sessions") !== count("complete") + notJoined || notJoined > MOST_WINDOWS) {
    problems.push(tcpcopy.lastLines(8));
  }
  const sampledOut = Number(/([\d,]+) more left out/.exec(tcpcopy.output)?.[1].replace(",", ""));
  if (!(sampledOut > 0)) problems.push("nothing was left out");
  load.end();
  return { problems, figures: { counts, sessions: count("sessions"), notJoined, sampledOut } };
}
