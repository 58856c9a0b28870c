import assert from "node:assert/strict";
import { PcapFileReader } from "../../src/capture/pcap_file.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { pcapngFileHeader, pcapngPacketBytes, writePcapngPacket } from "../../src/wire/pcapng.ts";
import {
  SYNTHETIC_HEADER_BYTES,
  SYNTHETIC_SYN_BYTES,
  writeSyntheticSegment,
  writeSyntheticSyn,
} from "../../src/wire/synthetic.ts";

const tuple = { sourceAddress: 1, sourcePort: 2, destinationAddress: 3, destinationPort: 4 };

Deno.test("a pcapng file is read back", () => {
  const packets: Uint8Array[] = [];
  const syn = new Uint8Array(SYNTHETIC_SYN_BYTES);
  writeSyntheticSyn(syn, new DataView(syn.buffer), tuple, -1);
  packets.push(syn);
  for (const payload of [0, 1, 2, 3, 1000]) {
    const data = new Uint8Array(SYNTHETIC_HEADER_BYTES + payload).fill(7);
    const view = new DataView(data.buffer);
    assert.equal(writeSyntheticSegment(data, view, tuple, payload, 9, 16, payload), data.length);
    packets.push(data);
  }
  const path = Deno.makeTempFileSync();
  const parts: Uint8Array[] = [pcapngFileHeader(LinkType.Raw, "window 5")];
  const timestampUs = 1_800_000_000_123_456;
  packets.forEach((packet, index) => {
    const block = new Uint8Array(pcapngPacketBytes(packet.length));
    const view = new DataView(block.buffer);
    const end = writePcapngPacket(block, view, 0, timestampUs + index, packet);
    assert.equal(end, block.length);
    parts.push(block);
  });
  Deno.writeFileSync(path, new Uint8Array(parts.flatMap((part) => [...part])));
  try {
    using file = new PcapFileReader(path);
    const packet = new Packet();
    for (const [index, expected] of packets.entries()) {
      assert.ok(file.next());
      assert.equal(file.linkType, LinkType.Raw);
      assert.equal(file.timestampUs, timestampUs + index);
      assert.deepEqual(
        file.bytes.slice(file.offset, file.offset + file.capturedLength),
        expected,
      );
      const { bytes, view, offset, capturedLength } = file;
      assert.equal(packet.parseIp(bytes, view, offset, capturedLength), ParseResult.Tcp);
      assert.equal(packet.destinationPort, 4);
    }
    assert.ok(!file.next());
  } finally {
    Deno.removeSync(path);
  }
});
