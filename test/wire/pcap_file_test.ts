import assert from "node:assert/strict";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";

Deno.test("a capture file has the layout of libpcap", () => {
  const file = new PcapWriter(LinkType.Ethernet, 4);
  file.add(1_700_000_000_123_456, Uint8Array.of(1, 2, 3, 4, 5, 6));
  file.add(2_000_000, Uint8Array.of(9), 1500);
  const hex = file.bytes().toHex();
  assert.equal(
    hex,
    "d4c3b2a1" + "02000400" + "00000000" + "00000000" + "04000000" + "01000000" +
      "00f15365" + "40e20100" + "04000000" + "06000000" + "01020304" +
      "02000000" + "00000000" + "01000000" + "dc050000" + "09",
  );
});

Deno.test("a capture file grows beyond its first buffer", () => {
  const file = new PcapWriter(LinkType.Raw);
  for (let i = 0; i < 100; i++) file.add(i, new Uint8Array(1000).fill(i));
  const bytes = file.bytes();
  assert.equal(bytes.length, 24 + 100 * 1016);
  assert.equal(bytes[24 + 99 * 1016 + 16], 99);
});
