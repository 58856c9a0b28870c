import assert from "node:assert/strict";
import fc from "fast-check";
import { LinkType } from "../../src/wire/link_type.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { ipv4, makePacket } from "../capture/packets.ts";

const inner = makePacket({
  source: ipv4("198.18.7.7"),
  destination: ipv4("198.18.0.1"),
  destinationPort: 80,
  sequence: 77,
  payload: new TextEncoder().encode("mirrored"),
});

function concat(...parts: (number[] | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function ip(protocol: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = 20 + content.length;
  const header = [0x45, 0, length >>> 8, length & 255, 0, 1, 0, 0, 64, protocol, 0, 0];
  return concat(header, [198, 18, 0, 1], [198, 18, 0, 4], content);
}

function ipv6(protocol: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = [content.length >>> 8, content.length & 255];
  return concat([0x60, 0, 0, 0, ...length, protocol, 64], new Uint8Array(32), content);
}

const ethernet = (packet: Uint8Array, type = [8, 0]) => concat(new Uint8Array(12), type, packet);
const tagged = (packet: Uint8Array) => ethernet(packet, [0x81, 0, 0, 5, 8, 0]);

function vxlan(frame: Uint8Array, port = 4789, flags = 0x08): Uint8Array<ArrayBuffer> {
  const length = 16 + frame.length;
  const udp = [0xc0, 1, port >>> 8, port & 255, length >>> 8, length & 255, 0, 0];
  return concat(udp, [flags, 0, 0, 0, 0, 0, 42, 0], frame);
}

/** GRE with the given flags; each optional field is 4 bytes of 0xee. */
function gre(flags: number, protocol: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const words = [0x8000, 0x2000, 0x1000].filter((flag) => flags & flag).length;
  const head = [flags >>> 8, flags & 255, protocol >>> 8, protocol & 255];
  return concat(head, new Uint8Array(4 * words).fill(0xee), content);
}

const erspanIii = (lastWord: number, subheader: number, content: Uint8Array) =>
  concat([0x20, 0, 0, 1, 0, 0, 0, 0, 0, 0, lastWord >>> 8, lastWord & 255], [
    ...new Uint8Array(subheader),
  ], content);

const forms: [string, Uint8Array<ArrayBuffer>][] = [
  ["VXLAN", ip(17, vxlan(ethernet(inner)))],
  ["VXLAN on Linux's old port", ip(17, vxlan(ethernet(inner), 8472))],
  ["VXLAN with a tagged frame", ip(17, vxlan(tagged(inner)))],
  ["VXLAN over IPv6", ipv6(17, vxlan(ethernet(inner)))],
  ["GRE with IPv4", ip(47, gre(0, 0x0800, inner))],
  ["GRE with checksum, key and sequence number", ip(47, gre(0xb000, 0x0800, inner))],
  ["GRE with Ethernet and key (NVGRE)", ip(47, gre(0x2000, 0x6558, ethernet(inner)))],
  ["ERSPAN I", ip(47, gre(0, 0x88be, ethernet(inner)))],
  ["ERSPAN II", ip(47, gre(0x1000, 0x88be, concat([0x10, 0, 0, 1, 0, 0, 0, 0], ethernet(inner))))],
  ["ERSPAN III", ip(47, gre(0x1000, 0x22eb, erspanIii(0, 0, ethernet(inner))))],
  ["ERSPAN III with subheader", ip(47, gre(0x1000, 0x22eb, erspanIii(1, 8, ethernet(inner))))],
  ["ERSPAN III with an IP packet", ip(47, gre(0x1000, 0x22eb, erspanIii(2 << 10, 0, inner)))],
  ["IP in IP", ip(4, inner)],
  ["IP in IPv6", ipv6(4, inner)],
  ["VXLAN in GRE", ip(47, gre(0x2000, 0x0800, ip(17, vxlan(ethernet(inner)))))],
];

function parse(bytes: Uint8Array<ArrayBuffer>, strips = true): [ParseResult, Packet] {
  const packet = new Packet();
  packet.stripsTunnels = strips;
  const view = new DataView(bytes.buffer);
  return [packet.parse(LinkType.Ethernet, bytes, view, 0, bytes.length), packet];
}

for (const [name, outer] of forms) {
  Deno.test(`${name} is taken off, if wanted`, () => {
    const type = outer[0] >>> 4 === 6 ? [0x86, 0xdd] : [8, 0];
    // Padding of the outer frame is no part of the inner packet.
    const frame = concat(ethernet(outer, type), new Uint8Array(6));
    const [result, packet] = parse(frame);
    assert.equal(result, ParseResult.Tcp);
    assert.equal(packet.sequence, 77);
    assert.equal(packet.destinationAddress, ipv4("198.18.0.1"));
    assert.equal(packet.destinationPort, 80);
    const { payloadOffset, capturedPayloadLength } = packet;
    const payload = packet.bytes.subarray(payloadOffset, payloadOffset + capturedPayloadLength);
    assert.equal(new TextDecoder().decode(payload), "mirrored");
    assert.equal(parse(frame, false)[0], ParseResult.NotTcp);
  });
}

Deno.test("what is no tunnel, or one in pieces, is told apart", () => {
  const result = (outer: Uint8Array<ArrayBuffer>) => parse(ethernet(outer))[0];
  assert.equal(result(ip(17, vxlan(ethernet(inner), 53))), ParseResult.NotTcp);
  assert.equal(result(ip(17, vxlan(ethernet(inner), 4789, 0))), ParseResult.NotTcp);
  assert.equal(result(ip(47, gre(1, 0x880b, inner))), ParseResult.NotTcp);
  assert.equal(result(ip(47, gre(0x4000, 0x0800, inner))), ParseResult.NotTcp);
  assert.equal(result(ip(1, inner)), ParseResult.NotTcp);
  assert.equal(result(ip(17, new Uint8Array(4))), ParseResult.Truncated);
  assert.equal(result(ip(47, gre(0, 0x22eb, new Uint8Array(4)))), ParseResult.Truncated);
  const short = vxlan(ethernet(inner));
  short.set([0, 9], 4);
  assert.equal(result(ip(17, short)), ParseResult.Malformed);
  const fragment = ip(17, vxlan(ethernet(inner)));
  fragment[6] = 0x20;
  assert.equal(result(fragment), ParseResult.Fragment);
});

Deno.test("four tunnels are taken off, not a fifth", () => {
  const wrapped = (times: number): Uint8Array<ArrayBuffer> =>
    times === 0 ? inner : ip(4, wrapped(times - 1));
  assert.equal(parse(ethernet(wrapped(4)))[0], ParseResult.Tcp);
  assert.equal(parse(ethernet(wrapped(5)))[0], ParseResult.NotTcp);
});

Deno.test("whatever the bytes, parsing neither throws nor leaves the packet", () => {
  const form = fc.constantFrom(
    ...forms.map(([, outer]) => ethernet(outer, outer[0] >>> 4 === 6 ? [0x86, 0xdd] : [8, 0])),
  );
  const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(form, flips, fc.nat(), fc.nat(40), (frame, changes, cut, offset) => {
      const length = frame.length - cut % frame.length;
      const bytes = new Uint8Array(offset + length + 30).fill(0xaa);
      bytes.set(frame.subarray(0, length), offset);
      for (const [at, value] of changes) bytes[offset + at % length] = value;
      const packet = new Packet();
      packet.stripsTunnels = true;
      const view = new DataView(bytes.buffer);
      const result = packet.parse(LinkType.Ethernet, bytes, view, offset, length);
      if (result !== ParseResult.Tcp) return;
      assert.ok(packet.ipOffset >= offset);
      assert.ok(packet.payloadOffset + packet.capturedPayloadLength <= offset + length);
    }),
    { numRuns: 5000 },
  );
});
