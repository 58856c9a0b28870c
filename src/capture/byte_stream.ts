/**
 * The bytes of a capture file, plain or compressed, from disk or from standard input. Touches files.
 *
 * Reading never waits: what has to be waited for (standard input, decompression) is read ahead, up to
 * a bound, between the turns of the event loop.
 */

import { ByteStreamError } from "./byte_stream_error.ts";
import { compressionOf, decompressed } from "./decompression.ts";

export { ByteStreamError };

/** A pipe without a writer cannot even be opened. */
export type WaitsFor = "a writer of" | "data from";

/** Bytes in their order. */
export interface ByteStream {
  /** Whether `rewind` works. */
  readonly isRewindable: boolean;
  /** What has to come before the first byte can; undefined when one has. */
  readonly waitsFor: WaitsFor | undefined;
  /**
   * Copies what is there.
   *
   * @param into at least 1 byte of room
   * @returns how many bytes were copied; 0 at the end; -1 when there are none yet
   * @throws ByteStreamError
   */
  read(into: Uint8Array): number;
  /** @throws ByteStreamError when the bytes cannot be had a second time */
  rewind(): void;
  /** Gives everything back; a second call does nothing. */
  close(): void;
}

const CHUNK_BYTES = 1 << 16;
/** Reading ahead stops here. */
const MAX_AHEAD_BYTES = 1 << 20;
const STANDARD_INPUT = "-";

/** Whether what is at a path can be read only once: standard input and pipes. */
export function isReadOnce(path: string): boolean {
  try {
    return path === STANDARD_INPUT || isPipe(path);
  } catch (error) {
    if (error instanceof ByteStreamError) return false; // opening it says what is wrong
    throw error;
  }
}

/**
 * Opens a file, or standard input for "-". Whether it is compressed shows by how it begins.
 *
 * @throws ByteStreamError when it cannot be opened
 */
export function openByteStream(path: string): ByteStream {
  if (path === STANDARD_INPUT) {
    return new ReadAhead(decompressed(chunksFrom(Deno.stdin)), undefined);
  }
  if (isPipe(path)) {
    const pipe = new Pipe(path);
    return new ReadAhead(decompressed(chunksFrom(pipe)), undefined, () => pipe.isOpen);
  }
  const file = new PlainFile(path);
  const begin = new Uint8Array(4);
  const compression = compressionOf(begin.subarray(0, file.read(begin)));
  file.rewind();
  if (compression === "none") return file;
  return new ReadAhead(decompressed(chunksOf(file)), file);
}

/** A file as it is. */
export class PlainFile implements ByteStream {
  readonly isRewindable = true;
  readonly waitsFor = undefined;
  readonly #file: Deno.FsFile;
  #closed = false;

  /** @throws ByteStreamError when it cannot be opened */
  constructor(path: string) {
    try {
      this.#file = Deno.openSync(path);
      if (this.#file.statSync().isDirectory) {
        this.close();
        throw new ByteStreamError("it is a directory");
      }
    } catch (error) {
      throw readError(error);
    }
  }

  read(into: Uint8Array): number {
    try {
      return this.#file.readSync(into) ?? 0;
    } catch (error) {
      throw readError(error);
    }
  }

  rewind(): void {
    try {
      this.#file.seekSync(0, Deno.SeekMode.Start);
    } catch (error) {
      throw readError(error);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }
}

/** Takes chunks as they come and holds them until they are read. */
class ReadAhead implements ByteStream {
  readonly isRewindable: boolean;
  readonly #file: PlainFile | undefined;
  readonly #isOpen: () => boolean;
  #pump: Pump;

  /**
   * @param file what the chunks are made from, if that can be read a second time
   * @param isOpen whether what they come from is open already
   */
  constructor(
    chunks: AsyncIterable<Uint8Array>,
    file: PlainFile | undefined,
    isOpen: () => boolean = () => true,
  ) {
    this.#file = file;
    this.#isOpen = isOpen;
    this.isRewindable = file !== undefined;
    this.#pump = new Pump(chunks);
  }

