import assert from "node:assert/strict";
import fc from "fast-check";
import { CaptureFormatError } from "../../src/wire/capture_format.ts";
import { CaptureReader } from "../../src/wire/capture_reader.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { pcapngFile } from "./pcapng.ts";

const START_US = 1_700_000_000_123_456;

interface Seen {
  timestampUs: number;
  linkType: number;
  originalLength: number;
  bytes: string;
}

/** Feeds the file in pieces; returns the packets, and whether it ended between records. */
function read(file: Uint8Array, pieceBytes = file.length): { seen: Seen[]; isWhole: boolean } {
  const reader = new CaptureReader();
  const seen: Seen[] = [];
  for (let at = 0; at < file.length; at += pieceBytes) {
    const piece = file.subarray(at, at + pieceBytes);
    reader.room(piece.length).set(piece);
    reader.fill(piece.length);
    while (reader.next()) {
      const { offset, capturedLength, originalLength, timestampUs, linkType } = reader.packet;
      const bytes = reader.bytes.subarray(offset, offset + capturedLength).toHex();
      seen.push({ timestampUs, linkType, originalLength, bytes });
    }
  }
  return { seen, isWhole: reader.isBetweenRecords };
}

function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

const packetOf = (value: number, length = 5) => new Uint8Array(length).fill(value);
const seenOf = (value: number, linkType: number, timestampUs: number, length = 5): Seen => ({
  timestampUs,
  linkType,
  originalLength: length,
  bytes: packetOf(value, length).toHex(),
});

for (const littleEndian of [true, false]) {
  Deno.test(`pcapng: interfaces with link types and units of their own, little-endian: ${littleEndian}`, () => {
    const resolutions = [6, 9, 10, 3, 0, 0x80 | 10, 0x80 | 32];
    const interfaces = resolutions.map((resolution, index) => ({
      linkType: index % 2 === 0 ? LinkType.Ethernet : LinkType.Raw,
      resolution,
    }));
    const packets = resolutions.map((_, index) => ({
      interface: index,
      // Whole seconds: every unit can say them. Milliseconds and finer, what they can.
      timestampUs: index < 3 ? START_US + index : 1_700_000_000_000_000,
      bytes: packetOf(index, 5 + index),
    }));
    const file = pcapngFile(interfaces, packets, littleEndian);
    const expected = packets.map(({ timestampUs }, index) =>
      seenOf(index, interfaces[index].linkType, timestampUs, 5 + index)
    );
    for (const pieceBytes of [file.length, 1, 7]) {
      assert.deepEqual(read(file, pieceBytes), { seen: expected, isWhole: true });
    }
  });
}

Deno.test("pcapng: a new section begins with its own byte order and interfaces", () => {
  const one = { linkType: LinkType.Ethernet, resolution: 6 };
  const two = { linkType: LinkType.LinuxSll2, resolution: 9 };
  const packet = { interface: 0, timestampUs: START_US, bytes: packetOf(1) };
  const file = concat(pcapngFile([one], [packet]), pcapngFile([two], [packet], false));
  assert.deepEqual(read(file).seen, [
    seenOf(1, LinkType.Ethernet, START_US),
    seenOf(1, LinkType.LinuxSll2, START_US),
  ]);
  const stray = concat(
    pcapngFile([one, two], []),
    pcapngFile([one], []),
    pcapngFile([two], []).subarray(0, 0),
  );
  assert.deepEqual(read(stray), { seen: [], isWhole: true });
});

Deno.test("pcapng: blocks of no interest are passed over, however large, without keeping them", () => {
  const head = pcapngFile([{ linkType: LinkType.Raw, resolution: 6 }], []);
  const tail = pcapngFile([{ linkType: LinkType.Raw, resolution: 6 }], [
    { interface: 0, timestampUs: START_US, bytes: packetOf(9) },
  ]);
  const large = new Uint8Array(8 << 20);
  const view = new DataView(large.buffer);
  view.setUint32(0, 0x0bad, true);
  view.setUint32(4, large.length, true);
  const reader = new CaptureReader();
  const pieces = [head];
  for (let at = 0; at < large.length; at += 65_536) pieces.push(large.subarray(at, at + 65_536));
  let count = 0;
  for (const piece of [...pieces, tail]) {
    reader.room(piece.length).set(piece);
    reader.fill(piece.length);
    while (reader.next()) count++;
  }
  assert.equal(count, 1);
  assert.ok(reader.bytes.length <= 1 << 18, `${reader.bytes.length} bytes of memory`);
});

