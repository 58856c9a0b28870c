import assert from "node:assert/strict";
import { CaptureFileError, PcapFileReader } from "../../src/capture/pcap_file.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { makePacket } from "./packets.ts";

const START_US = 1_700_000_000_123_456;
/** Beyond 2038, where seconds no longer fit a signed 32-bit number. */
const LATE_US = 4_000_000_000_000_001;

function withFile(content: Uint8Array, body: (path: string) => void): void {
  const before = openFileCount();
  const path = Deno.makeTempFileSync({ suffix: ".pcap" });
  try {
    Deno.writeFileSync(path, content);
    body(path);
  } finally {
    Deno.removeSync(path);
  }
  assert.equal(openFileCount(), before);
}

/** Packets to port 80 and 81 in turns, sequence numbers from 0. */
function capture(count: number, linkType: number = LinkType.Raw): Uint8Array {
  const writer = new PcapWriter(linkType);
  for (let sequence = 0; sequence < count; sequence++) {
    const packet = makePacket({
      destinationPort: 80 + sequence % 2,
      sequence,
      payload: new Uint8Array(sequence),
    });
    writer.add(START_US + sequence * 1000, packet);
  }
  return writer.bytes();
}

/** Reads on to the end; the sequence number of each packet. */
function sequences(file: PcapFileReader): number[] {
  const packet = new Packet();
  const seen: number[] = [];
  while (file.next()) {
    const { bytes, view, offset, capturedLength } = file;
    const result = packet.parse(file.linkType, bytes, view, offset, capturedLength);
    assert.equal(result, ParseResult.Tcp);
    seen.push(packet.sequence);
  }
  return seen;
}

Deno.test("packets come with their bytes, lengths, times and link type", () => {
  withFile(capture(3), (path) => {
    using file = new PcapFileReader(path);
    for (let index = 0; index < 3; index++) {
      assert.equal(file.next(), true);
      assert.equal(file.linkType, LinkType.Raw);
      assert.equal(file.timestampUs, START_US + index * 1000);
      assert.equal(file.capturedLength, 40 + index);
      assert.equal(file.originalLength, 40 + index);
      assert.deepEqual(
        file.bytes.slice(file.offset, file.offset + 40 + index),
        makePacket({
          destinationPort: 80 + index % 2,
          sequence: index,
          payload: new Uint8Array(index),
        }),
      );
    }
    assert.equal(file.next(), false);
    assert.equal(file.next(), false);
    assert.equal(file.packetsRead, 3);
    file.close();
    assert.throws(() => file.next(), /was closed/);
    assert.throws(() => file.rewind(), /was closed/);
  });
});

Deno.test("rewind starts over, as often as wanted", () => {
  withFile(capture(5), (path) => {
    using file = new PcapFileReader(path);
    assert.deepEqual(sequences(file), [0, 1, 2, 3, 4]);
    for (let round = 0; round < 20; round++) {
      file.rewind();
      assert.equal(file.packetsRead, 0);
      assert.equal(file.next(), true);
    }
    assert.deepEqual(sequences(file), [1, 2, 3, 4]);
  });
});

Deno.test("packets cut by the snap length keep their original length", () => {
  const writer = new PcapWriter(LinkType.Raw, 60);
  writer.add(LATE_US, makePacket({ destinationPort: 80, payload: new Uint8Array(1000) }));
  withFile(writer.bytes(), (path) => {
    using file = new PcapFileReader(path);
    assert.equal(file.next(), true);
    assert.deepEqual([file.capturedLength, file.originalLength], [60, 1040]);
    assert.equal(file.timestampUs, LATE_US);
  });
});

Deno.test("large packets arrive whole", () => {
  const writer = new PcapWriter(LinkType.Raw);
  const payload = new Uint8Array(65_000).map((_, index) => index % 251);
  writer.add(START_US, makePacket({ destinationPort: 80, payload }));
  withFile(writer.bytes(), (path) => {
    using file = new PcapFileReader(path);
    assert.equal(file.next(), true);
    assert.equal(file.capturedLength, 65_040);
    assert.deepEqual(file.bytes.slice(file.offset + 40, file.offset + 65_040), payload);
  });
});

