/**
 * Reads capture files: pcap (µs and ns, both byte orders) and pcapng. Touches files, not `ffi`.
 *
 * A cursor, not a source: the caller paces the packets. What always holds: every packet before a
 * defect in the file is delivered intact; the defect itself is reported, never taken for the end.
 */

import { InvariantError } from "../../ffi/invariant.ts";
import { CaptureFormatError } from "../wire/capture_format.ts";
import { CaptureReader } from "../wire/capture_reader.ts";
import { type ByteStream, ByteStreamError, PlainFile } from "./byte_stream.ts";
import { Next, type RecordingFile } from "./recorded_packets.ts";

/** How much is read at a time. */
const READ_BYTES = 1 << 16;

/** A capture file that cannot be opened, or cannot be read to its end. */
export class CaptureFileError extends Error {
  override readonly name = "CaptureFileError";
  /** Packets read before the defect; all of them are intact. */
  readonly packetsRead: number;
  /** Whether the file just ends too early, as when the writer was killed. */
  readonly truncated: boolean;

  constructor(message: string, packetsRead: number, truncated: boolean) {
    super(message);
    this.packetsRead = packetsRead;
    this.truncated = truncated;
  }
}

/** The packets of one capture file, from whatever its bytes come from. */
export class RecordedFile implements RecordingFile {
  /** As the user named it. */
  readonly name: string;
  readonly #stream: ByteStream;
  #reader = new CaptureReader();

  private constructor(name: string, stream: ByteStream) {
    this.name = name;
    this.#stream = stream;
  }

  /** @throws CaptureFileError when the bytes cannot be had */
  static open(name: string, open: () => ByteStream): RecordedFile {
    try {
      return new RecordedFile(name, open());
    } catch (error) {
      if (!(error instanceof ByteStreamError)) throw error;
      throw new CaptureFileError(
        `The capture file ${name} cannot be read (${error.message}).`,
        0,
        false,
      );
    }
  }

  get linkType(): number {
    return this.#reader.packet.linkType;
  }

  get bytes(): Uint8Array {
    return this.#reader.bytes;
  }

  get view(): DataView {
    return this.#reader.view;
  }

  get offset(): number {
    return this.#reader.packet.offset;
  }

  get capturedLength(): number {
    return this.#reader.packet.capturedLength;
  }

  get originalLength(): number {
    return this.#reader.packet.originalLength;
  }

  get timestampUs(): number {
    return this.#reader.packet.timestampUs;
  }

  /** How many packets were read since the beginning or the last `rewind`. */
  get packetsRead(): number {
    return this.#reader.packetsRead;
  }

  /** Whether `rewind` works. */
  get isRewindable(): boolean {
    return this.#stream.isRewindable;
  }

  get waitsFor(): string | undefined {
    return this.#stream.waitsFor;
  }

  /** @throws CaptureFileError when the file is cut short or broken from here on */
  next(): Next {
    const reader = this.#reader;
    try {
      while (!reader.next()) {
        const count = this.#stream.read(reader.room(READ_BYTES));
        if (count < 0) return Next.Wait;
        if (count === 0) {
          if (!reader.isBetweenRecords) throw this.#cutShort();
          return Next.End;
        }
        reader.fill(count);
      }
      return Next.Packet;
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /**
   * Goes back to the first packet.
   *
   * @throws CaptureFileError when the bytes cannot be had a second time
   */
  rewind(): void {
    try {
      this.#stream.rewind();
    } catch (error) {
      throw this.#explain(error);
    }
    this.#reader = new CaptureReader();
  }

  /** Gives the file back; a second call does nothing. */
  close(): void {
    this.#stream.close();
  }

  #cutShort(): CaptureFileError {
    const { packetsRead } = this.#reader;
    return new CaptureFileError(
      this.#reader.isEmpty
        ? `The capture file ${this.name} is empty: expected a pcap or pcapng file, as tcpdump -w ` +
          "writes it."
        : `The capture file ${this.name} ends in the middle of a packet after ${packetsRead} ` +
          "packets (truncated): the packets before are intact, what follows cannot be read.",
      packetsRead,
      true,
    );
  }

  #explain(error: unknown): unknown {
    const { packetsRead, isEmpty } = this.#reader;
    if (error instanceof CaptureFormatError) {
      return new CaptureFileError(
        packetsRead === 0
          ? `The capture file ${this.name} cannot be read (${error.message}): expected a pcap or ` +
            "pcapng file, as tcpdump -w writes it, as it is or compressed with gzip or zstd."
          : `The capture file ${this.name} is broken after ${packetsRead} packets ` +
            `(${error.message}): the packets before are intact, what follows cannot be read.`,
        packetsRead,
        false,
      );
    }
    if (!(error instanceof ByteStreamError)) return error;
    const where = packetsRead === 0 && isEmpty ? "" : ` after ${packetsRead} packets`;
    return new CaptureFileError(
      `The capture file ${this.name} cannot be read${where} (${error.message}).`,
      packetsRead,
      error.truncated,
    );
  }
}

/**
 * A capture file on disk that is not compressed, packet by packet. For more, see `openRecording`.
 *
 * ```ts
 * using file = new PcapFileReader("requests.pcap");
 * while (file.next()) packet.parse(file.linkType, file.bytes, file.view, file.offset, file.capturedLength);
 * ```
 */
export class PcapFileReader implements Disposable {
  readonly path: string;
  readonly #file: RecordedFile;
  #closed = false;

  /** @throws CaptureFileError when the file cannot be opened */
  constructor(path: string) {
    this.path = path;
    this.#file = RecordedFile.open(path, () => new PlainFile(path));
  }

  /** What stands in front of the current packet's IP header: one of the values of `LinkType`. */
  get linkType(): number {
    return this.#file.linkType;
  }

  /** Memory with the current packet at `offset`; valid until `next`, `rewind` or `close`. */
  get bytes(): Uint8Array {
    return this.#file.bytes;
  }

  /** The same memory as `bytes`. */
  get view(): DataView {
    return this.#file.view;
  }

  /** Where the current packet begins. */
  get offset(): number {
    return this.#file.offset;
  }

  /** How many bytes of the current packet the file has. */
  get capturedLength(): number {
    return this.#file.capturedLength;
  }

  /** How many bytes the current packet had on the wire. */
  get originalLength(): number {
    return this.#file.originalLength;
  }

  /** When the current packet was captured, in µs since 1970; ns are cut off. */
  get timestampUs(): number {
    return this.#file.timestampUs;
  }

  /** How many packets were read since the beginning or the last `rewind`. */
  get packetsRead(): number {
    return this.#file.packetsRead;
  }

  /**
   * Reads the next packet into the fields of this object.
   *
   * @returns false at the end of the file
   * @throws CaptureFileError when the file is no capture file, or is cut short or broken from here on
   */
  next(): boolean {
    this.#assertOpen();
    return this.#file.next() === Next.Packet;
  }

  /** Goes back to the first packet. */
  rewind(): void {
    this.#assertOpen();
    this.#file.rewind();
  }

  /** Gives the file and the memory back; a second call does nothing. */
  close(): void {
    this.#closed = true;
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new InvariantError(`The capture file ${this.path} was closed.`);
  }
}
