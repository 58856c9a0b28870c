import assert from "node:assert/strict";
import { lchownSync } from "node:fs";
import { NOBODY } from "../../ffi/privileges.ts";
import { openLog, reopenLog } from "../../src/observe/log.ts";

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

Deno.test("after a rotation the log goes to the new file, or on to the old one and says why", () => {
  const directory = Deno.makeTempDirSync();
  const [path, first, second] = ["log", "log.1", "log.2"].map((name) => `${directory}/${name}`);
  try {
    const log = openLog({ program: "tcpcopy", file: path });
    log.info("one");
    Deno.renameSync(path, first);
    log.info("two");
    assert.equal(reopenLog(log, "SIGUSR1"), true);
    log.info("three");
    assert.match(Deno.readTextFileSync(first), /tcpcopy: one\n.* tcpcopy: two\n$/);
    assert.match(
      Deno.readTextFileSync(path),
      /^\S+ \S+ tcpcopy: SIGUSR1: log file \S+\/log opened again\n.* tcpcopy: three\n$/,
    );
    Deno.renameSync(path, second);
    Deno.mkdirSync(path);
    assert.equal(reopenLog(log, "SIGHUP"), true);
    log.info("four");
    assert.match(
      Deno.readTextFileSync(second),
      /warning: SIGHUP: log file \S+\/log cannot be opened .*; this file is written on\. .*\n.* four\n$/,
    );
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("a log on standard error is not opened again", () => {
  assert.equal(reopenLog(openLog({ program: "tcpcopy" }), "SIGUSR1"), false);
});
