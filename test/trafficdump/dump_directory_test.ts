import assert from "node:assert/strict";
import { lchownSync } from "node:fs";
import { NOBODY } from "../../ffi/privileges.ts";
import { closeFd } from "../../ffi/socket.ts";
import { UsageError } from "../../src/cli/fatal.ts";
import { DumpDirectory } from "../../src/trafficdump/dump_directory.ts";

const OTHER = 12345;
const needsRoot = { ignore: Deno.uid() !== 0 };

function inDirectory(test: (directory: string) => void): () => void {
  return () => {
    const directory = Deno.makeTempDirSync();
    try {
      test(directory);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  };
}

/** Opens it, and closes what stays open as long as a program runs. */
function open(path: string): void {
  const { path: inside } = new DumpDirectory(path);
  closeFd(Number(inside.split("/").at(-1)));
}

function ownerOf(path: string): number | null {
  return Deno.lstatSync(path).uid;
}

Deno.test({
  name: "as root a new directory is nobody's, and what is above it is not",
  ...needsRoot,
  fn: inDirectory((directory) => {
    for (let time = 0; time < 2; time++) {
      open(`${directory}/logs/mosn`);
      assert.equal(ownerOf(`${directory}/logs/mosn`), 0);
      assert.equal(ownerOf(`${directory}/logs/mosn/dump`), NOBODY);
    }
  }),
});

Deno.test({
  name: "as root another user's directory stays his, behind a link and without",
  ...needsRoot,
  fn: inDirectory((directory) => {
    const [home, victim] = [`${directory}/home`, `${directory}/victim`];
    for (const path of [home, `${home}/dump`, victim]) {
      Deno.mkdirSync(path);
      Deno.chownSync(path, OTHER, OTHER);
    }
    Deno.writeTextFileSync(`${home}/dump/dump_mine.txt`, "his\n");
    Deno.chownSync(`${home}/dump/dump_mine.txt`, OTHER, OTHER);
    open(home);
    // He knows where root will look.
    Deno.mkdirSync(`${directory}/tmp`);
    Deno.chmodSync(`${directory}/tmp`, 0o1777);
    Deno.symlinkSync(directory, `${directory}/tmp/logs`);
    lchownSync(`${directory}/tmp/logs`, OTHER, OTHER);
    assert.throws(
      () => new DumpDirectory(`${directory}/tmp/logs`),
      (error) =>
        error instanceof UsageError && /--log-dir .*link of user 12345/.test(error.message),
    );
    Deno.mkdirSync(`${directory}/logs`);
    Deno.symlinkSync("../victim", `${directory}/logs/dump`);
    assert.throws(() => new DumpDirectory(`${directory}/logs`), /"dump" is a symbolic link/);
    for (const path of [`${home}/dump`, `${home}/dump/dump_mine.txt`, victim]) {
      assert.equal(ownerOf(path), OTHER, path);
    }
    assert.equal(ownerOf(`${directory}/tmp/logs`), OTHER);
  }),
});

Deno.test(
  "a directory another trafficdump writes in is refused",
  inDirectory((directory) => {
    const { path } = new DumpDirectory(directory);
    assert.throws(
      () => new DumpDirectory(directory),
      (error) => error instanceof UsageError && /another trafficdump writes in/.test(error.message),
    );
    closeFd(Number(path.split("/").at(-1)));
    open(directory);
  }),
);

Deno.test(
  "a directory with another program's log files is refused, with its archives it is not",
  inDirectory((directory) => {
    const dump = `${directory}/dump`;
    Deno.mkdirSync(dump);
    Deno.writeTextFileSync(`${dump}/dump_tcp_copy.log.2026-01-01`, "Layotto's\n");
    const own = new DumpDirectory(directory);
    own.assertWritable();
    closeFd(Number(own.path.split("/").at(-1)));
    // From now on it is trafficdump's.
    Deno.writeTextFileSync(`${dump}/dump_tcp_copy.log`, "a line\n");
    open(directory);
    Deno.removeSync(`${dump}/dump_connections.log`);
    assert.throws(
      () => new DumpDirectory(directory),
      (error) =>
        error instanceof UsageError &&
        /dump has a dump_tcp_copy\.log and no dump_connections\.log.*Layotto/.test(error.message),
    );
    assert.equal(Deno.readTextFileSync(`${dump}/dump_tcp_copy.log`), "a line\n");
  }),
);
