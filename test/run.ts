/**
 * Runs all tests and closes with the line "N passed, N failed". Extra arguments go to `deno test`,
 * for example a folder: `deno task test test/session`.
 */

import { environment } from "./setup/environment.ts";

const argv = Deno.args.length > 0 ? Deno.args : ["test/"];
const child = new Deno.Command(Deno.execPath(), {
  args: ["test", "-A", "--quiet", ...argv],
  // What `setup` has put into the checkout's cache is found there.
  env: environment(),
  stdin: "null",
  stdout: "piped",
  stderr: "inherit",
}).spawn();

let tail = "";
const decoder = new TextDecoder();
for await (const chunk of child.stdout) {
  for (let at = 0; at < chunk.length;) at += Deno.stdout.writeSync(chunk.subarray(at));
  tail = (tail + decoder.decode(chunk, { stream: true })).slice(-2000);
}
const { code } = await child.status;

// deno-lint-ignore no-control-regex -- colours
const summary = tail.replace(/\x1b\[[0-9;]*m/g, "");
const passed = /(\d+) passed/.exec(summary)?.[1] ?? "0";
const failed = /(\d+) failed/.exec(summary)?.[1] ?? "0";
console.log(`${passed} passed, ${code !== 0 && failed === "0" ? 1 : failed} failed`);
Deno.exit(code);
