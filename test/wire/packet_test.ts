import assert from "node:assert/strict";
import fc from "fast-check";
import { writeEthernetHeader } from "../../src/wire/ethernet.ts";
import { IP_PROTOCOL_TCP, parseIpv4, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

const SOURCE = parseIpv4("198.18.0.1")!;
const DESTINATION = parseIpv4("198.19.255.254")!;
const MAC = new Uint8Array(6).fill(2);

/** A TCP segment with 4 bytes of options and the given payload. */
function tcpSegment(payload: string): Uint8Array {
  const bytes = new Uint8Array(24 + payload.length);
  const view = new DataView(bytes.buffer);
  writeTcpHeader(view, 0, 40000, 80, -5, 0x01020304, 24, TcpFlag.Ack | TcpFlag.Psh, 0xabcd);
  view.setUint32(20, 0x01010101);
  bytes.set(new TextEncoder().encode(payload), 24);
  return bytes;
}

/** An IPv4 packet around the segment, with `optionBytes` of IP options. */
function ipv4Packet(payload: string, optionBytes = 0): Uint8Array {
  const segment = tcpSegment(payload);
  const headerBytes = 20 + optionBytes;
  const bytes = new Uint8Array(headerBytes + segment.length);
  const view = new DataView(bytes.buffer);
  writeIpv4Header(view, 0, bytes.length, 1, 61, IP_PROTOCOL_TCP, SOURCE, DESTINATION);
  bytes[0] = 0x40 | (headerBytes >>> 2);
  bytes.fill(1, 20, headerBytes);
  bytes.set(segment, headerBytes);
  return bytes;
}

/** An IPv6 packet around the segment, behind the given extension headers. */
function ipv6Packet(payload: string, nextHeader: number, extensions: number[]): Uint8Array {
  const segment = tcpSegment(payload);
  const bytes = new Uint8Array(40 + extensions.length + segment.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x60;
  view.setUint16(4, extensions.length + segment.length);
  bytes[6] = nextHeader;
  bytes[7] = 59;
  bytes.set(extensions, 40);
  bytes.set(segment, 40 + extensions.length);
  return bytes;
}

function ethernet(etherType: number, ...parts: (number[] | Uint8Array)[]): Uint8Array {
  const header = new Uint8Array(14);
  writeEthernetHeader(header, 0, MAC, MAC, etherType);
  return concat(header, ...parts);
}

function concat(...parts: (number[] | Uint8Array)[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function parse(linkType: number, bytes: Uint8Array, captured = bytes.length): [number, Packet] {
  const packet = new Packet();
  // Odd offset and foreign bytes around, as in a ring buffer.
  const ring = concat(
    [0xff, 0xff, 0xff],
    bytes.subarray(0, captured),
    new Uint8Array(80).fill(0x45),
  );
  const view = new DataView(ring.buffer);
  return [packet.parse(linkType, ring, view, 3, captured), packet];
}

function payloadText(packet: Packet): string {
  const end = packet.payloadOffset + packet.capturedPayloadLength;
  return new TextDecoder().decode(packet.bytes.subarray(packet.payloadOffset, end));
}

Deno.test("every field of an IPv4 TCP packet", () => {
  const [result, packet] = parse(LinkType.Raw, ipv4Packet("hello"));
  assert.equal(result, ParseResult.Tcp);
  const { bytes: _bytes, view: _view, ...fields } = packet;
  assert.deepEqual(fields, {
    stripsTunnels: false,
    ipVersion: 4,
    ipOffset: 3,
    ipHeaderLength: 20,
    ipTotalLength: 49,
    sourceAddress: SOURCE,
    destinationAddress: DESTINATION,
    ttl: 61,
    tcpOffset: 23,
    tcpHeaderLength: 24,
    sourcePort: 40000,
    destinationPort: 80,
    sequence: -5,
    acknowledgment: 0x01020304,
    flags: TcpFlag.Ack | TcpFlag.Psh,
    window: 0xabcd,
    payloadOffset: 47,
    payloadLength: 5,
    capturedPayloadLength: 5,
  });
  assert.equal(payloadText(packet), "hello");
});

Deno.test("every link type leads to the same packet", () => {
  const ip = ipv4Packet("hello", 8);
  const tag = (vid: number, type: number) => [vid >>> 8, vid & 255, type >>> 8, type & 255];
  const sll = new Uint8Array(16);
  const sll2 = new Uint8Array(20);
  const withType = (header: Uint8Array, at: number, type: number) => {
    const copy = header.slice();
    copy[at] = type >>> 8;
    copy[at + 1] = type & 255;
    return copy;
  };
  const cases: [number, Uint8Array][] = [
    [LinkType.Raw, ip],
    [LinkType.RawBsd, ip],
    [LinkType.RawOpenBsd, ip],
    [LinkType.Ipv4, ip],
    [LinkType.Null, concat([2, 0, 0, 0], ip)],
    [LinkType.Null, concat([0, 0, 0, 2], ip)],
    [LinkType.Loop, concat([0, 0, 0, 2], ip)],
    [LinkType.Ethernet, ethernet(0x0800, ip)],
    [LinkType.Ethernet, ethernet(0x8100, tag(7, 0x0800), ip)],
    [LinkType.Ethernet, ethernet(0x88a8, tag(7, 0x8100), tag(8, 0x0800), ip)],
    [LinkType.LinuxSll, concat(withType(sll, 14, 0x0800), ip)],
    [LinkType.LinuxSll, concat(withType(sll, 14, 0x8100), tag(7, 0x0800), ip)],
    [LinkType.LinuxSll2, concat(withType(sll2, 0, 0x0800), ip)],
    [LinkType.LinuxSll2, concat(withType(sll2, 0, 0x8100), tag(7, 0x0800), ip)],
  ];
  for (const [linkType, bytes] of cases) {
    const [result, packet] = parse(linkType, bytes);
    assert.equal(result, ParseResult.Tcp, `link type ${linkType}`);
    assert.equal(packet.ipHeaderLength, 28);
    assert.equal(payloadText(packet), "hello");
  }
  assert.equal(parse(999, ip)[0], ParseResult.UnknownLink);
});

Deno.test("padding behind the packet is not payload", () => {
  const frame = ethernet(0x0800, ipv4Packet("x"), new Uint8Array(6));
  const [result, packet] = parse(LinkType.Ethernet, frame);
  assert.equal(result, ParseResult.Tcp);
  assert.deepEqual([packet.payloadLength, packet.capturedPayloadLength], [1, 1]);
});

Deno.test("a payload cut by the capture is no error", () => {
  const [result, packet] = parse(LinkType.Raw, ipv4Packet("hello"), 46);
  assert.equal(result, ParseResult.Tcp);
  assert.deepEqual([packet.payloadLength, packet.capturedPayloadLength], [5, 2]);
  assert.equal(payloadText(packet), "he");
  assert.equal(parse(LinkType.Raw, ipv4Packet("hello"), 44)[1].capturedPayloadLength, 0);
});

Deno.test("headers cut by the capture are truncated at every length", () => {
  for (let captured = 0; captured < 44; captured++) {
    assert.equal(parse(LinkType.Raw, ipv4Packet("hello"), captured)[0], ParseResult.Truncated);
  }
  const frame = ethernet(0x8100, [0, 7, 8, 0], ipv4Packet("hello"));
  for (let captured = 0; captured < 62; captured++) {
    assert.equal(parse(LinkType.Ethernet, frame, captured)[0], ParseResult.Truncated);
  }
  const hopByHop = ipv6Packet("hello", 0, [6, 0, 0, 0, 0, 0, 0, 0]);
  for (let captured = 0; captured < 72; captured++) {
    assert.equal(parse(LinkType.Raw, hopByHop, captured)[0], ParseResult.Truncated);
  }
});

Deno.test("a total length of 0 means what was captured", () => {
  const bytes = ipv4Packet("hello");
  bytes[2] = bytes[3] = 0;
  const [result, packet] = parse(LinkType.Raw, bytes);
  assert.deepEqual([result, packet.ipTotalLength, packet.payloadLength], [ParseResult.Tcp, 49, 5]);
  const six = ipv6Packet("hello", 6, []);
  six[4] = six[5] = 0;
  const [resultSix, packetSix] = parse(LinkType.Raw, six);
  assert.deepEqual([resultSix, packetSix.payloadLength], [ParseResult.Tcp, 5]);
});

Deno.test("fragments and other protocols are named", () => {
  const change = (at: number, value: number) => {
    const bytes = ipv4Packet("hello");
    bytes[at] = value;
    return parse(LinkType.Raw, bytes)[0];
  };
  assert.equal(change(6, 0x20), ParseResult.Fragment);
  assert.equal(change(7, 1), ParseResult.Fragment);
  assert.equal(change(6, 0x80), ParseResult.Tcp, "the reserved bit is no fragment");
  assert.equal(change(9, 17), ParseResult.NotTcp);
  assert.equal(change(0, 0x55), ParseResult.NotIp);
  assert.equal(
    parse(LinkType.Ethernet, ethernet(0x0806, new Uint8Array(46)))[0],
    ParseResult.NotIp,
  );
  assert.equal(
    parse(LinkType.Ethernet, ethernet(0x0800, ipv6Packet("", 6, [])))[0],
    ParseResult.Malformed,
  );
  assert.equal(parse(LinkType.Null, concat([9, 0, 0, 0], ipv4Packet("")))[0], ParseResult.NotIp);
});

Deno.test("headers that contradict themselves are malformed", () => {
  const change = (at: number, ...values: number[]) => {
    const bytes = ipv4Packet("hello");
    bytes.set(values, at);
    return parse(LinkType.Raw, bytes)[0];
  };
  assert.equal(change(0, 0x44), ParseResult.Malformed, "IHL under 5");
  assert.equal(change(2, 0, 19), ParseResult.Malformed, "total length under the header length");
  assert.equal(change(2, 0, 39), ParseResult.Malformed, "no room for a TCP header");
  assert.equal(change(2, 0, 43), ParseResult.Malformed, "no room for the TCP options");
  assert.equal(change(32, 0x40), ParseResult.Malformed, "data offset under 5");
  assert.equal(change(32, 0xf0), ParseResult.Malformed, "data offset behind the end");
});

Deno.test("IPv6 extension headers are walked", () => {
  const routing = [60, 1, ...new Array(14).fill(0)];
  const destination = [51, 0, 0, 0, 0, 0, 0, 0];
  const authentication = [44, 1, ...new Array(10).fill(0)];
  const atomicFragment = [6, 0, 0, 0, 0, 0, 0, 1];
  const extensions = [...routing, ...destination, ...authentication, ...atomicFragment];
  const [result, packet] = parse(LinkType.Ipv6, ipv6Packet("hello", 43, extensions));
  assert.equal(result, ParseResult.Tcp);
  assert.equal(packet.ipHeaderLength, 40 + extensions.length);
  assert.deepEqual([packet.ipVersion, packet.ttl, packet.sourceAddress], [6, 59, 0]);
  assert.equal(payloadText(packet), "hello");
});

Deno.test("IPv6 packets that are not whole TCP segments", () => {
  const of = (nextHeader: number, extensions: number[]) =>
    parse(LinkType.Raw, ipv6Packet("hello", nextHeader, extensions))[0];
  assert.equal(of(44, [6, 0, 0, 1, 0, 0, 0, 1]), ParseResult.Fragment);
  assert.equal(of(44, [6, 0, 0, 8, 0, 0, 0, 1]), ParseResult.Fragment);
  assert.equal(of(44, [17, 0, 0, 8, 0, 0, 0, 1]), ParseResult.NotTcp);
  assert.equal(of(17, []), ParseResult.NotTcp);
  assert.equal(of(59, []), ParseResult.NotTcp);
  assert.equal(of(0, [6, 200, 0, 0, 0, 0, 0, 0]), ParseResult.Malformed);
  const endless = new Array(32).fill([0, 0, 0, 0, 0, 0, 0, 0]).flat();
  assert.equal(of(0, endless), ParseResult.Malformed);
});

Deno.test("unusable offsets and lengths are truncated packets", () => {
  const packet = new Packet();
  const bytes = ipv4Packet("hello");
  const view = new DataView(bytes.buffer);
  for (const offset of [-1, 0.5, NaN, Infinity, bytes.length, 2 ** 40]) {
    assert.equal(packet.parse(LinkType.Raw, bytes, view, offset, 40), ParseResult.Truncated);
    assert.equal(packet.parseIp(bytes, view, offset, 40), ParseResult.Truncated);
  }
  for (const captured of [-1, 0, 0.5, NaN, -Infinity]) {
    assert.equal(packet.parse(LinkType.Raw, bytes, view, 0, captured), ParseResult.Truncated);
  }
  assert.equal(packet.parse(LinkType.Raw, bytes, view, 0, 4000), ParseResult.Tcp);
  assert.equal(packet.capturedPayloadLength, 5);
});

const linkTypes = [...Object.values(LinkType), 77];

/** Random bytes, and good packets with a few bytes changed. */
const packetBytes = fc.oneof(
  fc.uint8Array({ maxLength: 120 }),
  fc.tuple(
    fc.constantFrom(
      ipv4Packet("hello", 4),
      ethernet(0x8100, [0, 1, 8, 0], ipv4Packet("hello")),
      concat(new Uint8Array(14), [8, 0], ipv4Packet("hello")),
      concat([8, 0], new Uint8Array(18), ipv4Packet("hello")),
      ipv6Packet("hello", 0, [44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]),
    ),
    fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 3 }),
  ).map(([packet, changes]) => {
    const bytes = packet.slice();
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
    return bytes;
  }),
);

Deno.test("any bytes: no exception, offsets inside the capture, nothing read outside it", () => {
  const packet = new Packet();
  const run = (linkType: number, ring: Uint8Array, offset: number, captured: number) => {
    const result = packet.parse(linkType, ring, new DataView(ring.buffer), offset, captured);
    if (result !== ParseResult.Tcp) return `${result}`;
    const end = offset + captured;
    assert.ok(offset <= packet.ipOffset && packet.ipOffset < packet.tcpOffset);
    assert.ok(packet.tcpOffset + packet.tcpHeaderLength === packet.payloadOffset);
    assert.ok(packet.capturedPayloadLength >= 0);
    assert.ok(packet.capturedPayloadLength <= packet.payloadLength);
    assert.ok(packet.payloadOffset + packet.capturedPayloadLength <= end);
    assert.equal(
      packet.payloadLength,
      packet.ipTotalLength - packet.ipHeaderLength - packet.tcpHeaderLength,
    );
    const { bytes: _bytes, view: _view, ...fields } = packet;
    return JSON.stringify(fields);
  };
  fc.assert(
    fc.property(
      fc.constantFrom(...linkTypes),
      packetBytes,
      fc.nat(9),
      fc.nat(130),
      (linkType, bytes, offset, span) => {
        const captured = Math.min(span, bytes.length);
        const zeros = new Uint8Array(offset + captured + 70);
        zeros.set(bytes.subarray(0, captured), offset);
        const ones = new Uint8Array(zeros.length).fill(0xff);
        ones.set(bytes.subarray(0, captured), offset);
        assert.equal(run(linkType, zeros, offset, captured), run(linkType, ones, offset, captured));
      },
    ),
    { numRuns: 5000 },
  );
});

Deno.test("any numbers for link type, offset and length: no exception", () => {
  const packet = new Packet();
  const anyNumber = fc.oneof(fc.integer(), fc.double(), fc.nat(100));
  fc.assert(
    fc.property(packetBytes, anyNumber, anyNumber, anyNumber, (bytes, linkType, offset, length) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      packet.parse(linkType, bytes, view, offset, length);
      packet.parseIp(bytes, view, offset, length);
    }),
    { numRuns: 2000 },
  );
});
