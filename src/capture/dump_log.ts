/**
 * Reads `dump_tcp_copy.log` as Layotto and trafficdump write it, as a recording: each record becomes a
 * connection of its own, with made-up packets. Reads a file.
 *
 * A line is `[window][port]` and bytes in hex, separated by spaces; Layotto's logger puts the time
 * and a level in front. With times the records are played at their times; without, those of a window
 * are spread over one second, and one window follows the other.
 *
 * What always holds: a line that is no record is skipped and counted; memory does not grow with the
 * file.
 */

import { readHex } from "../wire/hex.ts";
import { LinkType } from "../wire/link_type.ts";
import {
  type ClientTuple,
  SYNTHETIC_HEADER_BYTES,
  SYNTHETIC_SYN_BYTES,
  writeSyntheticSegment,
  writeSyntheticSyn,
} from "../wire/synthetic.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import { isReadOnce } from "./byte_stream.ts";
import { CaptureFileError } from "./pcap_file.ts";
import { Next, type RecordingFile } from "./recorded_packets.ts";

/**
 * What stands in front of a record's bytes: time and level (Layotto), window, port. Layotto writes the
 * milliseconds as a number, ",7" for 7 ms; where they are padded, the number is the same.
 */
const RECORD =
  /^(?:(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)[,.](\d{1,3}) \S+ )?\[([^\]]{1,200})\]\[(\d{1,5})\]/;
const LONGEST_PREFIX = 300;
/** Looked at to tell a log from a capture file. */
const PROBE_BYTES = 4096;
const READ_BYTES = 1 << 20;
/** A longer line is no record. */
const MAX_LINE_BYTES = 64 << 20;
/** Windows told apart; further ones count as one. */
const MAX_WINDOWS = 100_000;
/** Payload of one made-up packet. */
const SEGMENT_BYTES = 32 << 10;
/** How long a window without times lasts: Layotto's default. */
const WINDOW_US = 1_000_000;
/** Where made-up clients are: 100.64.0.0/10, with so many ports each. */
const CLIENT_NETWORK = 0x6440_0000;
const CLIENT_ADDRESSES = 1 << 22;
const FIRST_PORT = 1024;
const PORTS = 60_000;

/** Whether a file is a dump's log, judged by how it begins. */
export function isDumpLog(path: string): boolean {
  if (isReadOnce(path)) return false;
  try {
    using file = Deno.openSync(path);
    const probe = new Uint8Array(PROBE_BYTES);
    const count = file.readSync(probe) ?? 0;
    return RECORD.test(new TextDecoder("latin1").decode(probe.subarray(0, count)));
  } catch {
    // Whoever opens it next says what is wrong with it.
    return false;
  }
}

/** What part of a connection comes next. */
type Step = "syn" | "data" | "fin" | "done";

export class DumpLogReader implements RecordingFile, Disposable {
  readonly name: string;
  readonly isRewindable = true;
  readonly linkType: number = LinkType.Raw;
  readonly bytes = new Uint8Array(SYNTHETIC_HEADER_BYTES + SEGMENT_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  readonly offset = 0;
  capturedLength = 0;
  timestampUs = 0;
  /** Records with data in the file, and lines that are no records. */
  readonly records: number;
  readonly skippedLines: number;
  readonly #addressOf: (port: number) => number;
  readonly #lines: LineReader;
  /** Records of each window, and how many of them were played. */
  readonly #windows = new Map<string, { count: number; played: number; atUs: number }>();
  /** The record read last: its window, port, time in µs (or -1) and data. */
  #windowName = "";
  #port = 0;
  #timeUs = -1;
  #data = new Uint8Array(64 << 10);
  #dataLength = 0;
  #position = 0;
  #step: Step = "done";
  #skipped = 0;
  #connections = 0;
  #nextWindowUs = 0;
  #recordUs = 0;
  readonly #tuple: ClientTuple = {
    sourceAddress: 0,
    sourcePort: 0,
    destinationAddress: 0,
    destinationPort: 0,
  };

  /**
   * @param addressOf the address the service with a port shall have had, int32
   * @throws CaptureFileError when the file cannot be read
   */
  constructor(path: string, addressOf: (port: number) => number) {
    this.name = path;
    this.#addressOf = addressOf;
    this.#lines = new LineReader(path);
    let records = 0;
    while (this.#nextRecord()) {
      records++;
      const window = this.#window();
      window.count++;
    }
    this.records = records;
    this.skippedLines = this.#skipped;
    this.rewind();
  }

  get originalLength(): number {
    return this.capturedLength;
  }

  get warning(): string | undefined {
    return this.skippedLines === 0
      ? undefined
      : `${this.name}: ${this.skippedLines} lines are no records and are skipped`;
  }

