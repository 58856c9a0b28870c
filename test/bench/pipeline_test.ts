import assert from "node:assert/strict";

const program = new URL("../../bench/pipeline/main.ts", import.meta.url).pathname;

for (const workers of ["1", "2"]) {
  Deno.test(`the pipeline's benchmark measures something, workers: ${workers}`, async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--quiet", "--v8-flags=--expose-gc", program],
        ...["--packets", "1000", "--flows", "500", "--concurrent", "100", "--workers", workers],
      ],
      stdin: "null",
      signal: AbortSignal.timeout(60_000),
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(code, 0, text);
    assert.match(text, /[1-9]\d* (captured )?packets a second/, text);
  });
}
