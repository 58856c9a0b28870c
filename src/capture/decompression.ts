/**
 * Undoes the compression of a capture file, gzip or zstd, as its bytes come in.
 *
 * What always holds: damage is told, with the place in the compressed data where it was noticed; what
 * was made of the data before it is given first; memory is bounded, whatever the data say.
 */

import { pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { isZstdMagic, ZstdFrames } from "../wire/zstd_frames.ts";
import { ByteStreamError } from "./byte_stream_error.ts";

const GZIP_MAGIC = 0x1f8b;
/** Bytes needed to tell how a file is compressed. */
const MAGIC_BYTES = 4;
/** More than one block of zstd can become. */
const ZSTD_CHUNK_BYTES = 256 << 10;

type Compression = "none" | "gzip" | "zstd";

/** How a file that begins with these bytes is compressed. */
export function compressionOf(begin: Uint8Array): Compression {
  if (begin.length < MAGIC_BYTES) return "none";
  const view = new DataView(begin.buffer, begin.byteOffset);
  if (view.getUint16(0) === GZIP_MAGIC) return "gzip";
  return isZstdMagic(view.getUint32(0, true)) ? "zstd" : "none";
}

/**
 * The chunks, decompressed if they begin like something compressed.
 *
 * @throws ByteStreamError for damaged data
 */
export async function* decompressed(
  chunks: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let begin = new Uint8Array(0);
  while (begin.length < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done) break;
    const joined = new Uint8Array(begin.length + value.length);
    joined.set(begin);
    joined.set(value, begin.length);
    begin = joined;
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield begin;
    yield* chunks;
  }
  const compression = compressionOf(begin);
  if (compression === "none") yield* all();
  else if (compression === "gzip") yield* gunzip(all());
  else yield* unzstd(all());
}

async function* gunzip(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = createGunzip();
  // An error on either side destroys the decoder, and comes out of its iterator.
  pipeline(Readable.from(chunks, { objectMode: false }), decoder, () => {});
  try {
    yield* decoder as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw damage("gzip", decoder.bytesWritten, error);
  }
}

async function* unzstd(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const frames = new ZstdFrames();
  using decoder = new ZstdDecoder();
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + frames.feed(chunk.subarray(at)));
      at += piece.length;
      try {
        yield* await decoder.decode(piece);
      } catch (error) {
        throw damage("zstd", frames.bytesRead, error);
      }
      if (frames.isLost) {
        throw damage("zstd", frames.bytesRead, new Error("the beginning of a frame is expected"));
      }
    }
  }
  // The decompressor takes a cut for the end.
  if (!frames.isAtEnd) {
    throw new ByteStreamError(
      `unexpected end of the zstd data at byte ${frames.bytesRead}, in the middle of a frame`,
      true,
    );
  }
}

/**
 * Decodes pieces of zstd data, each with the end of at most one block.
 *
 * A piece that becomes more than the decoder's chunk would be continued behind the back of whoever
 * gave it, and an error in there ends the process (Deno 2.9). No piece does, as long as each finds
 * the chunk empty.
 */
class ZstdDecoder implements Disposable {
  readonly #stream = createZstdDecompress({ chunkSize: ZSTD_CHUNK_BYTES });
  readonly #failed: Promise<never>;
  #made: Uint8Array[] = [];

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#failed = promise;
    this.#failed.catch(() => {}); // told by `decode`
    this.#stream.on("error", reject);
    // A copy: the next piece is decoded into the same memory.
    this.#stream.on("data", (bytes: Uint8Array) => this.#made.push(new Uint8Array(bytes)));
  }

  /** Rejects for what is no zstd data. */
  async decode(piece: Uint8Array): Promise<Uint8Array[]> {
    const stream = this.#stream;
    (stream as unknown as { _outOffset: number })._outOffset = 0;
    const written = new Promise<void>((resolve, reject) => {
      stream.write(piece, (error) => error ? reject(error) : resolve());
    });
    await Promise.race([written, this.#failed]);
    // What was made is handed over in a turn of its own.
    while (stream.readableLength > 0) await new Promise((resolve) => setImmediate(resolve));
    const made = this.#made;
    this.#made = [];
    return made;
  }

  [Symbol.dispose](): void {
    this.#stream.destroy();
  }
}

/** What is wrong with compressed data, and where that was noticed. */
function damage(compression: string, atByte: number, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof ByteStreamError) return error;
  if ("code" in error && error.code === "Z_BUF_ERROR") {
    return new ByteStreamError(`unexpected end of the ${compression} data at byte ${atByte}`, true);
  }
  const reason = error.message.replace(/^Zstd decompress error: /, "");
  return new ByteStreamError(
    `the ${compression} data are damaged, noticed by byte ${atByte}: ${reason}; ` +
      `${compression} -t tells more`,
  );
}
