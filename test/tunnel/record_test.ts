import assert from "node:assert/strict";
import fc from "fast-check";
import {
  normalizeRecord,
  NOT_A_RECORD,
  RECORD_BYTES,
  RECORD_WITH_PAYLOAD_BYTES,
  type RecordBytes,
  USELESS_RECORD,
  writeRecord,
} from "../../src/tunnel/codec.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { TcpOptions } from "../../src/wire/tcp_options.ts";
import { parsed, targetBytes, targetPacket } from "./packets.ts";

/** Timestamps and three SACK blocks: 40 bytes, of which 24 fit. */
const LONG_OPTIONS = [
  ...[1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 6],
  ...[1, 1, 5, 26, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6],
];

/** Writes the record of a packet somewhere in a larger memory full of other bytes. */
function record(packet: Packet, recordBytes: RecordBytes): Uint8Array {
  const memory = new Uint8Array(recordBytes + 20).fill(0xee);
  writeRecord(packet, memory, new DataView(memory.buffer), 10, recordBytes);
  assert.ok(memory.subarray(0, 10).every((byte) => byte === 0xee), "wrote in front of the record");
  assert.ok(memory.subarray(10 + recordBytes).every((byte) => byte === 0xee), "wrote behind it");
  return memory.slice(10, 10 + recordBytes);
}

/** What the original intercept would send: bytes copied with the lengths left as captured. */
function originalRecord(bytes: Uint8Array, recordBytes: RecordBytes): Uint8Array {
  const out = new Uint8Array(recordBytes);
  const ipHeader = (bytes[0] & 15) * 4;
  const tcpHeader = (bytes[ipHeader + 12] >>> 4) * 4;
  out.set(bytes.subarray(0, 20));
  out.set(bytes.subarray(ipHeader, ipHeader + Math.min(tcpHeader, 44)), 20);
  const payload = bytes.subarray(ipHeader + tcpHeader);
  if (recordBytes === RECORD_WITH_PAYLOAD_BYTES && payload.length <= 128) {
    out.set(payload.subarray(0, Math.max(0, recordBytes - 20 - tcpHeader)), 20 + tcpHeader);
  }
  return out;
}

/** Normalizes and parses a record; fails the test unless it is a TCP packet. */
function read(bytes: Uint8Array, recordBytes: RecordBytes): Packet {
  const view = new DataView(bytes.buffer);
  const length = normalizeRecord(bytes, view, 0, recordBytes);
  assert.ok(length >= 40 && length <= recordBytes, `length ${length}`);
  const packet = new Packet();
  assert.equal(packet.parseIp(bytes, view, 0, length), ParseResult.Tcp);
  return packet;
}

function sameStory(a: Packet, b: Packet): void {
  const story = (p: Packet) => [
    p.sourceAddress,
    p.destinationAddress,
    p.sourcePort,
    p.destinationPort,
    p.sequence,
    p.acknowledgment,
    p.flags,
    p.window,
    p.ttl,
    p.payloadLength,
  ];
  assert.deepEqual(story(a), story(b));
}

function options(packet: Packet): TcpOptions {
  const cursor = new TcpOptions();
  assert.equal(cursor.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20), true);
  return cursor;
}

Deno.test("the layout of a record", () => {
  const payload = new Uint8Array(300).fill(0xaa);
  const packet = targetPacket({
    tcpOptions: [2, 4, 5, 0xb4],
    payload,
    sequence: 1,
    acknowledgment: 2,
  });
  assert.equal(
    record(packet, RECORD_BYTES).toHex(),
    // total length 344, id 77, DF, ttl 63; ports 8080 and 40000; data offset 6
    "45000158004d40003f06a524c6120909c6120001" +
      "1f909c4000000001000000026010" + "01f400000000" + "020405b4" + "00".repeat(20),
  );
});

Deno.test("a record is a packet of which only payload is missing", () => {
  const packet = targetPacket({
    payload: new Uint8Array(1000),
    tcpOptions: LONG_OPTIONS.slice(0, 12),
  });
  const seen = read(record(packet, RECORD_BYTES), RECORD_BYTES);
  sameStory(seen, packet);
  assert.equal(seen.capturedPayloadLength, 0);
  assert.equal(options(seen).tsval, 7);
});

Deno.test("IP options leave the lengths too", () => {
  const packet = targetPacket({ payload: new Uint8Array(9), ipOptions: [1, 1, 1, 1, 1, 1, 1, 0] });
  const bytes = record(packet, RECORD_BYTES);
  assert.equal(bytes[0], 0x45);
  sameStory(read(bytes, RECORD_BYTES), packet);
});

Deno.test("of too many TCP options the whole ones are kept, and the payload length stays right", () => {
  const packet = targetPacket({ payload: new Uint8Array(700), tcpOptions: LONG_OPTIONS });
  for (const recordBytes of [RECORD_BYTES, RECORD_WITH_PAYLOAD_BYTES] as const) {
    const seen = read(record(packet, recordBytes), recordBytes);
    sameStory(seen, packet);
    assert.equal(seen.tcpHeaderLength, 44);
    const { tsval, sackCount, sackLeft, sackRight } = options(seen);
    assert.deepEqual([tsval, sackCount, sackLeft[0], sackRight[0]], [7, 1, 1, 2]);
  }
});