Deno.test("pcapng: simple packets have the time of the packet before", () => {
  const file = pcapngFile([{ linkType: LinkType.Raw, resolution: 6 }], [
    { interface: 0, timestampUs: START_US, bytes: packetOf(1) },
  ]);
  const simple = new Uint8Array(24);
  const view = new DataView(simple.buffer);
  [3, 24, 900, 0x02020202, 0x02020202, 24].forEach((word, at) =>
    view.setUint32(at * 4, word, true)
  );
  const { seen } = read(concat(file, simple));
  assert.deepEqual(seen[1], {
    timestampUs: START_US,
    linkType: LinkType.Raw,
    originalLength: 900,
    bytes: "0202020202020202",
  });
});

Deno.test("what contradicts itself is refused", () => {
  const interfaces = [{ linkType: LinkType.Raw, resolution: 6 }];
  const file = pcapngFile(interfaces, [
    { interface: 0, timestampUs: START_US, bytes: packetOf(1) },
  ]);
  const broken = (at: number, value: number) => {
    const copy = file.slice();
    new DataView(copy.buffer).setUint32(at, value, true);
    return copy;
  };
  const packetBlock = 28 + 32;
  for (
    const [bytes, pattern] of [
      [broken(0, 0x0a0d0d0b), /unknown file format/],
      [broken(8, 0x01020304), /without byte order mark/],
      [broken(12, 2), /version 2/],
      [broken(4, 11), /a block of 11 bytes/],
      [broken(24, 32), /the two lengths of a block differ/],
      [broken(packetBlock + 4, 0x7fff_fffc), /a block of type 6 with/],
      [broken(packetBlock + 8, 1), /interface 1, which was not described/],
      [broken(packetBlock + 20, 6000), /a packet of 6000 bytes that exceeds its block/],
    ] as const
  ) {
    assert.throws(() => read(bytes), (error: unknown) => {
      assert.ok(error instanceof CaptureFormatError);
      assert.match(error.message, pattern);
      return true;
    });
  }
});

/** A pcap or a pcapng file with some packets in it. */
const anyFile = fc.tuple(fc.boolean(), fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 6 }))
  .map(([isPcapng, packets]) => {
    if (isPcapng) {
      return pcapngFile(
        [{ linkType: LinkType.Raw, resolution: 9 }],
        packets.map((bytes, index) => ({ interface: 0, timestampUs: START_US + index, bytes })),
      );
    }
    const writer = new PcapWriter(LinkType.Raw);
    packets.forEach((bytes, index) => writer.add(START_US + index, bytes));
    return writer.bytes();
  });

Deno.test("how the bytes are cut into pieces makes no difference", () => {
  fc.assert(
    fc.property(anyFile, fc.integer({ min: 1, max: 50 }), (file, pieceBytes) => {
      assert.deepEqual(read(file, pieceBytes), read(file));
    }),
  );
});

Deno.test("a file cut anywhere gives the packets before, and is not whole unless cut between records", () => {
  fc.assert(
    fc.property(anyFile, fc.nat(), (file, cut) => {
      const all = read(file).seen;
      const length = cut % (file.length + 1);
      const { seen } = read(file.subarray(0, length));
      assert.deepEqual(seen, all.slice(0, seen.length));
      assert.equal(read(file).isWhole, true);
    }),
  );
});

Deno.test("whatever the bytes, reading ends with packets within them or a format error", () => {
  const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(anyFile, flips, fc.integer({ min: 1, max: 50 }), (made, changes, pieceBytes) => {
      const file = made.slice();
      for (const [at, value] of changes) file[at % file.length] = value;
      try {
        for (const { bytes } of read(file, pieceBytes).seen) {
          assert.ok(bytes.length <= 2 * file.length);
        }
      } catch (error) {
        assert.ok(error instanceof CaptureFormatError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
