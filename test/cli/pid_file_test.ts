import assert from "node:assert/strict";
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
