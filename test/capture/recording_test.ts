import assert from "node:assert/strict";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { ByteStreamError, openByteStream } from "../../src/capture/byte_stream.ts";
import { CaptureFileError } from "../../src/capture/pcap_file.ts";
import { Next } from "../../src/capture/recorded_packets.ts";
import { openRecording, type Recording } from "../../src/capture/recording.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { pcapngFile } from "../wire/pcapng.ts";
import { runElsewhere } from "./packets.ts";

const START_US = 1_700_000_000_000_000;

/** The first byte of each packet; what `packet(value)` makes. */
async function values(recording: Recording): Promise<number[]> {
  const seen: number[] = [];
  for (let next = recording.next(); next !== Next.End; next = recording.next()) {
    if (next === Next.Wait) await pause(1);
    else seen.push(recording.bytes[recording.offset]);
  }
  return seen;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const packet = (value: number) => new Uint8Array(100).fill(value);

/** Packets with the given values, at these times in µs from the start. */
function pcap(...packets: [value: number, atUs: number][]): Uint8Array<ArrayBuffer> {
  const writer = new PcapWriter(LinkType.Raw);
  for (const [value, atUs] of packets) writer.add(START_US + atUs, packet(value));
  return writer.bytes();
}

async function withFiles(
  contents: readonly Uint8Array[],
  body: (paths: string[]) => Promise<void>,
): Promise<void> {
  const before = openFileCount();
  const directory = Deno.makeTempDirSync();
  try {
    const paths = contents.map((content, index) => {
      const path = `${directory}/${index}`;
      Deno.writeFileSync(path, content);
      return path;
    });
    await body(paths);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
  await pause(0);
  assert.equal(openFileCount(), before);
}

Deno.test("a file gives the same plain and compressed, again after a rewind", async () => {
  const plain = pcap([1, 0], [2, 10], [3, 20]);
  const half = gzipSync(plain.subarray(0, 150));
  const members = Uint8Array.from([...half, ...gzipSync(plain.subarray(150))]);
  await withFiles([plain, gzipSync(plain), members, zstdCompressSync(plain)], async (paths) => {
    for (const path of paths) {
      using recording = openRecording([path]);
      assert.equal(recording.isRewindable, true);
      assert.deepEqual(await values(recording), [1, 2, 3]);
      recording.rewind();
      assert.deepEqual(await values(recording), [1, 2, 3]);
      recording.rewind();
      recording.next();
      recording.rewind();
      assert.deepEqual(await values(recording), [1, 2, 3]);
    }
  });
});

Deno.test("several files are merged by time, each in its own order", async () => {
  const pcapng = pcapngFile([{ linkType: LinkType.Ethernet, resolution: 9 }], [
    { interface: 0, timestampUs: START_US + 15, bytes: packet(4) },
    { interface: 0, timestampUs: START_US + 12, bytes: packet(5) },
  ]);
  const files = [pcap([1, 0], [2, 13], [3, 20]), gzipSync(pcapng), pcap(), pcap([6, 1])];
  await withFiles(files, async (paths) => {
    using recording = openRecording(paths);
    assert.match(recording.name, /0 and 3 more$/);
    for (let round = 0; round < 2; round++) {
      assert.deepEqual(await values(recording), [1, 6, 2, 4, 5, 3]);
      recording.rewind();
    }
  });
});

Deno.test("compressed files that are cut off or broken give what came before, then say so", async () => {
  const plain = pcap(...Array.from({ length: 50_000 }, (_, index): [number, number] => [
    index * 7 % 251,
    index,
  ]));
  const gzip = gzipSync(plain);
  const zstd = zstdCompressSync(plain);
  const broken = new Uint8Array(gzip);
  broken.fill(0x5a, gzip.length >>> 1, (gzip.length >>> 1) + 50);
  const files = [
    [gzip.subarray(0, gzip.length >>> 1), true],
    [gzip.subarray(0, gzip.length - 1), true],
    [zstd.subarray(0, zstd.length >>> 1), true],
    // Only the last block's end is missing: no packet is, as far as one can see.
    [zstd.subarray(0, zstd.length - 1), true],
    [broken, false],
  ] as const;
  await withFiles(files.map(([content]) => content), async (paths) => {
    for (const [index, path] of paths.entries()) {
      using recording = openRecording([path]);
      await assert.rejects(values(recording), (error: unknown) => {
        assert.ok(error instanceof CaptureFileError, String(error));
        assert.equal(error.truncated, files[index][1], error.message);
        assert.match(error.message, /^The capture file .* (cannot be read|is broken)/);
        return true;
      });
    }
  });
});

/** What a file with this content gives. */
async function bytesOf(content: Uint8Array): Promise<Uint8Array> {
  const pieces: number[] = [];
  await withFiles([content], async ([path]) => {
    const stream = openByteStream(path);
    const into = new Uint8Array(1 << 16);
    try {
      for (let count = stream.read(into); count !== 0; count = stream.read(into)) {
        if (count < 0) await pause(0);
        else pieces.push(...into.subarray(0, count));
      }
    } finally {
      stream.close();
    }
  });
  return new Uint8Array(pieces);
}

Deno.test("a wrong checksum at the end of zstd data is told, and one that is cut off", async () => {
  // Several blocks that compress little, in two frames: where an error is noticed depends on how they
  // fit into the decoder's memory.
  const params = { [constants.ZSTD_c_checksumFlag]: 1 };
  const frame = (size: number) =>
    zstdCompressSync(
      new Uint8Array(size).map((_, at) => (at * 2_654_435_761 >>> 20) & (at >> 6)),
      { params },
    );
  const zstd = Uint8Array.from([...frame(100_000), ...frame(300_000)]);
  assert.equal((await bytesOf(zstd)).length, 400_000);
  const wrong = new Uint8Array(zstd);
  wrong[wrong.length - 1] ^= 1;
  await assert.rejects(
    bytesOf(wrong),
    /the zstd data are damaged, noticed by byte \d+: .*checksum/,
  );
  await assert.rejects(
    bytesOf(zstd.subarray(0, zstd.length - 1)),
    /unexpected end of the zstd data at byte \d+, in the middle of a frame/,
  );
});

Deno.test("a flipped bit in compressed data is told, or harms nothing", async () => {
  // Such as is spread over several blocks, and some of them hard to compress.
  const plain = pcap(...Array.from({ length: 6_000 }, (_, index): [number, number] => [
    index * 2_654_435_761 >>> 24,
    index * 2_654_435_761 >>> 20,
  ]));
  const forms = [
    zstdCompressSync(plain, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
    gzipSync(plain),
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...forms),
      // The first bytes tell that it is compressed at all.
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 0, max: 7 }),
      async (whole, place, bit) => {
        const content = new Uint8Array(whole);
        content[4 + Math.floor(place * (whole.length - 4))] ^= 1 << bit;
        try {
          assert.deepEqual(await bytesOf(content), plain);
        } catch (error) {
          if (!(error instanceof ByteStreamError)) throw error;
          assert.match(error.message, /(data are damaged, noticed by byte|unexpected end of the)/);
        }
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("decompression stays a bounded part ahead of who reads", async () => {
  const noise = new Uint8Array(8 << 20);
  for (let at = 0; at < noise.length; at += 65_536) {
    crypto.getRandomValues(noise.subarray(at, at + 65_536));
  }
  await withFiles([gzipSync(noise, { level: 0 })], async ([path]) => {
    const stream = openByteStream(path);
    const positions = () =>
      [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
        try {
          if (Deno.readLinkSync(`/proc/self/fd/${name}`) !== path) return [];
          const info = Deno.readTextFileSync(`/proc/self/fdinfo/${name}`);
          return [Number(/^pos:\s*(\d+)/.exec(info)?.[1])];
        } catch (error) {
          // The descriptor of the listing itself is gone by now.
          if (error instanceof Deno.errors.NotFound) return [];
          throw error;
        }
      });
    try {
      let [before, now] = [-1, 0];
      for (let round = 0; round < 50 && (before !== now || now === 0); round++) {
        await pause(20);
        [before, now] = [now, positions()[0]];
      }
      assert.ok(now > 0 && now < 4 << 20, `${now} bytes read`);
    } finally {
      stream.close();
    }
  });
});

Deno.test("standard input and pipes are read once, compressed or not", async () => {
  const plain = pcap([1, 0], [2, 10]);
  await withFiles([plain, zstdCompressSync(plain)], async (paths) => {
    for (const path of paths) {
      const code = (name: string) =>
        `import { openRecording } from "./src/capture/recording.ts";
         const recording = openRecording(["${name}"]);
         let count = 0;
         for (let next; (next = recording.next()) !== 1;) {
           if (next === 0) count++;
           else await new Promise((resolve) => setTimeout(resolve, 1));
         }
         console.log(count, recording.isRewindable);
         try { recording.rewind(); } catch (error) { console.log(error.message); }`;
      const fromInput = await runElsewhere(["sh", "-c", `"$@" < ${path}`, "sh"], code("-"));
      assert.match(fromInput, /^2 false\nThe capture file standard input .*read a second time/);
      const fromPipe = ["sh", "-c", `cat ${path} | "$@"`, "sh"];
      assert.match(await runElsewhere(fromPipe, code("/dev/stdin")), /^2 false\n/);
    }
  });
});

Deno.test("what cannot be opened is named", () => {
  assert.throws(() => openRecording(["/nonexistent/x"]), /x cannot be read \(No such file/);
  assert.throws(() => openRecording([Deno.cwd()]), /it is a directory/);
});
