import assert from "node:assert/strict";
import { looksEncrypted } from "../../src/wire/tls.ts";

function looks(bytes: number[], isBeginning = true): boolean {
  return looksEncrypted(bytes.length, (at) => bytes[at], isBeginning);
}

Deno.test("a ClientHello is recognised, whatever version its record claims", () => {
  for (const minor of [0, 1, 3, 4]) assert.ok(looks([22, 3, minor, 2, 0, 1, 0, 1]));
});

Deno.test("encrypted data is TLS only where the beginning was not seen", () => {
  const record = [23, 3, 3, 0, 40, 9, 9, 9];
  assert.equal(looks(record), false);
  assert.equal(looks(record, false), true);
});

Deno.test("what is no record is not TLS", () => {
  const others = [
    [22, 3, 1, 2, 0], // cut off before the message
    [22, 2, 1, 2, 0, 1], // no such version
    [22, 3, 5, 2, 0, 1],
    [22, 3, 1, 0, 0, 1], // nothing in it
    [22, 3, 1, 0x60, 0, 1], // longer than records are
    [22, 3, 1, 2, 0, 2], // a server's hello
    [...new TextEncoder().encode("GET / HTTP/1.1\r\n")],
    [1, 0, 0, 0, 10, 1],
  ];
  for (const bytes of others) {
    assert.equal(looks(bytes), false, String(bytes));
    assert.equal(looks(bytes, false), false, String(bytes));
  }
});
