/**
 * The files of a dump: batches, windows and lines come in, Layotto's log files and a pcapng per
 * window are written. Blocks while it writes, so it has a thread of its own; touches files in the
 * dump's directory only.
 *
 * What always holds: a file has whole lines (or whole packets) only; what the disk does not take is
 * counted, and writing is tried again with the next piece.
 */

import { formatIpv4 } from "../wire/ipv4.ts";
import { LinkType } from "../wire/link_type.ts";
import { pcapngFileHeader, pcapngPacketBytes, writePcapngPacket } from "../wire/pcapng.ts";
import { WriterCounters } from "./counters.ts";
import { DiskBudget, type DiskLimits } from "./disk_budget.ts";
import { writeHex } from "../wire/hex.ts";
import { type EntryFields, EntryKind, forEachEntry } from "./outbox.ts";
import { RotatingFile } from "./rotating_file.ts";

/** Names of the log files, by what is in them. */
export const LOG_FILES = {
  tcpcopy: "dump_tcp_copy.log",
  portrait: "dump_portrait_data.log",
  memory: "dump_mem_dump.log",
  static: "dump_static_conf.log",
  /** Ours: which connection each line of dump_tcp_copy.log is from. */
  connections: "dump_connections.log",
} as const;

/** One of the log files. */
export type LogFile = keyof typeof LOG_FILES;

/** How files are written. */
export interface DumpFilesOptions extends DiskLimits {
  /** An existing directory. */
  directory: string;
  /** A log file is set aside when it is so long or so old. */
  fileBytes: number;
  fileAgeMs: number;
  /** Begin lines as Layotto's logger does, with the time and the level, and write JSON as Go does. */
  asLayotto: boolean;
}

/** Text and packets gather up to this before they are written. */
const BUFFER_BYTES = 1 << 20;
/** Real addresses remembered per window; of more clients the stand-in is written. */
const MAX_CLIENTS = 200_000;
/** No file has more than this share of the cap, so that deleting old ones makes room. */
const FILE_SHARE = 1 / 4;
/** What stands behind the names of files that are set aside, with the time to the second. */
const ASIDE = /^\.\d{4}-\d\d-\d\d_\d{6}(\.\d+)?$/;
const WINDOW = /^dump_window_\d{4}-\d\d-\d\d_\d{6}_.+\.pcapng$/;

/**
 * Whether a file is one the dump has written, by its name. Layotto's archives are named otherwise: by
 * day, or by day and hour.
 */
function isOwnName(name: string): boolean {
  if (WINDOW.test(name)) return true;
  const log = Object.values(LOG_FILES).find((log) => name.startsWith(log));
  return log !== undefined && (name === log || ASIDE.test(name.slice(log.length)));
}

export class DumpFiles {
  readonly counters = new WriterCounters();
  /** Why the disk does not take anything; undefined while it does. */
  trouble: string | undefined;
  readonly #options: DumpFilesOptions;
  readonly #budget: DiskBudget;
  readonly #logs = new Map<LogFile, RotatingFile>();
  readonly #text = new Gathered();
  readonly #index = new Gathered();
  /** Of the index, lines about records that are written already. */
  #owedIndexBytes = 0;
  readonly #packets = new Gathered();
  /** Real addresses of the window's clients, by those that stand for them. */
  readonly #clients = new Map<number, string>();
  readonly #encoder = new TextEncoder();
  #window = "";
  #pcapng: RotatingFile | undefined;
  /** Whether it has begun, and whether nothing more goes into it. */
  #hasPackets = false;
  #pcapngFull = false;
  #time = "";
  #timeMs = -1;

