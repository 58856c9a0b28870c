import assert from "node:assert/strict";
import fc from "fast-check";
import { onesComplementSum } from "../../src/wire/checksum.ts";
import {
  formatIpv4,
  IP_PROTOCOL_TCP,
  parseIpv4,
  tcpChecksumIpv4,
  writeIpv4Header,
} from "../../src/wire/ipv4.ts";
import { writeTcpChecksumIpv4, writeTcpHeader } from "../../src/wire/tcp.ts";
import { formatTcpFlags, TcpFlag } from "../../src/wire/tcp_flags.ts";

const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });

Deno.test("addresses survive the way to text and back", () => {
  fc.assert(fc.property(int32, (address) => {
    assert.equal(parseIpv4(formatIpv4(address)), address);
  }));
  assert.equal(parseIpv4("198.18.0.1"), 0xc6120001 | 0);
  assert.equal(formatIpv4(-1), "255.255.255.255");
});

Deno.test("only dotted quads are addresses", () => {
  const bad = [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "01.2.3.4",
    "1.2.3.",
    " 1.2.3.4",
    "1.2.3.4 ",
    "a",
  ];
  for (const text of [...bad, "1.2.3.-4", "1.2.3.4e0", "::1", "0x7f.0.0.1", "1..2.3"]) {
    assert.equal(parseIpv4(text), undefined, JSON.stringify(text));
  }
});

Deno.test("a header is written as RFC 791 draws it", () => {
  // A header whose bytes and checksum are well known.
  const view = new DataView(new ArrayBuffer(24));
  const source = parseIpv4("192.168.0.1")!;
  const destination = parseIpv4("192.168.0.199")!;
  writeIpv4Header(view, 4, 0x73, 0, 64, 17, source, destination);
  const bytes = new Uint8Array(view.buffer, 4);
  const expected = "450000730000400040 11b861c0a80001c0a800c7".replaceAll(" ", "");
  assert.equal(bytes.toHex(), expected);
  assert.equal(onesComplementSum(bytes, 0, 20), 0xffff);
});

Deno.test("a segment with its checksum in place sums to all ones, whatever stood there before", () => {
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 20, maxLength: 90 }),
    int32,
    int32,
    fc.nat(3),
    (segment, source, destination, pad) => {
      const bytes = new Uint8Array(pad + 20 + segment.length);
      const view = new DataView(bytes.buffer);
      const tcpOffset = pad + 20;
      const total = 20 + segment.length;
      writeIpv4Header(view, pad, total, 7, 64, IP_PROTOCOL_TCP, source, destination);
      bytes.set(segment, tcpOffset);
      const checksum = tcpChecksumIpv4(bytes, view, pad, tcpOffset, segment.length);
      writeTcpChecksumIpv4(bytes, view, pad, tcpOffset, segment.length);
      assert.equal(view.getUint16(tcpOffset + 16), checksum);
      // Pseudo header: addresses, zero, protocol, length.
      const pseudo = onesComplementSum(bytes, pad + 12, 8, IP_PROTOCOL_TCP + segment.length);
      assert.equal(onesComplementSum(bytes, tcpOffset, segment.length, pseudo), 0xffff);
    },
  ));
});

Deno.test("a TCP header is written as RFC 9293 draws it", () => {
  const view = new DataView(new ArrayBuffer(20));
  writeTcpHeader(view, 0, 0x1234, 80, -2, 0x7fffffff, 40, TcpFlag.Syn | TcpFlag.Ack, 0xfff0);
  const hex = new Uint8Array(view.buffer).toHex();
  assert.equal(hex, "12340050fffffffe7fffffffa012fff000000000");
  assert.equal(formatTcpFlags(TcpFlag.Syn | TcpFlag.Ack), "SA");
  assert.equal(formatTcpFlags(0), "-");
});
