import assert from "node:assert/strict";
import { lchownSync } from "node:fs";
import { UsageError } from "../../src/cli/fatal.ts";
import { PidFile } from "../../src/cli/pid_file.ts";

function inDirectory(test: (path: string) => void): () => void {
  return () => {
    const directory = Deno.makeTempDirSync();
    try {
      test(`${directory}/program.pid`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  };
}

// As root a shell is started that outlives the test on purpose.
const outlived = { sanitizeResources: false, sanitizeOps: false };

Deno.test(
  "the file holds the process number as long as the process has it",
  outlived,
  inDirectory((path) => {
    {
      using _file = new PidFile(path);
      assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
      assert.throws(
        () => new PidFile(path),
        new RegExp(`process ${Deno.pid} is running and has it`),
      );
    }
    assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
  }),
);

Deno.test(
  "a file left behind is taken over, whatever process has its number now",
  outlived,
  inDirectory((path) => {
    Deno.writeTextFileSync(path, "1\n");
    using _file = new PidFile(path);
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
  }),
);

Deno.test(
  "a file with anything else in it, and one that cannot be, is refused and left alone",
  inDirectory((path) => {
    Deno.writeTextFileSync(path, "precious\n");
    assert.throws(() => new PidFile(path), UsageError);
    assert.equal(Deno.readTextFileSync(path), "precious\n");
    assert.throws(() => new PidFile(`${path}/below`), UsageError);
  }),
);

Deno.test(
  "what stays open of the file cannot be written through",
  outlived,
  inDirectory((path) => {
    using _file = new PidFile(path);
    const open = Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => name)
      .filter((fd) => linkAt(`/proc/self/fd/${fd}`) === path)
      .map((fd) => Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`))
      .map((text) => parseInt(/^flags:\s*(\d+)$/m.exec(text)![1], 8) & 3);
    assert.deepEqual(open, [0]); // O_RDONLY
  }),
);

Deno.test({
  name: "another user's link is refused, and what it leads to left alone",
  ignore: Deno.uid() !== 0,
  fn: inDirectory((path) => {
    Deno.writeTextFileSync(`${path}.victim`, "");
    Deno.symlinkSync(`${path}.victim`, path);
    lchownSync(path, 12345, 12345);
    assert.throws(() => new PidFile(path), UsageError);
    assert.equal(Deno.readTextFileSync(`${path}.victim`), "");
  }),
});

function linkAt(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined; // closed meanwhile
    throw error;
  }
}
