import assert from "node:assert/strict";
import { DumpFiles, type DumpFilesOptions } from "../../src/trafficdump/dump_files.ts";
import { EntryKind, Outbox } from "../../src/trafficdump/outbox.ts";
import { readRecords } from "./dump_log.ts";

const T0 = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

async function inDirectory(
  use: (directory: string, open: (more?: Partial<DumpFilesOptions>) => DumpFiles) => unknown,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  const opened: DumpFiles[] = [];
  try {
    await use(directory, (more = {}) => {
      const files = new DumpFiles({
        directory,
        fileBytes: 1 << 30,
        fileAgeMs: 86_400_000,
        maxBytes: 1 << 30,
        minFreeBytes: 0,
        asLayotto: false,
        ...more,
      });
      opened.push(files);
      return files;
    });
  } finally {
    for (const files of opened) files.close(T0);
    await Deno.remove(directory, { recursive: true });
  }
}

/** A batch with records of one client. */
function batch(...records: Uint8Array[]): [ArrayBuffer, number] {
  return batchOf(records.map((bytes) => ({ kind: EntryKind.Record, bytes })));
}

function batchOf(entries: { kind: number; bytes: Uint8Array }[]): [ArrayBuffer, number] {
  let made: [ArrayBuffer, number] | undefined;
  const outbox = new Outbox(1 << 30, (buffer, length) => made = [buffer, length]);
  let position = 0;
  for (const { kind, bytes } of entries) {
    const at = outbox.reserve({
      kind,
      length: bytes.length,
      timestampUs: T0 * 1000,
      clientAddress: 0x01020304,
      clientPort: 5678,
      port: 80,
      position,
    });
    outbox.bytes.set(bytes, at);
    position += bytes.length;
  }
  outbox.flush();
  return made as [ArrayBuffer, number];
}

function total(directory: string): number {
  return [...Deno.readDirSync(directory)].reduce(
    (sum, { name }) => sum + Deno.statSync(`${directory}/${name}`).size,
    0,
  );
}

Deno.test("lines are as Layotto writes them", () =>
  inDirectory((directory, open) => {
    const files = open();
    files.openWindow("w-1", T0);
    files.batch(...batch(Uint8Array.of(0, 0xab, 255), Uint8Array.of(10)), T0);
    files.line("portrait", '[w-1][RPC][80]{"a":1}', T0);
    files.close(T0);
    const read = (name: string) => Deno.readTextFileSync(`${directory}/${name}`);
    assert.equal(read("dump_tcp_copy.log"), "[w-1][80]00 ab ff\n[w-1][80]0a\n");
    assert.equal(read("dump_portrait_data.log"), '[w-1][RPC][80]{"a":1}\n');
    assert.equal(
      read("dump_connections.log"),
      "[w-1][80][1.2.3.4:5678]0 3\n[w-1][80][1.2.3.4:5678]3 1\n",
    );
    assert.equal(files.counters.records, 2);
    assert.equal(files.counters.fileBytes, total(directory));
  }));

Deno.test("on request with the time and level of Layotto's logger", () =>
  inDirectory((directory, open) => {
    const files = open({ asLayotto: true });
    files.openWindow("w", T0);
    files.batch(...batch(Uint8Array.of(1)), T0);
    // A number of milliseconds, as its logger writes it: not padded.
    files.batch(...batch(Uint8Array.of(2)), T0 - 671);
    const text = Deno.readTextFileSync(`${directory}/dump_tcp_copy.log`);
    const prefix = String.raw`2026-01-0[123] \d\d:\d4:05`;
    assert.match(
      text,
      new RegExp(
        `^${prefix},678 \\[INFO\\] \\[w\\]\\[80\\]01\n${prefix},7 \\[INFO\\] \\[w\\]\\[80\\]02\n$`,
      ),
    );
  }));

Deno.test("files of other programs are neither counted nor deleted, whatever the cap", () =>
  inDirectory((directory, open) => {
    const others = [
      // How Layotto's logger names its archives: by day, by hour, and several of them.
      ...["dump_tcp_copy.log.2026-01-01", "dump_tcp_copy.log.2026-01-01.1"],
      ...["dump_mem_dump.log.2026-01-01_15", "dump_portrait_data.log.2026-01-01_15.2"],
      ...["dump_other.log.2026-01-01_030405", "dump_tcp_copy.log.gz", "dump_window_mine.pcapng"],
    ];
    for (const name of others) Deno.writeTextFileSync(`${directory}/${name}`, "x".repeat(100_000));
    const own = `${directory}/dump_tcp_copy.log.2026-01-01_030405`;
    Deno.writeTextFileSync(own, "x".repeat(100_000));
    const files = open({ fileBytes: 40_000, maxBytes: 200_000 });
    files.openWindow("w", T0);
    for (let number = 0; number < 30; number++) {
      files.batch(...batch(new Uint8Array(4_000)), T0 + number * 1000);
    }
    assert.equal(files.counters.failedRecords, 0);
    assert.ok(files.counters.deletedFiles > 1);
    for (const name of others) assert.equal(Deno.statSync(`${directory}/${name}`).size, 100_000);
    assert.throws(() => Deno.statSync(own), Deno.errors.NotFound);
  }));

