/** The self-extracting file: how it starts its program, and what it refuses to start. */

import assert from "node:assert/strict";
import { ADDRESS_SPACE_KIB } from "../../compile/programs.ts";
import { sandboxFlags } from "../lab/enter.ts";
import { start, withDirectory, writeFake } from "./fake.ts";

/** The directory the program was unpacked to, below the cache directory. */
async function unpackedIn(cache: string): Promise<string> {
  const names = [];
  for await (const { name } of Deno.readDir(`${cache}/tcpcopy`)) names.push(name);
  const found = names.filter((name) => name.startsWith("tcpcopy-"));
  assert.equal(found.length, 1, `expected one program, came ${names}`);
  assert(!names.some((name) => name.startsWith(".new")), `left behind: ${names}`);
  return `${cache}/tcpcopy/${found[0]}`;
}

Deno.test("stub: arguments, exit code and umask reach the program, first and later", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/a name`;
    await writeFake(path);
    const env = { XDG_CACHE_HOME: `${directory}/caches of mine` };
    for (let round = 0; round < 2; round++) {
      const argv = [path, "exit", "42", "two words", "*", "", "--help", "--", "it's $HOME"];
      const { code, output, errors } = await start(
        ["sh", "-c", 'umask 027; "$@"', "sh", ...argv],
        env,
      );
      assert.equal(errors, "");
      assert.equal(code, 42);
      const at = await unpackedIn(env.XDG_CACHE_HOME);
      assert.deepEqual(output.split("\n"), [
        "the program",
        `cache ${at}/cache`,
        "umask 0027",
        ...argv.slice(1).map((argument) => `argument <${argument}>`),
        "",
      ]);
    }
  }));

Deno.test("stub: found by its name on the PATH, and through a link", () =>
  withDirectory(async (directory) => {
    await Deno.mkdir(`${directory}/bin`);
    await writeFake(`${directory}/bin/tcpcopy`);
    await Deno.symlink("bin/tcpcopy", `${directory}/link`);
    const PATH = `${directory}/bin:/usr/bin:/bin`;
    for (
      const [argv, cache] of [[["sh", "-c", "tcpcopy exit 3"], "1"], [["./link", "exit", "3"], "2"]]
    ) {
      const env = { PATH, XDG_CACHE_HOME: `${directory}/${cache}` };
      const { code, errors } = await start(argv as string[], env, directory);
      assert.equal(`${errors}${code}`, "3");
    }
  }));

Deno.test("stub: too little address space for the runtime is one sentence", () =>
  withDirectory(async (directory) => {
    await writeFake(`${directory}/tcpcopy`);
    const limited = (kib: number) =>
      start(["sh", "-c", `ulimit -v ${kib} && exec ./tcpcopy exit 3`], {
        XDG_CACHE_HOME: `${directory}/cache`,
      }, directory);
    const { code, errors } = await limited(ADDRESS_SPACE_KIB - 1);
    assert.equal(code, 1);
    assert.match(errors, /^tcpcopy: may use \d+ MB of address space \(ulimit -v\), and .*\n$/);
    assert.equal((await limited(ADDRESS_SPACE_KIB)).code, 3);
  }));

Deno.test("stub: a signal reaches the program itself", () =>
  withDirectory(async (directory) => {
    await writeFake(`${directory}/tcpcopy`);
    const child = new Deno.Command(`${directory}/tcpcopy`, {
      args: ["wait"],
      env: { XDG_CACHE_HOME: `${directory}/cache` },
      stdout: "piped",
    }).spawn();
    let output = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      output += text;
      if (!output.endsWith("waiting\n")) continue;
      // The same process, under the program's own name.
      assert.equal((await Deno.readTextFile(`/proc/${child.pid}/comm`)).trim(), "tcpcopy");
      child.kill("SIGTERM");
    }
    assert.equal((await child.status).code, 7);
  }));

Deno.test("stub: many first starts at once", () =>
  withDirectory(async (directory) => {
    await writeFake(`${directory}/tcpcopy`);
    const env = { XDG_CACHE_HOME: `${directory}/cache` };
    const starts = Array.from(
      { length: 8 },
      () => start([`${directory}/tcpcopy`, "exit", "5"], env),
    );
    for (const { code, errors } of await Promise.all(starts)) {
      assert.equal(errors, "");
      assert.equal(code, 5);
    }
    await unpackedIn(env.XDG_CACHE_HOME);
  }));

Deno.test("stub: two versions share a runtime and do not mix", () =>
  withDirectory(async (directory) => {
    const env = { XDG_CACHE_HOME: `${directory}/cache` };
    for (const text of ["one", "two", "one"]) {
      await writeFake(`${directory}/tcpcopy`, `${text}\n`);
      const { output } = await start([`${directory}/tcpcopy`], env);
      assert.equal(output.split("\n")[0], text);
    }
    const names = Array.from(Deno.readDirSync(`${env.XDG_CACHE_HOME}/tcpcopy`), ({ name }) => name);
    assert.equal(names.filter((name) => name.startsWith("deno-")).length, 1);
    assert.equal(names.length, 3);
  }));

/** What somebody may have done to what was unpacked. */
const damages: Record<string, (at: string) => Promise<void>> = {
  "a file is missing": (at) => Deno.remove(`${at}/tcpcopy.js`),
  "a file was cut": (at) => Deno.truncate(`${at}/tcpcopy.js`, 3),
  "the program can be written by others": (at) => Deno.chmod(`${at}/tcpcopy.js`, 0o666),
  "the runtime can be written by others": (at) => Deno.chmod(`${at}/tcpcopy`, 0o777),
  "the directory can be written by others": (at) => Deno.chmod(at, 0o777),
  "the caches can be written by others": (at) => Deno.chmod(`${at}/cache`, 0o777),
  "the runtime is another's": (at) => Deno.chown(`${at}/tcpcopy`, 65534, 65534),
};

for (const [damage, inflict] of Object.entries(damages)) {
  Deno.test({
    name: `stub: unpacks again when ${damage}`,
    ignore: damage.includes("another's") && Deno.uid() !== 0, // only root can give files away
    fn: () =>
      withDirectory(async (directory) => {
        const path = `${directory}/tcpcopy`;
        await writeFake(path);
        const env = { XDG_CACHE_HOME: `${directory}/cache` };
        const first = await start([path], env);
        const at = await unpackedIn(env.XDG_CACHE_HOME);
        const inode = (await Deno.stat(at)).ino;
        await inflict(at);
        assert.deepEqual(await start([path], env), first);
        assert.equal(await unpackedIn(env.XDG_CACHE_HOME), at);
        assert.notEqual((await Deno.stat(at)).ino, inode);
        for (const [name, mode] of [["", 0o755], ["/tcpcopy", 0o755], ["/tcpcopy.js", 0o644]]) {
          const state = await Deno.stat(`${at}${name}`);
          assert.equal((state.mode ?? 0) & 0o7777, mode);
          assert.equal(state.uid, Deno.uid());
        }
      }),
  });
}

Deno.test("stub: a damaged executable starts nothing", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/tcpcopy`;
    await writeFake(path);
    const bytes = await Deno.readFile(path);
    bytes[bytes.length - 60] ^= 1;
    await Deno.writeFile(path, bytes);
    const env = { XDG_CACHE_HOME: `${directory}/cache`, TMPDIR: directory };
    const { code, output, errors } = await start([path], env);
    assert.equal(code, 1);
    assert.equal(output, "");
    assert.match(errors, /^tcpcopy: found no directory .* is not whole: compare its checksum.*\n$/);
  }));