  next(): Next {
    if (this.#step === "done") {
      if (!this.#nextRecord()) return Next.End;
      this.#beginConnection();
    }
    this.#writeStep();
    return Next.Packet;
  }

  rewind(): void {
    this.#lines.rewind();
    this.#step = "done";
    this.#connections = 0;
    this.#nextWindowUs = 0;
    for (const window of this.#windows.values()) {
      window.played = 0;
      window.atUs = -1;
    }
  }

  close(): void {
    this.#lines.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Reads lines up to the next record that has data. */
  #nextRecord(): boolean {
    for (;;) {
      const lines = this.#lines;
      if (!lines.next()) return false;
      if (lines.end === lines.begin) continue;
      if (this.#parse()) {
        if (this.#dataLength > 0) return true;
      } else this.#skipped++;
    }
  }

  #parse(): boolean {
    const { bytes, begin, end } = this.#lines;
    if (begin < 0) return false; // too long
    const head = latin1.decode(bytes.subarray(begin, Math.min(end, begin + LONGEST_PREFIX)));
    const match = RECORD.exec(head);
    if (match === null) return false;
    const [prefix, date, time, milliseconds, window, port] = match;
    const from = begin + prefix.length;
    const room = Math.ceil((end - from + 1) / 3);
    if (room > this.#data.length) this.#data = new Uint8Array(room * 2);
    const count = readHex(bytes, from, end, this.#data);
    if (count < 0 || Number(port) < 1 || Number(port) > 65_535) return false;
    this.#dataLength = count;
    this.#windowName = window;
    this.#port = Number(port);
    const timeMs = date === undefined ? NaN : Date.parse(`${date}T${time}`) + Number(milliseconds);
    this.#timeUs = Number.isNaN(timeMs) ? -1 : timeMs * 1000;
    return true;
  }

  #window(): { count: number; played: number; atUs: number } {
    const isNew = !this.#windows.has(this.#windowName);
    const name = isNew && this.#windows.size >= MAX_WINDOWS ? "" : this.#windowName;
    let window = this.#windows.get(name);
    if (window === undefined) this.#windows.set(name, window = { count: 0, played: 0, atUs: -1 });
    return window;
  }

  #beginConnection(): void {
    const window = this.#window();
    if (this.#timeUs >= 0) this.#recordUs = this.#timeUs;
    else {
      if (window.atUs < 0) {
        window.atUs = this.#nextWindowUs;
        this.#nextWindowUs += WINDOW_US;
      }
      const spreadUs = Math.floor(WINDOW_US * window.played / Math.max(1, window.count));
      this.#recordUs = Math.max(this.#recordUs, window.atUs + spreadUs);
      if (this.#connections === 0) this.#recordUs = window.atUs;
    }
    window.played++;
    const number = this.#connections++;
    const tuple = this.#tuple;
    tuple.sourceAddress = (CLIENT_NETWORK + Math.floor(number / PORTS) % CLIENT_ADDRESSES) | 0;
    tuple.sourcePort = FIRST_PORT + number % PORTS;
    tuple.destinationAddress = this.#addressOf(this.#port);
    tuple.destinationPort = this.#port;
    this.#position = 0;
    this.#step = "syn";
  }

  #writeStep(): void {
    const { bytes, view } = this;
    const tuple = this.#tuple;
    this.timestampUs = this.#recordUs;
    const sequence = (1 + this.#position) | 0;
    switch (this.#step) {
      case "syn":
        writeSyntheticSyn(bytes, view, tuple, 0);
        this.capturedLength = SYNTHETIC_SYN_BYTES;
        this.#step = "data";
        break;
      case "data": {
        const length = Math.min(SEGMENT_BYTES, this.#dataLength - this.#position);
        const piece = this.#data.subarray(this.#position, this.#position + length);
        bytes.set(piece, SYNTHETIC_HEADER_BYTES);
        const flags = TcpFlag.Ack | TcpFlag.Psh;
        this.capturedLength = writeSyntheticSegment(bytes, view, tuple, sequence, 1, flags, length);
        this.#position += length;
        if (this.#position === this.#dataLength) this.#step = "fin";
        break;
      }
      default: {
        // It acknowledges one byte: the client leaves when the answer has begun.
        const flags = TcpFlag.Ack | TcpFlag.Fin;
        this.capturedLength = writeSyntheticSegment(bytes, view, tuple, sequence, 2, flags, 0);
        this.#step = "done";
      }
    }
  }
}

const latin1 = new TextDecoder("latin1");
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Lines of a file, as places in a buffer. */
class LineReader {
  bytes = new Uint8Array(READ_BYTES);
  /** Where the current line is; `begin` is -1 for one that is too long to be kept. */
  begin = 0;
  end = 0;
  readonly #file: Deno.FsFile;
  #isClosed = false;
  #next = 0;
  #filled = 0;
  #isEnd = false;

  constructor(path: string) {
    try {
      this.#file = Deno.openSync(path);
    } catch (error) {
      const { message } = error as Error;
      throw new CaptureFileError(`The dump ${path} cannot be read (${message}).`, 0, false);
    }
  }

  /** Moves to the next line; false at the end of the file. */
  next(): boolean {
    let isTooLong = false;
    let searched = this.#next;
    for (;;) {
      const at = this.bytes.subarray(0, this.#filled).indexOf(LINE_FEED, searched);
      if (at >= 0 || (this.#isEnd && this.#next < this.#filled)) {
        this.begin = this.#next;
        this.end = at >= 0 ? at : this.#filled;
        this.#next = at >= 0 ? at + 1 : this.#filled;
        if (this.end > this.begin && this.bytes[this.end - 1] === CARRIAGE_RETURN) this.end--;
        if (isTooLong) this.begin = -1;
        return true;
      }
      if (this.#isEnd) return false;
      if (this.#filled - this.#next >= MAX_LINE_BYTES) {
        isTooLong = true;
        this.#next = this.#filled;
      }
      // What was searched has no end of line in it.
      searched = this.#filled - this.#next;
      this.#fill();
    }
  }

  rewind(): void {
    this.#file.seekSync(0, Deno.SeekMode.Start);
    this.#next = 0;
    this.#filled = 0;
    this.#isEnd = false;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.close();
  }

  /** Reads on, behind what is not used yet, which moves to the front. */
  #fill(): void {
    this.bytes.copyWithin(0, this.#next, this.#filled);
    this.#filled -= this.#next;
    this.#next = 0;
    if (this.#filled + READ_BYTES > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.#filled + READ_BYTES));
      grown.set(this.bytes.subarray(0, this.#filled));
      this.bytes = grown;
    }
    const count = this.#file.readSync(this.bytes.subarray(this.#filled));
    if (count === null) this.#isEnd = true;
    else this.#filled += count;
  }
}
