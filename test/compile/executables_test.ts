/**
 * The real executables, made by the build: alone in an empty directory, without Deno on the PATH,
 * by the README's commands, and in the lab in place of the sources.
 */

import assert from "node:assert/strict";
import { PROGRAMS } from "../../compile/programs.ts";
import { isUserNamespace } from "../lab/enter.ts";
import { fileExists } from "../lab/hosts.ts";
import { start } from "./fake.ts";

const root = new URL("../../", import.meta.url);
const programs = PROGRAMS.map(({ name, main }) => ({ name, main }))
  .filter(({ main }) => fileExists(new URL(main, root).pathname))
  .map(({ name }) => name);

function pathWithoutDeno(): string {
  const directories = (Deno.env.get("PATH") ?? "").split(":");
  return directories.filter((directory) => !fileExists(`${directory}/deno`)).join(":");
}

async function cachesOfDeno(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return (JSON.parse(new TextDecoder().decode(stdout)) as { denoDir: string }).denoDir;
}

Deno.test("executables: built, alone in a directory, and in the lab", async (test) => {
  const directory = await Deno.makeTempDir();
  // What a fresh server has: no Deno, no caches, no home.
  const env = { XDG_CACHE_HOME: `${directory}/cache`, PATH: "/usr/bin:/bin" };
  try {
    await test.step("deno task compile", async () => {
      const built = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "compile/main.ts", "--output", `${directory}/dist`],
        cwd: root,
        stdin: "null",
      }).output();
      const decoder = new TextDecoder();
      const output = decoder.decode(built.stdout);
      assert.equal(built.code, 0, decoder.decode(built.stderr));
      assert.match(output, /: compiled by deno|self-extracting, not by deno compile: \S+/);
      const names = Array.from(Deno.readDirSync(`${directory}/dist`), ({ name }) => name);
      assert.deepEqual(names.sort(), ["SHA256SUMS", ...programs].sort());
      const checked = await start(["sha256sum", "-c", "SHA256SUMS"], {}, `${directory}/dist`);
      assert.equal(checked.code, 0, checked.errors);
    });

    await test.step("version, and mistakes in the command line", async () => {
      for (const name of programs) {
        const alone = `${directory}/${name} alone`;
        await Deno.mkdir(alone);
        await Deno.rename(`${directory}/dist/${name}`, `${alone}/${name}`);
        const version = await start([`./${name}`, "--version"], env, alone);
        assert.match(version.output, new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(.+\\)\n$`));
        assert.equal(version.errors, "");
        assert.equal(version.code, 0);
        const mistake = await start([`./${name}`, "--no such option"], env, alone);
        assert.match(mistake.errors, new RegExp(`^${name}: .*"--no such option".*\n$`));
        assert.equal(mistake.code, 1);
        const names = Array.from(Deno.readDirSync(alone), (entry) => entry.name);
        assert.deepEqual(names, [name], "left something behind");
      }
    });

    await test.step("in the background, with threads, and ended", async () => {
      const name = `${directory}/intercept alone/intercept`;
      const script = `cd "$1" || exit 9; ip link set lo up
        "$2" -d --workers 2 -i lo -F "tcp port 9" -P here.pid -l here.log || exit 1
        read -r pid <here.pid; kill -0 "$pid" || exit 2
        kill "$pid"
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
          kill -0 "$pid" 2>/dev/null || exit 0
          sleep 0.2
        done
        exit 3`;
      const place = `${directory}/daemon`;
      await Deno.mkdir(place);
      const sandbox = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork"];
      const daemon = await start(
        [...sandbox, "--mount-proc", "sh", "-c", script, "sh", place, name],
        { ...env, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      );
      const log = await Deno.readTextFile(`${place}/here.log`).catch(() => "no log");
      assert.equal(daemon.code, 0, `${daemon.output}${daemon.errors}${log}`);
      assert.match(log, /ready: .* with 2 workers/);
      assert.match(log, /SIGTERM: ending/);
    });

    await test.step({
      name: "nothing of root's is kept",
      ignore: Deno.uid() !== 0 || isUserNamespace(),
      fn: async () => {
        const variables = programs.map((name) =>
          [`${name.toUpperCase()}_LAB`, `${directory}/${name} alone/${name}`] as const
        );
        const lab = await new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "test/lab/privileges.ts"],
          cwd: root,
          env: { XDG_CACHE_HOME: `${directory}/root's cache`, ...Object.fromEntries(variables) },
          stdin: "null",
        }).output();
        const decoder = new TextDecoder();
        const output = decoder.decode(lab.stdout) + decoder.decode(lab.stderr);
        assert.deepEqual([lab.code, output.trim()], [0, "[]"]);
      },
    });

    await test.step("the README's commands for three servers", async () => {
      // Another user starts them, too.
      await Deno.chmod(directory, 0o755);
      const lab = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "test/lab/readme.ts"],
        cwd: root,
        env: {
          XDG_CACHE_HOME: `${directory}/readme's cache`,
          TCPCOPY_LAB: `${directory}/tcpcopy alone/tcpcopy`,
          INTERCEPT_LAB: `${directory}/intercept alone/intercept`,
          DENO_DIR: await cachesOfDeno(),
        },
        stdin: "null",
      }).output();
      const decoder = new TextDecoder();
      const output = decoder.decode(lab.stdout) + decoder.decode(lab.stderr);
      assert.deepEqual([lab.code, output.trim()], [0, "[]"]);
    });

    await test.step("the lab: keep-alive and short connections", async () => {
      const lab = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "test/lab/run.ts", "--case", "keepalive,short"],
        cwd: root,
        env: {
          XDG_CACHE_HOME: `${directory}/lab cache`,
          PATH: pathWithoutDeno(),
          TCPCOPY_LAB: `${directory}/tcpcopy alone/tcpcopy`,
          INTERCEPT_LAB: `${directory}/intercept alone/intercept`,
          DENO_DIR: await cachesOfDeno(), // the lab's own: it is no executable
        },
        stdin: "null",
      }).output();
      const decoder = new TextDecoder();
      assert.equal(lab.code, 0, decoder.decode(lab.stdout) + decoder.decode(lab.stderr));
      if (!fileExists(`${directory}/lab cache`)) return; // compiled: nothing to unpack
      const used = Array.from(Deno.readDirSync(`${directory}/lab cache`), ({ name }) => name);
      assert.deepEqual(used, ["tcpcopy"]);
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