Deno.test("what the original leaves inconsistent is put right by the reader", () => {
  const cases = [
    { payload: new Uint8Array(700), tcpOptions: LONG_OPTIONS },
    { payload: new Uint8Array(9), ipOptions: [1, 1, 1, 1, 1, 1, 1, 0] },
    {
      payload: new Uint8Array(100).map((_, i) => i),
      tcpOptions: LONG_OPTIONS,
      ipOptions: [1, 1, 1, 1],
    },
    { payload: new Uint8Array(0) },
  ];
  for (const fields of cases) {
    for (const recordBytes of [RECORD_BYTES, RECORD_WITH_PAYLOAD_BYTES] as const) {
      const bytes = targetBytes(fields);
      const seen = read(originalRecord(bytes, recordBytes), recordBytes);
      sameStory(seen, parsed(bytes));
      if (fields.tcpOptions !== undefined) assert.equal(options(seen).sackCount, 1);
    }
  }
});

Deno.test("a long record carries a payload that fits, and no part of one that does not", () => {
  for (const length of [0, 1, 127, 128, 129, 1000]) {
    const payload = Uint8Array.from({ length }, (_, i) => i + 1);
    for (const tcpOptions of [[], LONG_OPTIONS.slice(0, 12), LONG_OPTIONS]) {
      const bytes = targetBytes({ payload, tcpOptions });
      const packet = parsed(bytes);
      const own = read(record(packet, RECORD_WITH_PAYLOAD_BYTES), RECORD_WITH_PAYLOAD_BYTES);
      assert.equal(own.payloadLength, length);
      assert.equal(own.capturedPayloadLength, length <= 128 ? length : 0);
      const end = own.payloadOffset + own.capturedPayloadLength;
      assert.deepEqual(
        own.bytes.slice(own.payloadOffset, end),
        payload.slice(0, own.capturedPayloadLength),
      );
      const other = read(
        originalRecord(bytes, RECORD_WITH_PAYLOAD_BYTES),
        RECORD_WITH_PAYLOAD_BYTES,
      );
      assert.equal(other.payloadLength, length);
      const otherEnd = other.payloadOffset + other.capturedPayloadLength;
      assert.deepEqual(
        other.bytes.slice(other.payloadOffset, otherEnd),
        payload.slice(0, other.capturedPayloadLength),
      );
    }
  }
});

Deno.test("a packet beyond 65535 bytes is told of as less, without its FIN", () => {
  const packet = targetPacket({ payload: new Uint8Array(1000), flags: TcpFlag.Ack | TcpFlag.Fin });
  packet.payloadLength = 100_000; // as of a capture whose total length field is 0
  const seen = read(record(packet, RECORD_BYTES), RECORD_BYTES);
  assert.equal(seen.payloadLength, 65535 - 40);
  assert.equal(seen.flags, TcpFlag.Ack);
});

Deno.test("bytes that are no record, and records that say nothing", () => {
  const change = (at: number, ...values: number[]) => {
    const bytes = record(targetPacket({}), RECORD_BYTES);
    bytes.set(values, at);
    return normalizeRecord(bytes, new DataView(bytes.buffer), 0, RECORD_BYTES);
  };
  assert.equal(change(0, 0x45), 40);
  assert.equal(change(0, 0x65), NOT_A_RECORD);
  assert.equal(change(0, 0x44), NOT_A_RECORD);
  assert.equal(change(9, 17), NOT_A_RECORD);
  assert.equal(change(32, 0x40), NOT_A_RECORD);
  assert.equal(change(2, 0, 39), USELESS_RECORD);
  assert.equal(change(2, 0, 0), USELESS_RECORD);
});

Deno.test("any bytes become a consistent packet or are refused", () => {
  fc.assert(
    fc.property(
      fc.constantFrom<RecordBytes>(RECORD_BYTES, RECORD_WITH_PAYLOAD_BYTES),
      fc.uint8Array({ minLength: 192, maxLength: 192 }),
      fc.boolean(),
      (recordBytes, bytes, plausible) => {
        if (plausible) {
          bytes[0] = 0x40 | (bytes[0] & 15);
          bytes[9] = 6;
        }
        const view = new DataView(bytes.buffer);
        const behind = bytes.slice(recordBytes);
        const length = normalizeRecord(bytes, view, 0, recordBytes);
        assert.deepEqual(bytes.slice(recordBytes), behind);
        if (length <= 0) return;
        view.setUint16(6, 0); // fragments are none of the record's business
        const packet = new Packet();
        assert.equal(packet.parseIp(bytes, view, 0, length), ParseResult.Tcp);
        assert.equal(packet.payloadOffset + packet.capturedPayloadLength, length);
      },
    ),
    { numRuns: 3000 },
  );
});

Deno.test("any options that are too long end cleanly", () => {
  const words = fc.integer({ min: 7, max: 10 });
  fc.assert(
    fc.property(words, fc.uint8Array({ minLength: 40, maxLength: 40 }), (count, raw) => {
      const packet = targetPacket({ tcpOptions: [...raw.subarray(0, count * 4)] });
      const bytes = record(packet, RECORD_BYTES);
      const seen = read(bytes.slice(), RECORD_BYTES);
      assert.equal(seen.tcpHeaderLength, 44);
      // Walking the list as a naive reader does ends inside the header.
      let at = 40;
      while (at < 64 && bytes[at] !== 0) at += bytes[at] === 1 ? 1 : Math.max(2, bytes[at + 1]);
      assert.ok(at <= 64, `the list runs to ${at}`);
    }),
  );
});
