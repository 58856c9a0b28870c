/**
 * One or several capture files as one sequence of packets, merged by time. Touches files.
 *
 * Each file stays in its own order; between files the packet captured first goes first. Files are
 * opened once and stay open, so that they can be played again after root was given up.
 */

import { openByteStream } from "./byte_stream.ts";
import { DumpLogReader, isDumpLog } from "./dump_log.ts";
import { RecordedFile } from "./pcap_file.ts";
import { Next, type RecordedPackets, type RecordingFile } from "./recorded_packets.ts";

/** Each file has memory of its own. */
export const MAX_RECORDING_FILES = 256;

/** 127.0.0.1, int32 */
const LOCALHOST = 0x7f00_0001;

/**
 * Opens capture files: pcap or pcapng, plain or compressed with gzip or zstd; "-" is standard input.
 * Also a dump's log, of which a path should be the only one: its times may be made up.
 *
 * @param serviceAddress for a dump's log, which knows ports only: the address, int32, the service
 * with a port shall have had
 * @throws CaptureFileError when one cannot be opened
 */
export function openRecording(
  paths: readonly string[],
  serviceAddress: (port: number) => number = () => LOCALHOST,
): Recording {
  const files: RecordingFile[] = [];
  try {
    for (const path of paths) {
      if (isDumpLog(path)) {
        files.push(new DumpLogReader(path, serviceAddress));
        continue;
      }
      const name = path === "-" ? "standard input" : path;
      files.push(RecordedFile.open(name, () => openByteStream(path)));
    }
    return new Recording(files);
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/**
 * ```ts
 * using recording = openRecording(["a.pcap", "b.pcapng.gz"]);
 * for (let next = recording.next(); next !== Next.End; next = recording.next()) {
 *   if (next === Next.Wait) await new Promise((resolve) => setTimeout(resolve, 1));
 *   else console.log(recording.timestampUs);
 * }
 * ```
 */
export class Recording implements RecordedPackets, Disposable {
  /** The files as the user named them, for messages. */
  readonly name: string;
  readonly #files: readonly RecordingFile[];
  /** Files that stand on a packet. */
  #ready: RecordingFile[] = [];
  /** Files that have to go to their next packet first. */
  #pending: RecordingFile[];
  #current: RecordingFile;

  /** @param files at least one */
  constructor(files: readonly RecordingFile[]) {
    if (files.length < 1 || files.length > MAX_RECORDING_FILES) {
      throw new RangeError(`1 to ${MAX_RECORDING_FILES} files are read, not ${files.length}.`);
    }
    this.#files = files;
    this.#pending = [...files];
    this.#current = files[0];
    this.name = files.length === 1
      ? files[0].name
      : `${files[0].name} and ${files.length - 1} more`;
  }

  get linkType(): number {
    return this.#current.linkType;
  }

  get bytes(): Uint8Array {
    return this.#current.bytes;
  }

  get view(): DataView {
    return this.#current.view;
  }

  get offset(): number {
    return this.#current.offset;
  }

  get capturedLength(): number {
    return this.#current.capturedLength;
  }

  get originalLength(): number {
    return this.#current.originalLength;
  }

  get timestampUs(): number {
    return this.#current.timestampUs;
  }

  /** Whether `rewind` works: not with standard input. */
  get isRewindable(): boolean {
    return this.#files.every((file) => file.isRewindable);
  }

  /** What the user should know about the files. */
  get warnings(): string[] {
    return this.#files.flatMap(({ warning }) => warning ?? []);
  }

  /** What has to come before there can be packets, such as "a writer of requests.fifo". */
  get awaited(): string[] {
    return this.#files.flatMap(({ name, waitsFor }) =>
      waitsFor === undefined ? [] : `${waitsFor} ${name}`
    );
  }

  /** @throws CaptureFileError when a file is cut short or broken from here on */
  next(): Next {
    while (this.#pending.length > 0) {
      const file = this.#pending[this.#pending.length - 1];
      const next = file.next();
      if (next === Next.Wait) return next;
      this.#pending.pop();
      if (next === Next.Packet) this.#ready.push(file);
    }
    const ready = this.#ready;
    if (ready.length === 0) return Next.End;
    let first = 0;
    for (let index = 1; index < ready.length; index++) {
      if (ready[index].timestampUs < ready[first].timestampUs) first = index;
    }
    this.#current = ready[first];
    this.#pending.push(this.#current);
    ready[first] = ready[ready.length - 1];
    ready.pop();
    return Next.Packet;
  }

  /**
   * Goes back to the first packet.
   *
   * @throws CaptureFileError when a file cannot be read a second time
   */
  rewind(): void {
    for (const file of this.#files) file.rewind();
    this.#ready = [];
    this.#pending = [...this.#files];
    this.#current = this.#files[0];
  }

  /** Gives the files back; a second call does nothing. */
  close(): void {
    for (const file of this.#files) file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
