import assert from "node:assert/strict";
import fc from "fast-check";
import { closesAfter, encodeMessage, type HttpMessage, HttpReader } from "./http.ts";
import { answerTo, CONNECTION_HEADER, isGood, requestOf } from "./shop.ts";

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

Deno.test("messages are found wherever the stream is cut", () => {
  const stream = concat([requestOf(7, 0, false), requestOf(7, 1, false), requestOf(7, 2, true)]);
  const whole = new HttpReader().feed(stream);
  assert.equal(whole.length, 3);
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 700 })), (sizes) => {
    const reader = new HttpReader();
    const messages: HttpMessage[] = [];
    let at = 0;
    for (const size of [...sizes, stream.length]) {
      messages.push(...reader.feed(stream.subarray(at, at + size)));
      at += size;
    }
    assert.deepEqual(messages, whole);
  }));
});

Deno.test("a request says which connection it belongs to and whether it is the last", () => {
  const [first] = new HttpReader().feed(requestOf(42, 0, false));
  assert.equal(first.headers.get(CONNECTION_HEADER.toLowerCase()), "42");
  assert.equal(closesAfter(first), false);
  const [last] = new HttpReader().feed(requestOf(42, 1, true));
  assert.equal(closesAfter(last), true);
});

Deno.test("every request has a good answer, and always the same", () => {
  for (let connection = 0; connection < 200; connection++) {
    const [request] = new HttpReader().feed(requestOf(connection, 3, false));
    const answer = answerTo(request, 1);
    assert.deepEqual(answerTo(request, 1), answer);
    assert.notEqual(answerTo(request, 2).length, answer.length);
    const [message] = new HttpReader().feed(answer);
    assert.ok(isGood(message), message.start.join(" "));
  }
});

Deno.test("what is not HTTP is refused with a sentence", () => {
  const bytes = new TextEncoder().encode("hello\r\n\r\n");
  assert.throws(
    () => new HttpReader().feed(bytes),
    /expected a first line of HTTP\/1\.1, came "he/,
  );
  const large = encodeMessage("POST / HTTP/1.1", [["Content-Length", "99999999"]]);
  assert.throws(() => new HttpReader().feed(large), /a body of 99999999 bytes/);
});