Deno.test("nanosecond and big-endian files, and pcapng, are understood", () => {
  const packet = makePacket({ destinationPort: 80, sequence: 9 });
  const classic = (magic: number, fraction: number, littleEndian: boolean): Uint8Array => {
    const bytes = new Uint8Array(40 + packet.length);
    const view = new DataView(bytes.buffer);
    const words = [magic, 0, 0, 0, 65_535, LinkType.Ipv4, 1_700_000_000, fraction];
    [...words, packet.length, packet.length].forEach((word, index) =>
      view.setUint32(index * 4, word, littleEndian)
    );
    view.setUint16(4, 2, littleEndian);
    view.setUint16(6, 4, littleEndian);
    bytes.set(packet, 40);
    return bytes;
  };
  const blocks: number[] = [];
  const block = (type: number, ...body: number[]) => {
    const length = 12 + body.length * 4;
    blocks.push(type, length, ...body, length);
  };
  block(0x0a0d0d0a, 0x1a2b3c4d, 1, 0xffff_ffff, 0xffff_ffff);
  block(1, LinkType.Ipv4, 65_535);
  const us = 1_700_000_000_000_123n;
  const words = [...new Uint32Array(packet.buffer)];
  block(6, 0, Number(us >> 32n), Number(us & 0xffff_ffffn), packet.length, packet.length, ...words);
  const pcapng = new Uint8Array(new Uint32Array(blocks).buffer);

  for (
    const [content, expectedUs] of [
      [classic(0xa1b2c3d4, 123, false), 123],
      [classic(0xa1b23c4d, 123_999, true), 123],
      [classic(0xa1b23c4d, 123_999, false), 123],
      [pcapng, 123],
    ] as const
  ) {
    withFile(content, (path) => {
      using file = new PcapFileReader(path);
      assert.equal(file.next(), true);
      assert.equal(file.timestampUs, 1_700_000_000_000_000 + expectedUs);
      file.rewind();
      assert.deepEqual(sequences(file), [9]);
    });
  }
});

Deno.test("a file cut short gives every whole packet, then says so", () => {
  const whole = capture(4);
  for (const missing of [1, 42, 43 + 15]) {
    withFile(whole.subarray(0, whole.length - missing), (path) => {
      using file = new PcapFileReader(path);
      for (let index = 0; index < 3; index++) assert.equal(file.next(), true);
      assert.throws(() => file.next(), (error: unknown) => {
        assert.ok(error instanceof CaptureFileError);
        assert.equal(error.packetsRead, 3);
        assert.equal(error.truncated, true);
        assert.ok(error.message.startsWith(`The capture file ${path} ends in the middle of a `));
        assert.match(error.message, /after 3 packets \(truncated\).*intact/);
        return true;
      });
    });
  }
});

Deno.test("a file with nonsense inside gives what came before, then says so", () => {
  const content = capture(4);
  // The captured length of the second packet.
  new DataView(content.buffer, content.byteOffset).setUint32(24 + 16 + 40 + 8, 0x7fff_ffff, true);
  withFile(content, (path) => {
    using file = new PcapFileReader(path);
    assert.equal(file.next(), true);
    assert.throws(() => file.next(), (error: unknown) => {
      assert.ok(error instanceof CaptureFileError);
      assert.deepEqual([error.packetsRead, error.truncated], [1, false]);
      assert.match(error.message, /is broken after 1 packets/);
      return true;
    });
  });
});

Deno.test("what is no capture file is refused with a sentence", () => {
  const refused = (content: Uint8Array, pattern: RegExp) =>
    withFile(content, (path) =>
      assert.throws(
        () => {
          using file = new PcapFileReader(path);
          file.next();
        },
        (error: unknown) => error instanceof CaptureFileError && pattern.test(error.message),
      ));
  refused(
    new TextEncoder().encode("GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
    /unknown file format.*expected a pcap or pcapng file/,
  );
  refused(new Uint8Array(0), /is empty: expected a pcap or pcapng file/);
  refused(capture(1).subarray(0, 20), /ends in the middle of a packet after 0 packets/);
  assert.throws(
    () => new PcapFileReader("/nonexistent/x.pcap"),
    /The capture file \/nonexistent\/x\.pcap cannot be read \(No such file or directory.*\)/,
  );
});
