import assert from "node:assert/strict";
import { Errno, SystemError } from "../../ffi/errno.ts";
import { InvariantError } from "../../ffi/invariant.ts";
import { CaptureFileError } from "../../src/capture/pcap_file.ts";
import { describeFatal, faultOfWorker, UsageError } from "../../src/cli/fatal.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";

function thrownBy(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

Deno.test("what users can correct is one line", () => {
  for (
    const error of [
      new UsageError("-x: expected a port"),
      new CaptureFileError("a.pcap: is damaged", 3, false),
      new SystemError("capture", "socket", Errno.EPERM),
      // From another thread, where classes get lost.
      structuredClone(new UsageError("-x: expected a port")),
    ]
  ) {
    assert.equal(describeFatal("tcpcopy", error), `tcpcopy: ${error.message}`);
  }
});

Deno.test("what must hold and does not is a fault, with its stack, also from another thread", () => {
  const loop = new EventLoop();
  loop.close();
  const failed = thrownBy(() => loop.add(0, 0, () => {}));
  assert.ok(failed instanceof InvariantError);
  for (const error of [failed, structuredClone(failed)]) {
    const text = describeFatal("tcpcopy", error);
    assert.match(text, /^tcpcopy: this is a fault of the program, please report it: /);
    assert.match(text, /event loop was closed/);
    assert.match(text, /event_loop\.ts:\d+/);
  }
});

Deno.test("so is a descriptor the kernel does not know, and what a worker let fall", () => {
  const error = new SystemError("file descriptor 7", "close", Errno.EBADF);
  assert.match(describeFatal("intercept", error), /a fault of the program.*\n +at /s);
  const event = new ErrorEvent("error", { message: "x is not y", filename: "a.ts", lineno: 12 });
  const text = describeFatal("intercept", faultOfWorker("worker 2", event));
  assert.match(text, /a fault of the program.*worker 2: x is not y \(a\.ts:12\)/);
  assert.match(describeFatal("intercept", "text"), /a fault of the program.*text/);
});