  get waitsFor(): WaitsFor | undefined {
    if (this.#pump.hasBegun) return undefined;
    return this.#isOpen() ? "data from" : "a writer of";
  }

  read(into: Uint8Array): number {
    return this.#pump.read(into);
  }

  rewind(): void {
    if (this.#file === undefined) {
      throw new ByteStreamError(
        "standard input and pipes cannot be read a second time: save the capture to a file first",
      );
    }
    this.#pump.stop();
    this.#file.rewind();
    this.#pump = new Pump(decompressed(chunksOf(this.#file)));
  }

  close(): void {
    this.#pump.stop();
    this.#file?.close();
  }
}

/** Empties an iterable into a bounded queue. */
class Pump {
  /** Whether anything has come, be it the end. */
  hasBegun = false;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  /** How much of the first chunk was read. */
  #readBytes = 0;
  #resume: (() => void) | undefined;
  #ended = false;
  #stopped = false;
  #error: unknown;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#run(chunks).then(
      () => {},
      (error) => this.#error = error,
    ).finally(() => {
      this.hasBegun = true;
      this.#ended = true;
    });
  }

  read(into: Uint8Array): number {
    const first = this.#queue[0];
    if (first === undefined) {
      if (!this.#ended) return -1;
      if (this.#error !== undefined) throw readError(this.#error);
      return 0;
    }
    const piece = first.subarray(this.#readBytes, this.#readBytes + into.length);
    into.set(piece);
    this.#readBytes += piece.length;
    if (this.#readBytes === first.length) {
      this.#queue.shift();
      this.#readBytes = 0;
      this.#queuedBytes -= first.length;
      if (this.#queuedBytes < MAX_AHEAD_BYTES) this.#resume?.();
    }
    return piece.length;
  }

  stop(): void {
    this.#stopped = true;
    this.#resume?.();
  }

  async #run(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks) {
      // Leaving the loop ends what makes the chunks.
      if (this.#stopped) return;
      this.hasBegun = true;
      if (chunk.length === 0) continue;
      this.#queue.push(chunk);
      this.#queuedBytes += chunk.length;
      if (this.#queuedBytes >= MAX_AHEAD_BYTES) {
        await new Promise<void>((resolve) => this.#resume = resolve);
        this.#resume = undefined;
        if (this.#stopped) return;
      }
    }
  }
}

/** Whether a path is something that can be read once, such as what a shell makes of `<(…)`. */
function isPipe(path: string): boolean {
  try {
    const { isFile, isDirectory } = Deno.statSync(path);
    return !isFile && !isDirectory;
  } catch (error) {
    throw readError(error);
  }
}

/**
 * A pipe that is being opened, which takes until it has a writer: another thread waits for that. The
 * kernel looks at the rights when that begins.
 */
class Pipe {
  isOpen = false;
  readonly #file: Promise<Deno.FsFile>;

  constructor(path: string) {
    this.#file = Deno.open(path);
    this.#file.then(() => this.isOpen = true, () => {}); // `read` tells why it cannot be opened
  }

  async read(into: Uint8Array): Promise<number | null> {
    return await (await this.#file).read(into);
  }
}

async function* chunksFrom(
  pipe: { read(into: Uint8Array): Promise<number | null> },
): AsyncGenerator<Uint8Array> {
  for (;;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const count = await pipe.read(chunk);
    if (count === null) return;
    yield chunk.subarray(0, count);
  }
}

async function* chunksOf(file: PlainFile): AsyncGenerator<Uint8Array> {
  for (;;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const count = file.read(chunk);
    if (count === 0) return;
    yield chunk.subarray(0, count);
  }
}

function readError(error: unknown): ByteStreamError {
  if (error instanceof ByteStreamError) return error;
  const text = error instanceof Error
    ? error.message.replace(/: (open|stat) '.*'$/, "")
    : String(error);
  return new ByteStreamError(text);
}
