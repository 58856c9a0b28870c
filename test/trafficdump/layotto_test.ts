/**
 * trafficdump as Layotto's users start it: with a configuration of Layotto's as it stands, and with
 * ones that cannot be used.
 */

import assert from "node:assert/strict";
import { LabProcess } from "../lab/process.ts";

const program = new URL("../../src/trafficdump/main.ts", import.meta.url).pathname;
/** The shape and the settings of Layotto's config_apollo.json, in words of our own. */
const example = new URL("layotto_config.json", import.meta.url).pathname;
const TIMEOUT_MS = 30_000;

async function withDump(
  configuration: string,
  args: string[],
  use: (dump: LabProcess, config: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  // It reads its files again as nobody.
  await Deno.chmod(directory, 0o755);
  const config = `${directory}/config.json`;
  await Deno.writeTextFile(config, configuration);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", program, "--log-dir", directory, "-c", config, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const dump = new LabProcess("trafficdump", child);
  try {
    await use(dump, config);
    const { code } = await dump.stop(TIMEOUT_MS);
    assert.equal(code, 0, dump.lastLines(5));
  } finally {
    await dump.stop(TIMEOUT_MS);
    await Deno.remove(directory, { recursive: true });
  }
}

const needsRoot = { ignore: Deno.uid() !== 0 };

Deno.test({
  name: "Layotto's example configuration runs unchanged",
  ...needsRoot,
  fn: async () => {
    await withDump(await Deno.readTextFile(example), [], async (dump) => {
      await dump.waitFor(/\bready\b.*sampling is on, windows of 10 s, 30 s apart/, TIMEOUT_MS);
      assert.match(dump.output, /ready: .*capturing 127\.0\.0\.1:34904 with/);
      assert.doesNotMatch(dump.output, /WARN|ERROR/i);
    });
  },
});

Deno.test({
  name: "with --invalid-strategy off a bad strategy is told, and a good one taken when it comes",
  ...needsRoot,
  fn: async () => {
    const good = await Deno.readTextFile(example);
    const bad = good.replace('"interval": 30', '"interval": 5');
    await withDump(bad, ["--invalid-strategy", "off"], async (dump, config) => {
      await dump.waitFor(/\bready\b.*sampling is off/, TIMEOUT_MS);
      assert.match(dump.output, /nothing is sampled until a good one comes: .*interval: .*came 5/);
      await Deno.writeTextFile(config, good);
      await dump.waitFor(/has changed: sampling is on/, TIMEOUT_MS);
    });
  },
});