Deno.test("stub: a runtime that does not start here is named with its own words", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/tcpcopy`;
    await writeFake(path, "", "#!/bin/sh\necho 'GLIBC_2.99 not found' >&2\nexit 1\n");
    const env = { XDG_CACHE_HOME: `${directory}/cache`, TMPDIR: directory };
    const { code, errors } = await start([path], env);
    assert.equal(code, 1);
    assert.match(errors, /the runtime does not start here: GLIBC_2\.99 not found/);
  }));

Deno.test("stub: a directory others can write is not used", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/tcpcopy`;
    await writeFake(path);
    await Deno.mkdir(`${directory}/open/tcpcopy`, { recursive: true });
    await Deno.chmod(`${directory}/open`, 0o777);
    const env = { XDG_CACHE_HOME: `${directory}/open`, TMPDIR: directory };
    const { output } = await start([path], env);
    const used = /^cache (.*)$/m.exec(output)?.[1] ?? output;
    assert(used.startsWith(`${directory}/tcpcopy-${Deno.uid()}/tcpcopy-`), used);
    assert.deepEqual(Array.from(Deno.readDirSync(`${directory}/open`)), []);
  }));

Deno.test("stub: does not follow a link in place of its directory", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/tcpcopy`;
    await writeFake(path);
    const old = `${directory}/victim/tcpcopy-0123456789abcdef-01234567`;
    await Deno.mkdir(old, { recursive: true });
    await Deno.mkdir(`${directory}/cache`);
    await Deno.symlink("../victim", `${directory}/cache/tcpcopy`);
    const env = { XDG_CACHE_HOME: `${directory}/cache`, TMPDIR: directory };
    const { output } = await start([path], env);
    const used = /^cache (.*)$/m.exec(output)?.[1] ?? output;
    assert(used.startsWith(`${directory}/tcpcopy-${Deno.uid()}/tcpcopy-`), used);
    const names = Array.from(Deno.readDirSync(`${directory}/victim`), ({ name }) => name);
    assert.equal(names.length, 1);
  }));

Deno.test("stub: versions not started for a month go when a new one is unpacked", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/tcpcopy`;
    const env = { XDG_CACHE_HOME: `${directory}/cache` };
    await writeFake(path, "old\n");
    await start([path], env);
    const old = await unpackedIn(env.XDG_CACHE_HOME);
    const longAgo = new Date("2020-01-01T00:00:00Z");
    await Deno.utime(`${old}/tcpcopy.js`, longAgo, longAgo);
    await writeFake(path, "new\n");
    await start([path], env);
    assert.notEqual(await unpackedIn(env.XDG_CACHE_HOME), old);
  }));

Deno.test("stub: read-only and noexec directories are named in one sentence", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/tcpcopy`;
    await writeFake(path);
    // In mounts of its own: the executable and a noexec directory in /run, and /tmp read-only.
    const script = `mount -t tmpfs none /run && cp "$1" /run/tcpcopy && mkdir /run/noexec &&
      mount -t tmpfs -o noexec none /run/noexec && mount -t tmpfs -o ro none /tmp && /run/tcpcopy`;
    const argv = ["unshare", ...await sandboxFlags(), "sh", "-c", script, "sh", path];
    const env = { XDG_CACHE_HOME: "/tmp/cache", TMPDIR: "/run/noexec" };
    const { code, output, errors } = await start(argv, env);
    assert.equal(output, "");
    assert.equal(code, 1);
    assert.match(errors, /cache\/tcpcopy: cannot be made \(Read-only file system\)/);
    assert.match(errors, /noexec\/tcpcopy-0: does not let programs be executed/);
  }));
