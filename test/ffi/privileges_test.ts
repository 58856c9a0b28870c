import assert from "node:assert/strict";

const script = `
  import { dropRoot } from ${
  JSON.stringify(new URL("../../ffi/privileges.ts", import.meta.url).href)
};
  const dropped = dropRoot({ keepReading: Deno.args[0] === "keep" });
  const status = Deno.readTextFileSync("/proc/self/status");
  const pick = (key) => new RegExp("^" + key + ":[ \\\\t]*(.*)$", "m").exec(status)[1];
  console.log(JSON.stringify({ dropped, uid: Deno.uid(), groups: pick("Groups").trim(), effective: pick("CapEff") }));
`;

async function inProcess(command: string[], more: string[] = []): Promise<Record<string, unknown>> {
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, script);
    const [program, ...args] = [...command, Deno.execPath(), "run", "-A", "--quiet", path, ...more];
    const { stdout } = await new Deno.Command(program, { args, stderr: "inherit" }).output();
    return JSON.parse(new TextDecoder().decode(stdout));
  } finally {
    await Deno.remove(path);
  }
}

Deno.test({
  name: "root becomes nobody, without groups and capabilities",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    assert.deepEqual(await inProcess([]), {
      dropped: true,
      uid: 65534,
      groups: "",
      effective: "0000000000000000",
    });
  },
});

Deno.test({
  name: "root can keep the right to read files, and nothing else",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const { uid, effective } = await inProcess([], ["keep"]);
    assert.deepEqual([uid, effective], [65534, "0000000000000004"]); // CAP_DAC_READ_SEARCH
  },
});

Deno.test("root of a user namespace without nobody stays what it is", async () => {
  const { dropped, uid } = await inProcess(["unshare", "--user", "--map-root-user"]);
  assert.deepEqual([dropped, uid], [false, 0]);
});
