import assert from "node:assert/strict";

const MODULE = new URL("../../src/cli/terminal.ts", import.meta.url).pathname;
const ASK = `import { endsWithTerminal } from "${MODULE}"; console.log(endsWithTerminal());`;

/** What a program says that is started by this shell command, in which `ask` is the program. */
async function asked(command: string): Promise<string> {
  const file = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(file, ASK);
    const script = command.replace("ask", `"${Deno.execPath()}" run -A ${file}`);
    const { stdout, stderr } = await new Deno.Command("sh", {
      args: ["-c", script],
      stdin: "null",
      env: { NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    return (decoder.decode(stdout) + decoder.decode(stderr)).trim();
  } finally {
    Deno.removeSync(file);
  }
}

Deno.test("SIGHUP ends a program with its terminal, unless nohup forbids it", async () => {
  assert.equal(await asked("script -qec 'ask' /dev/null"), "true");
  assert.equal(await asked("script -qec 'nohup ask 2>/dev/null | cat' /dev/null"), "false");
});

Deno.test("SIGHUP asks a program without a terminal for something", async () => {
  assert.equal(await asked("setsid -w ask"), "false");
});