Deno.test("a file another program writes to is left to it, and that is said", () =>
  inDirectory((directory, open) => {
    const files = open({ fileBytes: 40_000 });
    const path = `${directory}/dump_tcp_copy.log`;
    files.openWindow("w", T0);
    files.batch(...batch(Uint8Array.of(1)), T0);
    Deno.writeTextFileSync(path, "its line\n", { append: true });
    for (let number = 0; number < 9; number++) {
      files.batch(...batch(new Uint8Array(4_000)), T0 + 86_400_000);
      assert.match(files.trouble ?? "", /another program writes to dump_tcp_copy\.log/);
    }
    assert.equal(files.counters.failedRecords, 9);
    assert.equal(Deno.readTextFileSync(path), "[w][80]01\nits line\n");
  }));

Deno.test("files are set aside by size and by age, and the oldest deleted at the cap", () =>
  inDirectory(async (directory, open) => {
    const maxBytes = 400_000;
    const files = open({ fileBytes: 50_000, maxBytes });
    files.openWindow("w", T0);
    const pieces: Uint8Array[] = [];
    for (let number = 0; number < 60; number++) {
      const bytes = new Uint8Array(4_000).fill(number);
      pieces.push(bytes);
      files.batch(...batch(bytes), T0 + number * 1000);
      assert.ok(total(directory) <= maxBytes);
    }
    const { records, failedRecords, deletedFiles } = files.counters;
    assert.deepEqual([records, failedRecords], [60, 0]);
    assert.ok(deletedFiles > 0);
    const names = [...Deno.readDirSync(directory)].map(({ name }) => name);
    assert.ok(names.filter((name) => /^dump_tcp_copy\.log\.2026-/.test(name)).length > 1);
    // What is left is the end of what was written, and whole.
    const last = await Deno.readTextFile(`${directory}/dump_tcp_copy.log`);
    assert.match(last, /^(\[w\]\[80\]([0-9a-f]{2}[ \n]){4000})+$/);
    // A later start counts what is there.
    files.close(T0);
    const again = open({ fileBytes: 50_000, fileAgeMs: 1_000, maxBytes });
    again.openWindow("v", T0 + 1e6);
    again.batch(...batch(new Uint8Array(4_000)), T0 + 1e6);
    again.batch(...batch(new Uint8Array(4_000)), Date.now() + 1e9);
    assert.ok(total(directory) <= maxBytes);
    const aside = [...Deno.readDirSync(directory)].filter(({ name }) => /copy\.log\./.test(name));
    assert.ok(aside.length > names.filter((name) => /copy\.log\./.test(name)).length - 2);
  }));

Deno.test("the minimum of free space is kept, what is not written is counted", () =>
  inDirectory((directory, open) => {
    const files = open({ minFreeBytes: 2 ** 60 });
    files.openWindow("w", T0);
    files.batch(...batch(Uint8Array.of(1, 2), Uint8Array.of(3)), T0);
    assert.match(files.trouble ?? "", /have to stay free/);
    const { records, failedRecords, failedBytes } = files.counters;
    assert.deepEqual([records, failedRecords, failedBytes], [0, 2, 3]);
    assert.equal(total(directory), 0);
  }));

Deno.test("the address a stand-in is for is known until the window's end, also after the fuse", () =>
  inDirectory((directory, open) => {
    const files = open();
    const client = batchOf([{
      kind: EntryKind.Client,
      bytes: new TextEncoder().encode("2001:db8::1"),
    }]);
    files.openWindow("w", T0);
    files.drop(...client);
    files.batch(...batch(Uint8Array.of(1)), T0);
    files.openWindow("v", T0);
    files.batch(...batch(Uint8Array.of(1)), T0);
    assert.equal(
      Deno.readTextFileSync(`${directory}/dump_connections.log`),
      "[w][80][[2001:db8::1]:5678]0 1\n[v][80][1.2.3.4:5678]0 1\n",
    );
  }));

Deno.test("a batch the fuse has given up is counted, not written", () =>
  inDirectory(async (directory, open) => {
    const files = open();
    files.openWindow("w", T0);
    files.drop(...batch(Uint8Array.of(1, 2), Uint8Array.of(3)));
    files.closeWindow(T0);
    assert.deepEqual([files.counters.fusedRecords, files.counters.fusedBytes], [2, 3]);
    files.openWindow("v", T0);
    files.batch(...batch(Uint8Array.of(4)), T0);
    assert.equal((await readRecords(directory)).length, 1);
  }));
