import assert from "node:assert/strict";
import fc from "fast-check";
import {
  FRAME_HEADER_BYTES,
  type FrameMode,
  maxRecordsPerFrame,
  RECORD_BYTES,
  RECORD_WITH_PAYLOAD_BYTES,
  type RecordBytes,
  ResponseDecoder,
  ResponseEncoder,
} from "../../src/tunnel/codec.ts";
import { targetPacket } from "./packets.ts";

const modes = fc.constantFrom<FrameMode>("combined", "bare");
const sizes = fc.constantFrom<RecordBytes>(RECORD_BYTES, RECORD_WITH_PAYLOAD_BYTES);

function makeEncoder(
  capacity: number,
  mode: FrameMode = "combined",
  size: RecordBytes = RECORD_BYTES,
) {
  const bytes = new Uint8Array(capacity + 40).fill(0xee);
  const encoder = new ResponseEncoder(bytes, new DataView(bytes.buffer), 20, capacity, mode, size);
  const pending = () => bytes.slice(encoder.start, encoder.end);
  return { bytes, encoder, pending };
}

/** The sequence numbers of the records in a stream handed over in pieces. */
function decode(stream: Uint8Array, pieces: readonly number[], mode: FrameMode, size: RecordBytes) {
  const sequences: number[] = [];
  const decoder = new ResponseDecoder(mode, size, (_bytes, view, offset, length) => {
    assert.ok(length >= 40 && length <= size);
    sequences.push(view.getInt32(offset + 24));
  });
  let at = 0;
  let good = true;
  for (const piece of [...pieces, stream.length]) {
    const length = Math.min(piece, stream.length - at);
    // Fresh memory for each piece: the decoder must not look at an earlier one again.
    const chunk = stream.slice(at, at + length);
    good = decoder.feed(chunk, new DataView(chunk.buffer), 0, length);
    chunk.fill(0xff);
    at += length;
  }
  return { sequences, decoder, good };
}

Deno.test("records come out as they went in, however the stream is cut", () => {
  fc.assert(fc.property(
    modes,
    sizes,
    fc.array(fc.tuple(fc.integer({ min: -0x80000000, max: 0x7fffffff }), fc.boolean()), {
      maxLength: 60,
    }),
    fc.array(fc.nat(400), { maxLength: 40 }),
    (mode, size, records, pieces) => {
      const { encoder, pending } = makeEncoder(70 * 200, mode, size);
      for (const [sequence, endsFrame] of records) {
        assert.equal(encoder.append(targetPacket({ sequence })), true);
        if (endsFrame) encoder.endFrame();
      }
      const { sequences, decoder, good } = decode(pending(), pieces, mode, size);
      assert.equal(good, true, decoder.error);
      assert.deepEqual(sequences, records.map(([sequence]) => sequence));
      assert.equal(decoder.records, records.length);
    },
  ));
});

Deno.test("frames hold at most as many records as the original takes", () => {
  for (const size of [RECORD_BYTES, RECORD_WITH_PAYLOAD_BYTES] as const) {
    const { encoder, pending } = makeEncoder(100_000, "combined", size);
    for (let i = 0; i < 40; i++) encoder.append(targetPacket());
    const stream = pending();
    const counts: number[] = [];
    for (let at = 0; at < stream.length; at += FRAME_HEADER_BYTES + counts.at(-1)! * size) {
      counts.push(stream[at] * 256 + stream[at + 1]);
    }
    const max = maxRecordsPerFrame(size);
    assert.equal(max, size === RECORD_BYTES ? 16 : 6);
    assert.deepEqual(counts, [...new Array(Math.floor(40 / max)).fill(max), 40 % max]);
  }
});

Deno.test("single records have nothing in front of them", () => {
  const { encoder, pending } = makeEncoder(1000, "bare");
  encoder.append(targetPacket());
  encoder.append(targetPacket());
  assert.equal(pending().length, 128);
  assert.equal(pending()[0], 0x45);
});

