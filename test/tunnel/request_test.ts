import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeRequest,
  encodeVersion,
  REQUEST_BYTES,
  RequestDecoder,
  RequestType,
} from "../../src/tunnel/codec.ts";

type Message = [type: number, client: number, clientPort: number, target: number, port: number];

const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const port = fc.nat(65535);
const message: fc.Arbitrary<Message> = fc.tuple(
  fc.constantFrom(RequestType.Announce, RequestType.Forget),
  int32,
  port,
  int32,
  port,
);

/** The stream of a client that sends these messages after its version. */
function encode(messages: readonly Message[]): Uint8Array {
  const bytes = new Uint8Array((messages.length + 1) * REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  encodeVersion(view, 0);
  messages.forEach((fields, i) => encodeRequest(view, (i + 1) * REQUEST_BYTES, ...fields));
  return bytes;
}

/** Decodes a stream handed over in pieces of the given lengths, the rest in one. */
function decode(stream: Uint8Array, pieces: readonly number[]) {
  const messages: Message[] = [];
  const decoder = new RequestDecoder({
    onAnnounce: (...fields) => messages.push([RequestType.Announce, ...fields]),
    onForget: (...fields) => messages.push([RequestType.Forget, ...fields]),
  });
  let at = 0;
  let good = true;
  for (const piece of [...pieces, stream.length]) {
    const length = Math.min(piece, stream.length - at);
    const chunk = stream.slice(at, at + length);
    good = decoder.feed(new DataView(chunk.buffer), 0, length);
    at += length;
  }
  return { messages, decoder, good };
}

Deno.test("the layout of a message", () => {
  const view = new DataView(new ArrayBuffer(16));
  encodeRequest(view, 1, RequestType.Announce, 0xc6120001 | 0, 0x9c40, 0x01020304, 80);
  assert.equal(new Uint8Array(view.buffer, 1, 14).toHex(), "c61200019c400001010203040050");
  encodeVersion(view, 1);
  assert.equal(new Uint8Array(view.buffer, 1, 14).toHex(), "0000000000000006000000000000");
});

Deno.test("messages come out as they went in, however the stream is cut", () => {
  fc.assert(fc.property(
    fc.array(message, { maxLength: 20 }),
    fc.array(fc.nat(40), { maxLength: 30 }),
    (messages, pieces) => {
      const { messages: seen, decoder, good } = decode(encode(messages), pieces);
      assert.equal(good, true, decoder.error);
      assert.deepEqual(seen, messages);
      assert.equal(decoder.messages, messages.length + 1);
    },
  ));
});

Deno.test("a stream without the version message is refused", () => {
  const { decoder, good, messages } = decode(encode([[1, 5, 6, 7, 8]]).slice(REQUEST_BYTES), [3]);
  assert.equal(good, false);
  assert.match(decoder.error, /expected the version message first, got type 1 for 0\.0\.0\.5:6/);
  assert.deepEqual(messages, []);
});

Deno.test("another version is refused", () => {
  const stream = encode([]);
  stream[7] = 5;
  assert.match(decode(stream, []).decoder.error, /expected protocol version 6, the peer speaks 5/);
});

Deno.test("an unknown type ends the stream, and nothing behind it is taken", () => {
  const { decoder, messages, good } = decode(
    encode([[1, 1, 1, 1, 1], [9, 2, 2, 2, 2], [1, 3, 3, 3, 3]]),
    [],
  );
  assert.equal(good, false);
  assert.match(decoder.error, /got type 9/);
  assert.deepEqual(messages, [[1, 1, 1, 1, 1]]);
  assert.equal(decoder.feed(new DataView(new ArrayBuffer(28)), 0, 28), false);
});

Deno.test("any bytes: no exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(fc.nat(20)), (bytes, pieces) => {
      const { decoder, good } = decode(bytes, pieces);
      assert.equal(good, decoder.error === "");
    }),
  );
});