  constructor(options: DumpFilesOptions) {
    this.#options = options;
    const current = new Set<string>(Object.values(LOG_FILES));
    const { directory } = options;
    this.#budget = new DiskBudget(
      directory,
      options,
      isOwnName,
      (name) => current.has(name),
    );
  }

  /** Begins a window; there is a pcapng only if packets come. */
  openWindow(window: string, nowMs: number): void {
    this.closeWindow(nowMs);
    this.#window = window;
    this.#budget.rescan();
    const stamp = new Date(nowMs).toISOString().slice(0, 19).replace("T", "_").replaceAll(":", "");
    const name = `dump_window_${stamp}_${window}.pcapng`;
    this.#pcapngFull = false;
    this.#pcapng = new RotatingFile(this.#options.directory, name, this.#budget, {
      fileBytes: Infinity,
      fileAgeMs: Infinity,
    });
  }

  /** Writes what has gathered and closes the window's pcapng. */
  closeWindow(nowMs: number): void {
    this.flush(nowMs);
    this.#clients.clear();
    const pcapng = this.#pcapng;
    this.#pcapng = undefined;
    if (pcapng === undefined || this.#window === "") return;
    if (this.#hasPackets) this.#budget.retire(pcapng.name, pcapng.bytes, nowMs);
    pcapng.close();
    this.#hasPackets = false;
  }

  /** Takes a batch of an outbox. */
  batch(buffer: ArrayBuffer, length: number, nowMs: number): void {
    this.trouble = undefined; // unless it comes again
    const bytes = new Uint8Array(buffer, 0, length);
    forEachEntry(buffer, length, (entry, offset) => {
      if (entry.kind === EntryKind.Client) this.#client(bytes, offset, entry);
      else if (entry.kind === EntryKind.Record) {
        this.#record(bytes, offset, entry.length, entry.port, nowMs);
        this.#indexLine(entry, nowMs);
      } else {
        const packet = bytes.subarray(offset, offset + entry.length);
        this.#packet(packet, entry.timestampUs, entry.position, nowMs);
      }
    });
    this.flush(nowMs);
  }

  /** Gives up a batch: the system has become too busy to write it. */
  drop(buffer: ArrayBuffer, length: number): void {
    const { counters } = this;
    const bytes = new Uint8Array(buffer, 0, length);
    forEachEntry(buffer, length, (entry, offset) => {
      // Its connection may go on after the fuse.
      if (entry.kind === EntryKind.Client) this.#client(bytes, offset, entry);
      if (entry.kind !== EntryKind.Record) return;
      counters.fusedRecords++;
      counters.fusedBytes += entry.length;
    });
    // What follows in the recording would have a hole before it.
    this.#pcapngFull = true;
  }

  /** Writes one line, without its end, to a log file. Returns whether it was written. */
  line(log: LogFile, text: string, nowMs: number): boolean {
    const line = this.#encoder.encode(`${this.#prefix(nowMs)}${text}\n`);
    const isWritten = this.#append(this.#log(log), line, nowMs);
    if (!isWritten) this.counters.failedLines++;
    return isWritten;
  }

  /** Whether a log file has nothing in it. */
  isEmpty(log: LogFile): boolean {
    return this.#log(log).isEmpty();
  }

  /** Writes what has gathered. */
  flush(nowMs: number): void {
    const { counters } = this;
    const text = this.#text;
    if (text.length > 0) {
      const isWritten = this.#append(this.#log("tcpcopy"), text.contents, nowMs);
      if (isWritten) {
        counters.records += text.count;
        counters.recordBytes += text.dataBytes;
        // The index names lines that are there, no others; what it owes comes with the next.
        const { contents } = this.#index;
        const isIndexed = this.#append(this.#log("connections"), contents, nowMs);
        this.#owedIndexBytes = isIndexed || contents.length > BUFFER_BYTES ? 0 : contents.length;
      } else {
        counters.failedRecords += text.count;
        counters.failedBytes += text.dataBytes;
      }
      text.clear();
      this.#index.length = this.#owedIndexBytes;
    }
    this.#flushPackets(nowMs);
    counters.deletedFiles = this.#budget.deletedFiles;
  }

  close(nowMs: number): void {
    this.closeWindow(nowMs);
    for (const log of this.#logs.values()) log.close();
  }

  #record(bytes: Uint8Array, offset: number, length: number, port: number, nowMs: number): void {
    const text = this.#text;
    const begin = `${this.#prefix(nowMs)}[${this.#window}][${port}]`;
    if (text.length + begin.length + 3 * length + 1 > BUFFER_BYTES) this.flush(nowMs);
    const room = text.ensure(begin.length + 3 * length + 1);
    let at = room;
    for (let i = 0; i < begin.length; i++) text.bytes[at++] = begin.charCodeAt(i);
    at = writeHex(bytes, offset, length, text.bytes, text.words, at);
    // The last byte's space becomes the line's end.
    text.bytes[length > 0 ? at - 1 : at++] = 0x0a;
    text.length = at;
    text.count++;
    text.dataBytes += length;
  }

  #client(bytes: Uint8Array, offset: number, entry: EntryFields): void {
    if (this.#clients.size >= MAX_CLIENTS) return;
    const address = new TextDecoder().decode(bytes.subarray(offset, offset + entry.length));
    this.#clients.set(entry.clientAddress, `[${address}]`);
  }

  #indexLine(entry: EntryFields, nowMs: number): void {
    const address = this.#clients.get(entry.clientAddress) ?? formatIpv4(entry.clientAddress);
    const client = `${address}:${entry.clientPort}`;
    const line = `${this.#prefix(nowMs)}[${this.#window}][${entry.port}][${client}]` +
      `${entry.position} ${entry.length}\n`;
    const index = this.#index;
    let at = index.ensure(line.length);
    for (let i = 0; i < line.length; i++) index.bytes[at++] = line.charCodeAt(i);
    index.length = at;
  }

  #packet(packet: Uint8Array, timestampUs: number, originalLength: number, nowMs: number): void {
    const packets = this.#packets;
    const size = pcapngPacketBytes(packet.length);
    if (packets.length + size > BUFFER_BYTES) this.#flushPackets(nowMs);
    const at = packets.ensure(size);
    packets.length = writePcapngPacket(
      packets.bytes,
      packets.view,
      at,
      timestampUs,
      packet,
      originalLength,
    );
    packets.count++;
  }

  #flushPackets(nowMs: number): void {
    const packets = this.#packets;
    if (packets.length === 0) return;
    const pcapng = this.#pcapng;
    let isWritten = false;
    if (pcapng !== undefined && !this.#pcapngFull) {
      if (!this.#hasPackets) {
        const header = pcapngFileHeader(LinkType.Raw, `window ${this.#window}`);
        this.#hasPackets = this.#append(pcapng, header, nowMs);
      }
      const maxBytes = this.#options.maxBytes * FILE_SHARE;
      this.#pcapngFull = this.#hasPackets && pcapng.bytes + packets.length > maxBytes;
      isWritten = this.#hasPackets && !this.#pcapngFull &&
        this.#append(pcapng, packets.contents, nowMs);
      // A recording with a hole in the middle replays nothing behind it.
      if (!isWritten && this.#hasPackets) this.#pcapngFull = true;
    }
    if (isWritten) this.counters.packets += packets.count;
    else this.counters.failedPackets += packets.count;
    packets.clear();
  }

  #log(log: LogFile): RotatingFile {
    let file = this.#logs.get(log);
    if (file === undefined) {
      const { directory, maxBytes, fileAgeMs } = this.#options;
      const fileBytes = Math.min(this.#options.fileBytes, maxBytes * FILE_SHARE);
      file = new RotatingFile(directory, LOG_FILES[log], this.#budget, { fileBytes, fileAgeMs });
      this.#logs.set(log, file);
    }
    return file;
  }

  #append(file: RotatingFile, piece: Uint8Array, nowMs: number): boolean {
    const refusal = file.append(piece, nowMs);
    if (refusal !== undefined) {
      this.trouble = refusal;
      return false;
    }
    this.counters.fileBytes += piece.length;
    return true;
  }

  /** As Layotto's logger: date, time, ms (a number, without zeros in front), level. */
  #prefix(nowMs: number): string {
    if (!this.#options.asLayotto) return "";
    if (nowMs !== this.#timeMs) {
      this.#timeMs = nowMs;
      const local = new Date(nowMs - new Date(nowMs).getTimezoneOffset() * 60_000).toISOString();
      this.#time = `${local.slice(0, 10)} ${local.slice(11, 19)},${nowMs % 1000} [INFO] `;
    }
    return this.#time;
  }
}

/** Memory in which output gathers. */
class Gathered {
  bytes = new Uint8Array(64 << 10);
  words = new Uint32Array(this.bytes.buffer);
  view = new DataView(this.bytes.buffer);
  length = 0;
  /** Records or packets in it, and bytes of data in the records. */
  count = 0;
  dataBytes = 0;

  get contents(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  /** Makes room behind what is there; returns where. */
  ensure(more: number): number {
    if (this.length + more > this.bytes.length) {
      let size = this.bytes.length * 2;
      while (size < this.length + more) size *= 2;
      const grown = new Uint8Array(size);
      grown.set(this.contents);
      this.bytes = grown;
      this.words = new Uint32Array(grown.buffer);
      this.view = new DataView(grown.buffer);
    }
    return this.length;
  }

  clear(): void {
    this.length = 0;
    this.count = 0;
    this.dataBytes = 0;
  }
}