Deno.test("the queue never leaves its memory, refuses what does not fit and loses nothing else", () => {
  fc.assert(fc.property(
    modes,
    fc.integer({ min: 60, max: 1500 }),
    fc.array(fc.oneof(fc.constant("append"), fc.constant("end"), fc.nat(700)), { maxLength: 200 }),
    (mode, capacity, steps) => {
      const { bytes, encoder, pending } = makeEncoder(capacity, mode);
      const sent: number[] = [];
      const accepted: number[] = [];
      let sequence = 0;
      for (const step of steps) {
        if (step === "end") encoder.endFrame();
        else if (step === "append") {
          sequence++;
          if (encoder.append(targetPacket({ sequence }))) accepted.push(sequence);
          else assert.ok(encoder.pendingBytes + 66 > capacity * 3 / 4 - 66, "refused with room");
        } else {
          encoder.endFrame();
          const count = Math.min(step as number, encoder.pendingBytes);
          sent.push(...pending().subarray(0, count));
          encoder.consume(count);
        }
      }
      encoder.endFrame();
      sent.push(...pending());
      assert.ok(bytes.subarray(0, 20).every((byte) => byte === 0xee));
      assert.ok(bytes.subarray(20 + capacity).every((byte) => byte === 0xee));
      const { sequences, good } = decode(Uint8Array.from(sent), [], mode, RECORD_BYTES);
      assert.equal(good, true);
      assert.deepEqual(sequences, accepted);
    },
  ));
});

Deno.test("a record written earlier is taken as it is", () => {
  const first = makeEncoder(200, "bare");
  first.encoder.append(targetPacket({ sequence: 42 }));
  const second = makeEncoder(200);
  const view = new DataView(first.bytes.buffer);
  assert.equal(second.encoder.appendRecord(view, first.encoder.start), true);
  assert.deepEqual(second.pending().slice(2), first.pending());
});

Deno.test("counts that no frame has are refused with a reason", () => {
  for (
    const [size, count] of [[RECORD_BYTES, 0], [RECORD_BYTES, 17], [
      RECORD_WITH_PAYLOAD_BYTES,
      7,
    ]] as const
  ) {
    const { good, decoder } = decode(Uint8Array.of(0, count, 0x45), [1], "combined", size);
    assert.equal(good, false);
    assert.match(decoder.error, new RegExp(`got a count of ${count}: is intercept`));
  }
});

Deno.test("frames of the other kind are refused with a reason", () => {
  const single = makeEncoder(200, "bare");
  single.encoder.append(targetPacket());
  assert.match(decode(single.pending(), [], "combined", RECORD_BYTES).decoder.error, /a count of/);
  const combined = makeEncoder(400);
  for (let i = 0; i < 3; i++) combined.encoder.append(targetPacket());
  assert.match(decode(combined.pending(), [], "bare", RECORD_BYTES).decoder.error, /IPv4 TCP/);
});

Deno.test("a record that contradicts itself is left out, the others are not", () => {
  const { encoder, pending } = makeEncoder(400);
  for (const sequence of [1, 2, 3]) encoder.append(targetPacket({ sequence }));
  const stream = pending();
  stream[2 + 64 + 2] = 0;
  stream[2 + 64 + 3] = 30; // total length of the second record
  const { sequences, decoder, good } = decode(stream, [100], "combined", RECORD_BYTES);
  assert.deepEqual([sequences, good, decoder.uselessRecords], [[1, 3], true, 1]);
});

Deno.test("any bytes: no exception", () => {
  fc.assert(fc.property(modes, sizes, fc.uint8Array({ maxLength: 600 }), fc.array(fc.nat(90)), (
    mode,
    size,
    bytes,
    pieces,
  ) => {
    const { decoder, good } = decode(bytes, pieces, mode, size);
    assert.equal(good, decoder.error === "");
  }));
});

Deno.test("frames can be kept shorter than the protocol allows", () => {
  const bytes = new Uint8Array(1000);
  const view = new DataView(bytes.buffer);
  const encoder = new ResponseEncoder(bytes, view, 0, 1000, "combined", RECORD_BYTES, 2);
  const record = new DataView(new ArrayBuffer(RECORD_BYTES));
  for (let i = 0; i < 3; i++) encoder.appendRecord(record, 0);
  assert.deepEqual([view.getUint16(0), view.getUint16(2 + 2 * RECORD_BYTES)], [2, 1]);
});
