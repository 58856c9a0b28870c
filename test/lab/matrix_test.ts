/**
 * The whole matrix with real kernels: every case of `cases.ts`, each in a sandbox of its own.
 *
 * One alone: `deno test -A test/lab/matrix_test.ts --filter "lab: mixed,"`; with logs:
 * `deno run -A test/lab/run.ts --case mixed --keep-logs DIR`.
 */

import assert from "node:assert/strict";
import { cases } from "./cases.ts";
import { requirePrograms } from "./hosts.ts";
import { runCase } from "./run_case.ts";

async function assertExact(name: string, args: readonly string[] = []): Promise<void> {
  requirePrograms(["ip", "nsenter", "unshare", "ethtool", "nft", "tcpdump", "nginx", "wrk"]);
  const result = await runCase(name, args);
  const problems = result.problems.map((problem) => `\n  ${problem}`).join("");
  const isAllThere = result.share >= (cases.get(name)?.nginx ? 0.999 : 1);
  assert(
    isAllThere && result.problems.length === 0,
    `${(result.share * 100).toFixed(2)} % of ${result.connections} exact${problems}`,
  );
}

for (const { name, title } of cases.values()) {
  Deno.test(`lab: ${name}, ${title}`, () => assertExact(name));
}

// With connections shared among threads, at both programs.
const workers = ["--tcpcopy-args", "--workers 2", "--intercept-args", "--workers 2"];
const inThreads = ["keepalive", "short", "mixed-wire-loss", "join", "offline"];
// Where each of them looks at every packet.
inThreads.push("mixed-pcap", "mixed-ring-link", "mixed-vxlan");
inThreads.push("short-target", "mixed-target-pcap");
for (const name of inThreads) {
  Deno.test(`lab: ${name}, two workers`, () => assertExact(name, workers));
}
for (const form of ["--disable-combined", "--resp-payload", "--dnat"]) {
  const args = workers.map((arg) => arg.replace(" 2", ` 2 ${form}`));
  Deno.test(`lab: keepalive, two workers, ${form}`, () => assertExact("keepalive", args));
}

// The originals are no part of the project: whoever has built them says where they are.
Deno.test({
  name: "lab: our tcpcopy with the original intercept, keep-alive",
  ignore: Deno.env.get("INTERCEPT_ORIG") === undefined,
  fn: () => assertExact("keepalive", ["--original", "intercept"]),
});

Deno.test({
  name: "lab: our intercept with the original tcpcopy, keep-alive",
  ignore: Deno.env.get("TCPCOPY_ORIG") === undefined,
  fn: () => assertExact("keepalive", ["--original", "tcpcopy"]),
});

/** Other builds of the originals, by the suffix of the variables that name them. */
const builds = {
  /** ./configure --single */
  SINGLE: "--single",
  /** ./configure --disable-combined */
  BARE: "--disable-combined",
  /** ./configure --with-resp-payload; tcpcopy has the code, but no such switch: -DTC_PAYLOAD */
  PAYLOAD: "--resp-payload",
};

for (const [build, option] of Object.entries(builds)) {
  for (const role of ["intercept", "tcpcopy"] as const) {
    const ours = role === "intercept" ? "tcpcopy" : "intercept";
    Deno.test({
      name: `lab: our ${ours} with the original ${role} built as ${build}, keep-alive`,
      ignore: Deno.env.get(`${role.toUpperCase()}_ORIG_${build}`) === undefined,
      fn: () =>
        assertExact("keepalive", [
          ...["--original", role, "--original-build", build, `--${ours}-args`, option],
        ]),
    });
  }
}
