import assert from "node:assert/strict";
import {
  arrivingFilter,
  incomingFilter,
  MAX_SOURCES,
  narrowedFilter,
  passingFilter,
  sendingFilter,
  towardsFilter,
} from "../../src/capture/ring_filter.ts";
import { runFilter } from "./filter_program.ts";
import { ipv4, makePacket } from "./packets.ts";

// What the kernel makes of the programs is tested with real rings in ring_test.ts and
// sent_packets_test.ts.

const ALL = { above: 0, upTo: Infinity };

Deno.test("conditions that ask for nothing cost no instructions", () => {
  const plain = incomingFilter([[0x06, 0, 0, 100]], ALL);
  assert.equal(plain.length, 4);
  assert.deepEqual(incomingFilter([[0x06, 0, 0, 100]], ALL, { index: 0, count: 1 }), plain);
  const bounded = incomingFilter([[0x06, 0, 0, 100]], { above: 0, upTo: 1500 });
  assert.equal(bounded.length, plain.length + 3);
});

Deno.test("jumps stay inside the program, which ends with a result", () => {
  const lengths = { above: 10, upTo: 1500 };
  const partition = { index: 2, count: 5 };
  const program = arrivingFilter([{ port: 80, address: ipv4("198.18.0.1") }], lengths, partition);
  program.forEach(([code, jt, jf], index) => {
    const isJump = (code & 0x07) === 0x05;
    if (isJump) assert.ok(index + 1 + Math.max(jt, jf) < program.length, `instruction ${index}`);
  });
  assert.equal(program[program.length - 1][0], 0x06);
});

Deno.test("a partition out of range is refused", () => {
  for (
    const partition of [{ index: 2, count: 2 }, { index: -1, count: 2 }, { index: 0, count: 0 }]
  ) {
    assert.throws(() => incomingFilter([], ALL, partition), /^RangeError: A partition is 0 to/);
  }
});

const HOST = 0;
const OUTGOING = 4;

Deno.test("of what is sent only this host's own, by the devices named, and not from its own port", () => {
  const sources = Array.from({ length: MAX_SOURCES }, (_, index) => ipv4("198.18.0.0") + index);
  const sent = { sources, devices: [3, 5], exceptPort: 36524 };
  const all: [number, number, number, number][] = [[0x06, 0, 0, 100]];
  for (const own of [sources[0], sources[1], sources[500], sources[MAX_SOURCES - 1]]) {
    const keeps = (
      filter: typeof passingFilter,
      packetType: number,
      source: number,
      deviceIndex = 5,
      sourcePort = 80,
    ) => {
      const packet = makePacket({ source, sourcePort, destinationPort: 1001 });
      return runFilter(filter(all, sent, ALL), packet, { packetType, deviceIndex });
    };
    assert.equal(keeps(passingFilter, OUTGOING, own), 100);
    assert.equal(keeps(passingFilter, OUTGOING, ipv4("198.19.0.1")), 0);
    assert.equal(keeps(passingFilter, OUTGOING, own, 4), 0);
    assert.equal(keeps(passingFilter, OUTGOING, own, 5, 36524), 0);
    // None of this matters for what arrives.
    assert.equal(keeps(passingFilter, HOST, ipv4("198.19.0.1"), 4, 36524), 100);
    assert.equal(keeps(sendingFilter, OUTGOING, own), 100);
    assert.equal(keeps(sendingFilter, HOST, own), 0);
  }
  const anySource = { sources: undefined, exceptPort: 0 };
  const packet = makePacket({ source: ipv4("198.19.0.1"), destinationPort: 1001 });
  const program = passingFilter(all, anySource, ALL);
  assert.equal(runFilter(program, packet, { packetType: OUTGOING, deviceIndex: 9 }), 100);
});

Deno.test("a program that is in force is narrowed, for what arrives by devices only", () => {
  const own = ipv4("198.18.0.1");
  const keeps = (packetType: number, deviceIndex: number, source: number, devices?: number[]) => {
    const program = narrowedFilter([], { sources: [own], devices, exceptPort: 0 });
    const packet = makePacket({ source, destinationPort: 1001 });
    return runFilter(program, packet, { packetType, deviceIndex }) > 0;
  };
  const foreign = ipv4("198.18.0.9");
  assert.deepEqual([keeps(HOST, 7, foreign), keeps(OUTGOING, 7, foreign)], [true, false]);
  assert.deepEqual([keeps(HOST, 7, own), keeps(OUTGOING, 7, own)], [true, true]);
  for (const [device, isKept] of [[1, true], [3, true], [7, false]] as const) {
    assert.equal(keeps(HOST, device, foreign, [3]), isKept);
    assert.equal(keeps(OUTGOING, device, own, [3]), device === 3);
  }
  assert.equal(narrowedFilter([[0x06, 0, 0, 5]], { sources: [], exceptPort: 0 }).at(-1)?.[3], 5);
});

Deno.test("packets towards some addresses, whoever sends them", () => {
  const program = towardsFilter([ipv4("198.19.0.1"), ipv4("198.19.0.2")], 60);
  const keeps = (destination: string, protocol = 0x0800) =>
    runFilter(program, makePacket({ destination: ipv4(destination), destinationPort: 1001 }), {
      protocol,
    });
  assert.equal(keeps("198.19.0.1"), 60);
  assert.equal(keeps("198.19.0.2"), 60);
  assert.equal(keeps("198.19.0.3"), 0);
  assert.equal(keeps("198.19.0.1", 0x86dd), 0);
});
