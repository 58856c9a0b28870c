import assert from "node:assert/strict";
import { lchownSync } from "node:fs";
import { NOBODY } from "../../ffi/privileges.ts";
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

Deno.test({
  name: "as root a new file is nobody's, one that is there keeps its owner, a link is not followed",
  ignore: Deno.uid() !== 0,
  fn: () => {
    const directory = Deno.makeTempDirSync();
    try {
      const [made, there, link] = ["made", "there", "link"].map((name) => `${directory}/${name}`);
      Deno.writeTextFileSync(there, "before\n");
      Deno.symlinkSync(there, link);
      lchownSync(link, 12345, 12345);
      openLog({ program: "tcpcopy", file: made }).info("one");
      assert.equal(Deno.statSync(made).uid, NOBODY);
      openLog({ program: "tcpcopy", file: there }).info("two");
      assert.equal(Deno.statSync(there).uid, 0);
      assert.match(Deno.readTextFileSync(there), /^before\n.* tcpcopy: two\n$/);
      assert.throws(
        () => openLog({ program: "tcpcopy", file: link }),
        /log file .*link cannot be opened for appending: "link" .* symbolic link of user 12345/,
      );
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
});
