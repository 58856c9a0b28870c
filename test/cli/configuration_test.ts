/** Configuration files, with the programs themselves. */

import assert from "node:assert/strict";

const root = new URL("../../", import.meta.url).pathname;
const directory = Deno.makeTempDirSync();
globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));

async function run(program: string, args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${root}src/${program}/main.ts`, ...args],
    stdin: "null",
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(20_000),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

function file(name: string, text: string): string {
  const path = `${directory}/${name}`;
  Deno.writeTextFileSync(path, text);
  return path;
}

const required = `"transfer": "80-198.18.0.2:80", "intercept": "198.18.0.3"`;

Deno.test("the command line wins over the file, the file over the default", async () => {
  const path = file("wins.json", `{${required}, "percentage": 20, "mtu": 1400, "daemon": true}`);
  const args = ["--config", path, "-r30", "--daemon=false", "--print-config"];
  const { code, stdout } = await run("tcpcopy", args);
  assert.equal(code, 0);
  const config = JSON.parse(stdout);
  const { percentage, mtu, mss, daemon } = config;
  assert.deepEqual({ percentage, mtu, mss, daemon }, {
    percentage: 30,
    mtu: 1400,
    mss: 1460,
    daemon: false,
  });
});

Deno.test("what is printed can be fed back", async () => {
  for (
    const [program, args] of [
      ["tcpcopy", ["-x", "80-198.18.0.2:80", "-s", "h:1", "-g", "-c", "198.19.0.x", "-f", "1/2"]],
      ["intercept", ["-i", "eth0,lo", "-F", "src port 80", "--single", "-c", "-p", "9"]],
    ] as const
  ) {
    const first = await run(program, [...args, "--print-config"]);
    assert.equal(first.code, 0, first.stderr);
    const path = file(`${program}.json`, first.stdout);
    const second = await run(program, ["--config", path, "--print-config"]);
    assert.equal(second.stdout, first.stdout, second.stderr);
  }
});

Deno.test("a file that is no good is one sentence and an exit code", async () => {
  for (
    const [text, expected] of [
      [`{${required}, "percentag": 20}`, /bad\.json: unknown key "percentag"; did you mean "perc/],
      [`{${required}, "percentage": 200}`, /--percentage.*200.*bad\.json/],
      [`{${required}, "port-factor": "9/3"}`, /-f "9\/3": expected/],
      [`{${required}`, /bad\.json: expected JSON/],
      [`{"intercept": "198.18.0.3"}`, /Missing option.*--transfer.*bad\.json/],
    ] as const
  ) {
    const { code, stderr } = await run("tcpcopy", ["--config", file("bad.json", text)]);
    assert.notEqual(code, 0);
    assert.equal(stderr.trim().split("\n").length, 1, stderr);
    assert.match(stderr, expected);
  }
  const { code, stderr } = await run("intercept", ["--config", "/nonexistent.json"]);
  assert.notEqual(code, 0);
  assert.match(stderr, /^intercept: --config \/nonexistent\.json: cannot be read/);
});
