/** The real programs as root: what they keep, and which links they follow. */

import assert from "node:assert/strict";
import { isUserNamespace } from "./enter.ts";

Deno.test({
  name: "programs that run as root keep none of its rights, and follow no other user's links",
  ignore: Deno.uid() !== 0 || isUserNamespace(),
  fn: async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", new URL("privileges.ts", import.meta.url).pathname],
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    const output = decoder.decode(stdout) + decoder.decode(stderr);
    assert.deepEqual([code, output.trim()], [0, "[]"]);
  },
});
