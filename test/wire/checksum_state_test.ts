import assert from "node:assert/strict";
import fc from "fast-check";
import { ChecksumState, checksumState } from "../../src/wire/checksum_state.ts";
import { Packet } from "../../src/wire/packet.ts";
import { buildPacket } from "../sim/packet_builder.ts";

function built(payload: Uint8Array, source = 0xc6130001 | 0): Uint8Array {
  return buildPacket({
    source,
    sourcePort: 40_000,
    destination: 0xc6120101 | 0,
    destinationPort: 80,
    sequence: 77,
    acknowledgment: 99,
    flags: 0x18,
    window: 500,
    timestamps: { value: 5, echo: 6 },
    payload,
  });
}

function stateOf(bytes: Uint8Array, captured = bytes.length): ChecksumState {
  const packet = new Packet();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  packet.parseIp(bytes, view, 0, captured);
  return checksumState(packet);
}

const payloads = fc.uint8Array({ minLength: 1, maxLength: 300 });

Deno.test("a right checksum is right, and with any bit turned over it is wrong", () => {
  fc.assert(fc.property(payloads, fc.nat(), fc.nat(7), (payload, at, bit) => {
    const bytes = built(payload);
    assert.equal(stateOf(bytes), ChecksumState.Right);
    bytes[52 + at % payload.length] ^= 1 << bit;
    assert.equal(stateOf(bytes), ChecksumState.Wrong);
  }));
});

Deno.test("what a card is to finish is unfinished, with the length in it or not", () => {
  fc.assert(fc.property(payloads, fc.boolean(), fc.integer(), (payload, withLength, source) => {
    const bytes = built(payload, source | 0);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let sum = 6 + (withLength ? bytes.length - 20 : 0);
    for (let at = 12; at < 20; at += 2) sum += view.getUint16(at);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    view.setUint16(36, sum);
    assert.equal(stateOf(bytes), ChecksumState.Unfinished);
  }));
});

Deno.test("zero has two forms, of which either is right", () => {
  for (let filler = 0; filler < 0x10000; filler++) {
    const bytes = built(new Uint8Array([filler >> 8, filler]));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (view.getUint16(36) !== 0) continue;
    assert.equal(stateOf(bytes), ChecksumState.Right);
    view.setUint16(36, 0xffff);
    assert.equal(stateOf(bytes), ChecksumState.Right);
    return;
  }
  assert.fail("no payload makes the checksum zero");
});

Deno.test("of a packet cut short nothing is known", () => {
  const bytes = built(new Uint8Array(100));
  assert.equal(stateOf(bytes, 90), ChecksumState.Unknown);
});
