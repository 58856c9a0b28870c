import assert from "node:assert/strict";
import { openLog } from "../../src/observe/log.ts";

Deno.test("a line is logged as it stands, with time, program and level", () => {
  const file = Deno.makeTempFileSync();
  try {
    const log = openLog({ program: "tcpcopy", file });
    log.info("playing /tmp/{a} {b.c}.pcap: 100 %");
    log.warn("{{");
    const lines = Deno.readTextFileSync(file).split("\n");
    assert.match(
      lines[0],
      /^\d{4}-\d\d-\d\d [\d:.]{12} tcpcopy: playing \/tmp\/{a} {b\.c}\.pcap: 100 %$/,
    );
    assert.match(lines[1], / tcpcopy: warning: {{$/);
    assert.equal(lines[2], "");
  } finally {
    Deno.removeSync(file);
  }
});
