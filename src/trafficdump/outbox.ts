/**
 * Takes what is to be written from where it happens to the writer, in batches: plain memory with one
 * entry behind the other, so that a whole batch changes hands without being copied. Pure.
 *
 * What always holds: no more than `maxBytes` are on their way; what does not fit is refused, whole,
 * at once.
 */

/** What an entry is. */
export const EntryKind = {
  /** A piece of a connection's request data. */
  Record: 1,
  /** An IPv4 packet of a sampled connection. */
  Packet: 2,
  /** The real address, as text, of a client that has a stand-in for an IPv4 address. */
  Client: 3,
} as const;

/** What stands in front of an entry's bytes: see `Outbox.reserve`. */
export const ENTRY_HEADER_BYTES = 32;
/** A batch leaves when so much has gathered. */
const BATCH_BYTES = 1 << 20;

/** What is known about an entry besides its bytes. */
export interface EntryFields {
  kind: number;
  length: number;
  /** When it was captured, µs since 1970. */
  timestampUs: number;
  /** The client's IPv4 address as int32, and its port. */
  clientAddress: number;
  clientPort: number;
  /** The port of the service. */
  port: number;
  /** Record: where it stands in the connection's dumped stream. Packet: its length on the wire. */
  position: number;
}

/** Gathers entries; `send` takes the full batches and later gives them back. */
export class Outbox {
  /** Bytes on their way, the current batch included. */
  inFlightBytes = 0;
  readonly maxBytes: number;
  readonly #send: (batch: ArrayBuffer, length: number) => void;
  readonly #spare: ArrayBuffer[] = [];
  #buffer = new ArrayBuffer(0);
  #bytes = new Uint8Array(this.#buffer);
  #view = new DataView(this.#buffer);
  #length = 0;

  constructor(maxBytes: number, send: (batch: ArrayBuffer, length: number) => void) {
    this.maxBytes = maxBytes;
    this.#send = send;
  }

  /** The memory of the current batch. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** The same memory as `bytes`. */
  get view(): DataView {
    return this.#view;
  }

  /** Makes room for an entry and writes its header. Returns where its bytes go, or -1: it is shed. */
  reserve(fields: EntryFields): number {
    const size = entryBytes(fields.length);
    if (this.inFlightBytes + size > this.maxBytes) return -1;
    if (this.#length + size > this.#buffer.byteLength) {
      this.flush();
      this.#take(size);
    }
    const at = this.#length;
    const view = this.#view;
    view.setUint32(at, fields.kind, true);
    view.setUint32(at + 4, fields.length, true);
    view.setFloat64(at + 8, fields.timestampUs, true);
    view.setInt32(at + 16, fields.clientAddress, true);
    view.setUint16(at + 20, fields.clientPort, true);
    view.setUint16(at + 22, fields.port, true);
    view.setFloat64(at + 24, fields.position, true);
    this.#length += size;
    this.inFlightBytes += size;
    return at + ENTRY_HEADER_BYTES;
  }

  /** Sends what has gathered. */
  flush(): void {
    if (this.#length === 0) return;
    const buffer = this.#buffer;
    const length = this.#length;
    this.#buffer = new ArrayBuffer(0);
    this.#bytes = new Uint8Array(this.#buffer);
    this.#view = new DataView(this.#buffer);
    this.#length = 0;
    this.#send(buffer, length);
  }

  /** Takes a batch back that was written or given up. */
  giveBack(buffer: ArrayBuffer, length: number): void {
    this.inFlightBytes -= length;
    if (buffer.byteLength === BATCH_BYTES && this.#spare.length < 8) this.#spare.push(buffer);
  }

  #take(minBytes: number): void {
    const spare = minBytes <= BATCH_BYTES ? this.#spare.pop() : undefined;
    this.#buffer = spare ?? new ArrayBuffer(Math.max(BATCH_BYTES, minBytes));
    this.#bytes = new Uint8Array(this.#buffer);
    this.#view = new DataView(this.#buffer);
  }
}

/** Room an entry takes in a batch. */
export function entryBytes(length: number): number {
  return ENTRY_HEADER_BYTES + ((length + 7) & ~7);
}

/** Calls back for every entry of a batch, with where its bytes begin. */
export function forEachEntry(
  buffer: ArrayBuffer,
  length: number,
  visit: (fields: EntryFields, offset: number) => void,
): void {
  const view = new DataView(buffer);
  const fields: EntryFields = {
    kind: 0,
    length: 0,
    timestampUs: 0,
    clientAddress: 0,
    clientPort: 0,
    port: 0,
    position: 0,
  };
  for (let at = 0; at < length; at += entryBytes(fields.length)) {
    fields.kind = view.getUint32(at, true);
    fields.length = view.getUint32(at + 4, true);
    fields.timestampUs = view.getFloat64(at + 8, true);
    fields.clientAddress = view.getInt32(at + 16, true);
    fields.clientPort = view.getUint16(at + 20, true);
    fields.port = view.getUint16(at + 22, true);
    fields.position = view.getFloat64(at + 24, true);
    visit(fields, at + ENTRY_HEADER_BYTES);
  }
}
