/** Paths another user has a hand in: user 12345 lays baits for a program that runs as root. */

import assert from "node:assert/strict";
import { lchownSync } from "node:fs";
import { NOBODY } from "../../ffi/privileges.ts";
import {
  giveToNobody,
  O_CREAT,
  O_WRONLY,
  openDirectory,
  openFile,
  openForAppending,
  openSubdirectory,
} from "../../ffi/safe_path.ts";
import { closeFd } from "../../ffi/socket.ts";

const OTHER = 12345;
/** Only root can make what belongs to others. */
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

function linkOf(owner: number, target: string, path: string): void {
  Deno.symlinkSync(target, path);
  lchownSync(path, owner, owner);
}

function write(path: string): void {
  using file = openForAppending(path, 0o600);
  file.writeSync(new TextEncoder().encode("written\n"));
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test({
  name: "a link of another user is not followed, to a file or to a directory",
  ...needsRoot,
  fn: inDirectory((directory) => {
    const [victim, place, shared] = ["victim", "place", "shared"].map((name) =>
      `${directory}/${name}`
    );
    Deno.writeTextFileSync(victim, "precious\n");
    Deno.mkdirSync(place);
    // As /tmp is.
    Deno.mkdirSync(shared);
    Deno.chmodSync(shared, 0o1777);
    linkOf(OTHER, victim, `${shared}/log`);
    linkOf(OTHER, `${directory}/absent`, `${shared}/new`);
    linkOf(OTHER, place, `${shared}/way`);
    const refused = /is a symbolic link of user 12345, which is not followed/;
    assert.throws(() => write(`${shared}/log`), refused);
    assert.throws(() => write(`${shared}/new`), refused);
    assert.throws(() => write(`${shared}/way/log`), refused);
    assert.throws(() => openDirectory(`${shared}/way/below`, 0o700), refused);
    assert.throws(() => openDirectory(`${shared}/way`, 0o700), refused);
    // A link of ours that leads to one of his.
    Deno.symlinkSync("shared/way", `${directory}/ours`);
    assert.throws(() => write(`${directory}/ours/log`), refused);
    assert.equal(Deno.readTextFileSync(victim), "precious\n");
    assert.equal(isThere(`${directory}/absent`), false);
    assert.deepEqual([...Deno.readDirSync(place)], []);
  }),
});

Deno.test(
  "links of one's own are followed: to directories, to files, along the way",
  inDirectory((directory) => {
    Deno.mkdirSync(`${directory}/data/log`, { recursive: true });
    Deno.symlinkSync(`${directory}/data`, `${directory}/absolute`);
    Deno.symlinkSync("./absolute/../data/log", `${directory}/relative`);
    Deno.symlinkSync("relative/file", `${directory}/name`);
    write(`${directory}/name`);
    write(`${directory}/relative//./file`);
    assert.equal(Deno.readTextFileSync(`${directory}/data/log/file`), "written\nwritten\n");
    const { fd, isNew } = openDirectory(`${directory}/relative/a/b`, 0o700);
    closeFd(fd);
    assert.equal(isNew, true);
    assert.equal(Deno.statSync(`${directory}/data/log/a/b`).isDirectory, true);
    Deno.symlinkSync("circle", `${directory}/circle`);
    assert.throws(() => write(`${directory}/circle`), /too many symbolic links/);
    assert.throws(() => write(`${directory}/data/log/file/below`), /Not a directory/);
    assert.throws(() => write(`${directory}/none/file`), /"none" on its path: No such file/);
  }),
);

Deno.test(
  "a second name of a file, and a FIFO nobody reads, are refused",
  inDirectory((directory) => {
    Deno.writeTextFileSync(`${directory}/victim`, "precious\n");
    Deno.linkSync(`${directory}/victim`, `${directory}/log`);
    assert.throws(() => write(`${directory}/log`), /it has 2 names/);
    assert.equal(Deno.readTextFileSync(`${directory}/victim`), "precious\n");
    new Deno.Command("mkfifo", { args: [`${directory}/fifo`] }).outputSync();
    assert.throws(() => write(`${directory}/fifo`), /No such device or address/);
  }),
);

Deno.test({
  name: "a file of another user is refused, and one of nobody's is not",
  ...needsRoot,
  fn: inDirectory((directory) => {
    const path = `${directory}/log`;
    Deno.writeTextFileSync(path, "his\n");
    Deno.chownSync(path, OTHER, OTHER);
    assert.throws(() => write(path), /it belongs to user 12345/);
    Deno.chownSync(path, NOBODY, NOBODY);
    write(path);
    assert.equal(Deno.readTextFileSync(path), "his\nwritten\n");
  }),
});

Deno.test({
  name: "only what is new can be told from what was there, and be given away",
  ...needsRoot,
  fn: inDirectory((directory) => {
    const path = `${directory}/log`;
    for (const isNew of [true, false]) {
      const opened = openFile(path, O_WRONLY | O_CREAT, 0o600);
      assert.equal(opened.isNew, isNew);
      if (isNew) giveToNobody(opened.fd);
      closeFd(opened.fd);
      assert.equal(Deno.statSync(path).uid, NOBODY);
    }
  }),
});

Deno.test(
  "inside an open directory no link is followed, whoever made it",
  inDirectory((directory) => {
    Deno.mkdirSync(`${directory}/victim`);
    Deno.symlinkSync("victim", `${directory}/dump`);
    const { fd } = openDirectory(directory, 0o700);
    try {
      assert.throws(
        () => openSubdirectory(fd, "dump", 0o700),
        /"dump" is a symbolic link or no dir/,
      );
    } finally {
      closeFd(fd);
    }
  }),
);

/** Moves a link to a name and away again, as fast as it can, until it is told to end. */
const SWAPPER = `
  onmessage = ({ data: [link, name, isOver] }) => {
    postMessage("swapping");
    while (Atomics.load(isOver, 0) === 0) {
      Deno.renameSync(link, name);
      Deno.renameSync(name, link);
    }
    postMessage("over");
  };
`;
/** Most are lost where the other thread has no core of its own. */
const ATTEMPTS = 20_000;

Deno.test({
  name: "a link that comes between looking and opening is not followed either",
  ...needsRoot,
  fn: async () => {
    const directory = Deno.makeTempDirSync();
    const [victim, link, log] = ["victim", "link", "log"].map((name) => `${directory}/${name}`);
    Deno.writeTextFileSync(victim, "precious\n");
    linkOf(OTHER, victim, link);
    const url = `data:text/javascript,${encodeURIComponent(SWAPPER)}`;
    const swapper = new Worker(url, { type: "module" });
    const heard = () => new Promise((resolve) => swapper.onmessage = resolve);
    const isOver = new Int32Array(new SharedArrayBuffer(4));
    let followed = 0;
    try {
      const swapping = heard();
      swapper.postMessage([link, log, isOver]);
      await swapping;
      for (let attempt = 0; attempt < ATTEMPTS && followed === 0; attempt++) {
        try {
          closeFd(openFile(log, O_WRONLY, 0o600).fd);
          followed++;
        } catch (error) {
          assert.match((error as Error).message, /symbolic link|No such file/);
        }
      }
    } finally {
      const over = heard();
      Atomics.store(isOver, 0, 1);
      await over;
      swapper.terminate();
      Deno.removeSync(directory, { recursive: true });
    }
    assert.equal(followed, 0);
  },
});

Deno.test("standard output can be named, also when it is a pipe", async () => {
  const module = JSON.stringify(new URL("../../ffi/safe_path.ts", import.meta.url).href);
  const code = `import { openForAppending } from ${module};
    openForAppending("/dev/stdout", 0o600).writeSync(new TextEncoder().encode("seen"));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", code],
    stderr: "inherit",
  }).output();
  assert.equal(new TextDecoder().decode(stdout), "seen");
});
