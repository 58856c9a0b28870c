/** The demo as anybody would start it; it needs what the lab needs. */

import assert from "node:assert/strict";

const TIMEOUT_MS = 90_000;
/** An environment variable by which everything a demo has started can be recognized. */
const MARK = "TCPCOPY_DEMO_TEST";

function start(mark: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("main.ts", import.meta.url).pathname],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { [MARK]: mark, NO_COLOR: "1" },
  }).spawn();
}

/** Processes that carry the mark; those that end just now do not count. */
function marked(mark: string): number[] {
  const pids: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const variables = Deno.readTextFileSync(`/proc/${name}/environ`).split("\0");
      if (variables.includes(`${MARK}=${mark}`)) pids.push(Number(name));
    } catch {
      continue; // somebody else's, or gone
    }
  }
  return pids;
}

async function assertNothingLeft(mark: string): Promise<void> {
  for (let attempt = 0; attempt < 50 && marked(mark).length > 0; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(marked(mark), []);
}

Deno.test("demo: everything arrives, and nothing is left behind", async () => {
  const mark = crypto.randomUUID();
  const child = start(mark);
  const timer = setTimeout(() => child.kill("SIGTERM"), TIMEOUT_MS);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const text = new TextDecoder().decode(stdout);
  const said = text + new TextDecoder().decode(stderr);
  assert.equal(code, 0, said);
  assert.match(text, /^live +[\d,]+ +[\d,]+ +100 %/m, said);
  assert.match(text, /^offline +[\d,]+ +[\d,]+ +100 %/m, said);
  await assertNothingLeft(mark);
});

for (const signal of ["SIGINT", "SIGKILL"] as const) {
  Deno.test(`demo: ${signal} in the middle leaves nothing behind`, async () => {
    const mark = crypto.randomUUID();
    const child = start(mark);
    const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
    let text = "";
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      const wasRunning = /^programs /m.test(text);
      text += chunk;
      if (!wasRunning && /^programs /m.test(text)) {
        assert.ok(marked(mark).length > 5, "the mark must be seen on what runs inside");
        child.kill(signal);
      }
    }
    const { code } = await child.status;
    clearTimeout(timer);
    await child.stderr.cancel();
    assert.equal(code, signal === "SIGINT" ? 130 : 137, text);
    await assertNothingLeft(mark);
  });
}
