/**
 * Reads capture files (pcap and pcapng, µs and ns) through libpcap. May touch `ffi`.
 *
 * A cursor, not a source: the caller paces the packets. What always holds: every packet before a
 * defect in the file is delivered intact; the defect itself is reported, never taken for the end.
 */

import { libpcap } from "../../ffi/libpcap.ts";
import { PCAP_END, PCAP_PACKET, PcapHandle, PcapOpenError } from "../../ffi/pcap_handle.ts";
import { filterRefused } from "./bpf.ts";

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

/** How a capture file is read. */
export interface PcapFileOptions {
  /** Only packets that match this expression (pcap-filter(7)). */
  filter?: string;
  /** The libpcap to use instead of the system's. */
  libpcapPath?: string;
}

/**
 * A capture file, packet by packet.
 *
 * ```ts
 * using file = new PcapFileReader("requests.pcap");
 * while (file.next()) packet.parse(file.linkType, file.bytes, file.view, file.offset, file.capturedLength);
 * ```
 */
export class PcapFileReader implements Disposable {
  readonly path: string;
  readonly #options: PcapFileOptions;
  #handle: PcapHandle;
  #linkType: number;
  #packetsRead = 0;
  #closed = false;

  /**
   * @param path the file; "-" is standard input
   * @throws CaptureFileError when it cannot be opened or is no capture file; Error for a filter that
   * does not compile, or without libpcap
   */
  constructor(path: string, options: PcapFileOptions = {}) {
    this.path = path;
    this.#options = options;
    this.#handle = open(path, options);
    this.#linkType = this.#handle.linkType;
  }

  /** What stands in front of the IP header: one of the values of `LinkType`. */
  get linkType(): number {
    return this.#linkType;
  }

  /** Memory with the current packet at `offset`; valid until `next`, `rewind` or `close`. */
  get bytes(): Uint8Array {
    return this.#handle.bytes;
  }

  /** The same memory as `bytes`. */
  get view(): DataView {
    return this.#handle.view;
  }

  /** Where the current packet begins. */
  get offset(): number {
    return this.#handle.offset;
  }

  /** How many bytes of the current packet the file has. */
  get capturedLength(): number {
    return this.#handle.capturedLength;
  }

  /** How many bytes the current packet had on the wire. */
  get originalLength(): number {
    return this.#handle.originalLength;
  }

  /** When the current packet was captured, in µs since 1970; ns are cut off. */
  get timestampUs(): number {
    return this.#handle.timestampUs;
  }

  /** How many packets were read since the beginning or the last `rewind`. */
  get packetsRead(): number {
    return this.#packetsRead;
  }

  /**
   * Reads the next packet into the fields of this object.
   *
   * @returns false at the end of the file
   * @throws CaptureFileError when the file is cut short or broken from here on
   */
  next(): boolean {
    if (this.#closed) throw new Error(`The capture file ${this.path} was closed.`);
    const result = this.#handle.next();
    if (result === PCAP_PACKET) {
      this.#packetsRead++;
      return true;
    }
    if (result === PCAP_END) return false;
    throw this.#defect(this.#handle.errorText);
  }

  /**
   * Goes back to the first packet.
   *
   * @throws CaptureFileError when the file can no longer be opened, or is standard input
   */
  rewind(): void {
    if (this.#closed) throw new Error(`The capture file ${this.path} was closed.`);
    if (this.path === "-") {
      throw new CaptureFileError(
        "Standard input cannot be read a second time: save the capture to a file first.",
        this.#packetsRead,
        false,
      );
    }
    const handle = open(this.path, this.#options);
    this.#handle.close();
    this.#handle = handle;
    this.#linkType = handle.linkType;
    this.#packetsRead = 0;
  }

  /** Gives the file and the memory back; a second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #defect(text: string): CaptureFileError {
    const truncated = text.startsWith("truncated dump file");
    const what = truncated ? "ends in the middle of a packet" : "is broken";
    return new CaptureFileError(
      `The capture file ${this.path} ${what} after ${this.#packetsRead} packets (${text}): ` +
        "the packets before are intact, what follows cannot be read.",
      this.#packetsRead,
      truncated,
    );
  }
}

function open(path: string, options: PcapFileOptions): PcapHandle {
  let handle: PcapHandle;
  try {
    handle = PcapHandle.openFile(libpcap(options.libpcapPath), path);
  } catch (error) {
    if (!(error instanceof PcapOpenError)) throw error;
    throw new CaptureFileError(
      `The capture file ${path} cannot be read (${error.message}): ` +
        "expected a pcap or pcapng file, as tcpdump -w writes it.",
      0,
      error.message.startsWith("truncated dump file"),
    );
  }
  const filter = options.filter ?? "";
  if (filter !== "" && !handle.setFilter(filter)) {
    const text = handle.errorText;
    handle.close();
    throw filterRefused(filter, text);
  }
  return handle;
}
