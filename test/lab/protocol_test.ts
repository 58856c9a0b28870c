/** Unit tests of the lab's framed echo protocol. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeFrame,
  type FrameHeader,
  FrameReader,
  HEADER_BYTES,
  REQUEST_MAGIC,
} from "./protocol.ts";

function request(requestNumber: number, payloadBytes: number): FrameHeader {
  return {
    magic: REQUEST_MAGIC,
    connectionId: 7,
    requestNumber,
    payloadBytes,
    replyBytes: 100,
    repliesRead: requestNumber,
    delayMs: 0,
    flags: 0,
  };
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

Deno.test("frames are found however the stream is cut", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 8 }),
    fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
    (sizes, cuts) => {
      const headers = sizes.map((size, number) => request(number, size));
      const stream = concat(headers.map(encodeFrame));
      const came: FrameHeader[] = [];
      const reader = new FrameReader(REQUEST_MAGIC, { onFrame: (header) => came.push(header) });
      for (let at = 0, i = 0; at < stream.length; i++) {
        const chunk = stream.subarray(at, at + cuts[i % cuts.length]);
        reader.feed(chunk);
        at += chunk.length;
      }
      assert.equal(reader.error, undefined);
      assert.equal(reader.partialBytes, 0);
      assert.equal(reader.totalBytes, stream.length);
      assert.deepEqual(came, headers);
    },
  ));
});

Deno.test("one wrong payload byte is found and placed", () => {
  const stream = concat([encodeFrame(request(0, 50)), encodeFrame(request(1, 80))]);
  const position = HEADER_BYTES + 50 + HEADER_BYTES + 33;
  stream[position] ^= 1;
  const reader = new FrameReader(REQUEST_MAGIC, { onFrame: () => {} });
  reader.feed(stream);
  assert.match(String(reader.error), new RegExp(`^byte ${position}: wrong payload, 33 bytes`));
});

Deno.test("a stream that begins inside a frame is an error at byte 0", () => {
  const reader = new FrameReader(REQUEST_MAGIC, { onFrame: () => {} });
  reader.feed(encodeFrame(request(3, 400)).subarray(100));
  assert.match(String(reader.error), /^byte 0: expected a frame header/);
});

Deno.test("the beginning of a frame counts as partial bytes", () => {
  const reader = new FrameReader(REQUEST_MAGIC, { onFrame: () => {} });
  reader.feed(encodeFrame(request(0, 10)));
  reader.feed(encodeFrame(request(1, 10)).subarray(0, HEADER_BYTES + 4));
  assert.equal(reader.partialBytes, HEADER_BYTES + 4);
});
