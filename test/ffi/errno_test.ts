import assert from "node:assert/strict";
import { Errno, errnoCode, errnoText, SystemError } from "../../ffi/errno.ts";

Deno.test("a system error says what, which call, how, and the cure", () => {
  const error = new SystemError("capture socket", "socket", Errno.EPERM);
  assert.equal(
    error.message,
    "capture socket: socket failed: EPERM (Operation not permitted): needs root or CAP_NET_RAW",
  );
  assert.deepEqual([error.call, error.errno, error.code], ["socket", 1, "EPERM"]);
  assert.ok(error instanceof Error);
});

Deno.test("cures depend on the call; unknown ones are left out", () => {
  const message = (call: string, errno: number) => new SystemError("x", call, errno).message;
  assert.match(message("setsockopt", Errno.EPERM), /CAP_NET_ADMIN$/);
  assert.match(message("bind", Errno.EACCES), /CAP_NET_BIND_SERVICE$/);
  assert.match(message("bind", Errno.EADDRINUSE), /choose another port$/);
  assert.match(message("bind", Errno.EADDRNOTAVAIL), /no interface of this host$/);
  assert.match(message("accept4", Errno.EMFILE), /ulimit -n\)$/);
  assert.match(message("recv", Errno.ECONNRESET), /ECONNRESET \(Connection reset by peer\)$/);
});

Deno.test("every named error number has its name and text", () => {
  for (const [name, number] of Object.entries(Errno)) {
    assert.equal(errnoCode(number), name);
    assert.ok(!errnoText(number).startsWith("Unknown"));
  }
  assert.equal(errnoCode(9999), "errno 9999");
  assert.equal(errnoText(9999), "Unknown error 9999");
});
