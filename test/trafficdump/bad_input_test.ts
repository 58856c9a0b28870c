/** Every mistake a user of trafficdump can make is one clear line and an exit code that is not zero. */

import assert from "node:assert/strict";
import { layottoConfiguration, QUICK } from "./dumper.ts";

const program = new URL("../../src/trafficdump/main.ts", import.meta.url).pathname;

function refuses(name: string, args: (directory: string) => string[], expected: RegExp): void {
  Deno.test(`trafficdump: ${name}`, async () => {
    const directory = await Deno.makeTempDir();
    try {
      const own = args(directory);
      const logs = own.includes("--log-dir") ? [] : ["--log-dir", directory];
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", program, ...logs, ...own],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
        signal: AbortSignal.timeout(20_000),
      }).output();
      const lines = new TextDecoder().decode(stderr).split("\n").filter((line) => line !== "");
      assert.equal(lines.length, 1, lines.join("\n"));
      assert.match(lines[0], expected);
      assert.match(lines[0], /^trafficdump: /);
      assert.notEqual(code, 0);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}

function file(directory: string, text: string): string {
  const path = `${directory}/config.json`;
  Deno.writeTextFileSync(path, text);
  return path;
}

const proxy = ["--proxy", "127.0.0.1:18099-127.0.0.1:1"];
const strategy = (interval: number) =>
  JSON.stringify({ switch: "ON", interval, duration: 1, cpu_max_rate: 80, mem_max_rate: 80 });

refuses("an unknown option", () => ["--bogus"], /Unexpected option.*--bogus/);
refuses("nothing to dump", (d) => ["-c", file(d, strategy(30))], /-p: expected the ports/);
refuses("no file", () => ["-c", "/nowhere.json", ...proxy], /\/nowhere\.json cannot be read/);
refuses("no JSON", (d) => ["-c", file(d, "{"), ...proxy], /config\.json: expected JSON/);
refuses("no strategy", (d) => ["-c", file(d, "{}"), ...proxy], /found no strategy/);
refuses(
  "a short interval that was not allowed",
  (d) => ["-c", file(d, strategy(5)), ...proxy],
  /interval: expected 30 to 3600 seconds \(--min-interval allows shorter ones\), came 5/,
);
refuses(
  "a misspelt setting",
  (d) => ["-c", file(d, strategy(30).replace("interval", "intervall")), ...proxy],
  /unknown key "intervall"; did you mean "interval"\?/,
);
refuses(
  "a listener at a port that is none",
  (d) => ["-c", file(d, layottoConfiguration(QUICK, 99_999))],
  /listener "grpc": expected a port from 1 to 65535 .*came "0\.0\.0\.0:99999"/,
);
refuses(
  "listeners of which none can be captured",
  (d) => ["-c", file(d, layottoConfiguration(QUICK, 80).replace("0.0.0.0", "[::1]"))],
  /nothing can be captured: listener "grpc" \(\[::1\]:80\) is left out: IPv6/,
);
refuses(
  "a listener's name that is unknown",
  (d) => ["-c", file(d, layottoConfiguration(QUICK, 80).replace("0.0.0.0", "no.such.invalid"))],
  /listener "grpc" \(no\.such\.invalid:80\).*the name has no IPv4 address/,
);
refuses(
  "a directory with another program's files",
  (d) => {
    Deno.mkdirSync(`${d}/dump`);
    Deno.writeTextFileSync(`${d}/dump/dump_tcp_copy.log`, "its line\n");
    return ["-c", file(d, strategy(30)), ...proxy];
  },
  /--log-dir: .*\/dump has a dump_tcp_copy\.log .*another program's/,
);
refuses(
  "a group that is unknown",
  (d) => ["-c", file(d, strategy(30)), ...proxy, "--endpoint-group", "no-such-group"],
  /--endpoint-group "no-such-group": expected a group of \/etc\/group/,
);
refuses(
  "both forms of lines",
  () => ["-p", "80", "--layotto-time", "--no-layotto-time"],
  /--layotto-time, --no-layotto-time: expected one of them/,
);
refuses(
  "a proxy without a port",
  () => ["--proxy", "8080"],
  /--proxy "8080": expected \[address:\]/,
);
refuses(
  "a filter without a proxy",
  () => ["-p", "80", "--filter", "x.ts"],
  /--filter is for a proxy/,
);
refuses(
  "a log directory that is a file",
  (d) => ["-c", file(d, strategy(30)), ...proxy, "--log-dir", `${d}/config.json`],
  /--log-dir .*config\.json: the directory cannot be used/,
);
refuses(
  "bad permissions",
  () => ["-p", "80", "--endpoint-mode", "9"],
  /--endpoint-mode: expected three/,
);
