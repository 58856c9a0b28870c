/** Giving up privileges, in processes of their own: what is left is read from /proc there. */

import assert from "node:assert/strict";

const ffi = new URL("../../ffi/", import.meta.url).href;

/** Prints what the process is after it gave up its privileges, and what it can still do. */
const script = `
  import { surrenderPrivileges } from ${JSON.stringify(`${ffi}privileges.ts`)};
  import { libc } from ${JSON.stringify(`${ffi}libc.ts`)};
  import { lastErrno } from ${JSON.stringify(`${ffi}libc.ts`)};

  const [keep] = Deno.args;
  const c = libc();
  const surrender = surrenderPrivileges({ keepWritable: keep === "" ? [] : [keep] });
  const errnoOf = (result) => result < 0 ? lastErrno() : 0;
  const pick = (text, key) => new RegExp("^" + key + ":[ \\\\t]*(.*)$", "m").exec(text)[1].trim();
  // Threads and descriptors come and go while they are looked at.
  const orGone = (look) => {
    try { return [look()]; } catch (error) {
      if (error instanceof Deno.errors.NotFound || error.code === "ESRCH") return [];
      throw error;
    }
  };
  const statusOf = (name) => orGone(() => Deno.readTextFileSync("/proc/self/task/" + name + "/status"));
  const linkOf = (fd) => orGone(() => Deno.readLinkSync("/proc/self/fd/" + fd));
  const names = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => name);
  const tasks = names.flatMap(statusOf).map((text) => {
    const keys = ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp"];
    return Object.fromEntries(keys.map((key) => [key, pick(text, key).split("\\t").at(-1)]));
  });
  const own = tasks.at(0);
  const threads = [...new Set(tasks.map((task) => JSON.stringify(task)))].map((text) => JSON.parse(text));
  const writable = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name))
    .filter((fd) => fd > 2 && c.fcntl(fd, 3, 0) > 0 && (c.fcntl(fd, 3, 0) & 3) > 0)
    .flatMap(linkOf)
    .filter((target) => target.startsWith("/") && !target.startsWith("/memfd:nothing"))
    .filter((target) => target !== Deno.readLinkSync("/proc/self/fd/1"));
  const inherited = [8, 9].map((fd) => Deno.readLinkSync("/proc/self/fd/" + fd));
  const shared = Deno.readTextFileSync("/proc/self/maps").split("\\n").filter((line) =>
    /^\\S+ ...s \\S+ \\S+ \\d+ +\\//.test(line));
  let program = "started";
  try { new Deno.Command("true").outputSync(); } catch (error) { program = error.name; }
  const raw = errnoOf(c.socket(2, 3, 6));
  const packet = errnoOf(c.socket(17, 2, 0));
  const plain = errnoOf(c.socket(2, 1, 0));
  const typed = errnoOf(Number(c.syscall(${
  Deno.build.arch === "aarch64" ? "29n" : "16n"
}, 0n, 0x5412n, 0n)));
  // With threads that are made later, and what the runtime would look up in its caches.
  const worker = new Worker("data:text/javascript,postMessage('works')", { type: "module" });
  const heard = await new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  worker.terminate();
  const { createHash } = await import("node:" + "crypto");
  const digest = createHash("sha256").update("").digest("hex").slice(0, 8);
  console.log(JSON.stringify({
    surrender, threads, own, writable, inherited, shared, program, raw, packet, plain, typed, heard, digest,
  }));
`;

interface Found {
  surrender: { isNobody: boolean; unfiltered?: string };
  threads: Record<string, string>[];
  own: Record<string, string>;
  writable: string[];
  inherited: string[];
  shared: string[];
  program: string;
  raw: number;
  packet: number;
  plain: number;
  typed: number;
  heard: string;
  digest: string;
}

/** With caches that are used wrongly every one of several look-ups takes 10 s. */
const TIMEOUT_MS = 60_000;

/**
 * Runs the script.
 *
 * @param wrapper a command line that runs the one behind it
 * @param keep a file that is open for appending and is to stay so
 */
async function surrendered(wrapper: string[], keep = ""): Promise<Found> {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/script.ts`;
    const opening = keep === "" ? "" : `Deno.openSync(${JSON.stringify(keep)}, { append: true });`;
    await Deno.writeTextFile(path, opening + script);
    // A file and a pipe are left open for it.
    const shell = 'exec 8>>"$0/left open"; "$@" 9>&1 >"$0/output" | cat; cat "$0/output"';
    const [program, ...args] = [
      ...wrapper,
      ...["sh", "-c", shell, directory],
      ...[Deno.execPath(), "run", "-A", "--quiet", path, keep],
    ];
    const ended = await new Deno.Command(program, {
      args,
      // Its own caches, which it has to fill.
      env: { DENO_DIR: `${directory}/cache` },
      stdin: "null",
      stderr: "inherit",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).output();
    return JSON.parse(new TextDecoder().decode(ended.stdout)) as Found;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const NO_CAPABILITY = "0".repeat(16);

/** What holds whoever the process was. */
function assertConfined(found: Found, writable: string[] = []): void {
  assert.deepEqual(found.writable, writable);
  assert.equal(found.surrender.unfiltered, undefined);
  assert.deepEqual(new Set(found.threads.map((thread) => thread.NoNewPrivs)), new Set(["1"]));
  assert.deepEqual(new Set(found.threads.map((thread) => thread.Seccomp)), new Set(["2"]));
  assert.deepEqual(found.own.CapEff, NO_CAPABILITY);
  assert.deepEqual(found.own.CapPrm, NO_CAPABILITY);
  assert.deepEqual(found.own.CapAmb, NO_CAPABILITY);
  assert.deepEqual(found.inherited, Array(2).fill("/memfd:nothing (deleted)"));
  assert.deepEqual(found.shared, []);
  assert.equal(found.program, "PermissionDenied");
  assert.deepEqual([found.raw, found.packet, found.plain], [1, 1, 0]); // EPERM
  assert.equal(found.typed, 1); // EPERM, and not ENOTTY
  assert.deepEqual([found.heard, found.digest], ["works", "e3b0c442"]);
}

const needsRoot = { ignore: Deno.uid() !== 0 };

Deno.test({
  name: "root becomes nobody in all threads, and keeps nothing",
  ...needsRoot,
  fn: async () => {
    const found = await surrendered([]);
    assertConfined(found);
    assert.equal(found.surrender.isNobody, true);
    assert.deepEqual(found.threads, [{
      ...{ Uid: "65534", Gid: "65534", Groups: "" },
      ...{ CapInh: NO_CAPABILITY, CapPrm: NO_CAPABILITY },
      ...{ CapEff: NO_CAPABILITY, CapAmb: NO_CAPABILITY },
      ...{ NoNewPrivs: "1", Seccomp: "2" },
    }]);
  },
});

Deno.test("a file that is named stays writable", async () => {
  const log = await Deno.makeTempFile();
  try {
    assertConfined(await surrendered([], log), [log]);
  } finally {
    await Deno.remove(log);
  }
});

Deno.test("root of a user namespace without nobody stays what it is, and is confined", async () => {
  const found = await surrendered(["unshare", "--user", "--map-root-user"]);
  assertConfined(found);
  assert.equal(found.surrender.isNobody, false);
  assert.equal(found.own.Uid, "0");
});

Deno.test("a user with ambient capabilities gives up those of its thread", async () => {
  const found = await surrendered(["unshare", "--user", "--map-user=1000", "--keep-caps"]);
  assertConfined(found);
  assert.equal(found.own.Uid, "1000");
});
