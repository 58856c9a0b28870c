/**
 * One capture opened through libpcap: its memory, its packets, its errors.
 *
 * Packets are copied, one at a time, into the handle's own memory: libpcap's pointers are only good
 * until the next call, and viewing a new address from JavaScript would cost more than the copy.
 * Methods give libpcap's result codes and texts as they are; the sentences for the user are made in
 * `src/capture`.
 */

import { Arena } from "./arena.ts";
import { lastErrno, type Libc, libc } from "./libc.ts";
import { cText, type Libpcap, readText } from "./libpcap.ts";
import { type FilterInstruction, setCloseOnExec, trySetOption } from "./socket.ts";

/** Results of `next`: a packet, none now; an error is below. */
export const PCAP_PACKET = 1;
export const PCAP_NONE = 0;

/** Results of `activate` that have a sentence of their own. */
export const PCAP_ERROR_NO_SUCH_DEVICE = -5;
export const PCAP_ERROR_PERM_DENIED = -8;
export const PCAP_ERROR_IFACE_NOT_UP = -9;
export const PCAP_ERROR_PROMISC_PERM_DENIED = -11;

/** Which packets of a device: `pcap_direction_t`. */
export const PcapDirection = { Both: 0, In: 1, Out: 2 } as const;
export type PcapDirection = typeof PcapDirection[keyof typeof PcapDirection];

const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;
const PCAP_ERRBUF_SIZE = 256;
const PCAP_NETMASK_UNKNOWN = 0xffff_ffff;

/** Small structures at the beginning of the handle's memory. */
const ERRBUF = 0;
/** Where libpcap writes the addresses of a packet's header and bytes. */
const HEADER_POINTER = 256;
const DATA_POINTER = 264;
/** struct bpf_program: u_int length, pointer to instructions. */
const PROGRAM = 272;
/** struct pcap_stat: three u_int, the second being the drops. */
const STATS = 288;
/** struct pcap_pkthdr: struct timeval (two longs), u32 captured and u32 original length. */
const HEADER = 304;
const HEADER_BYTES = 24;
/** Where packets are copied to. */
const PACKET = 384;

/** More than the largest IP packet with any link header. */
const LARGEST_PACKET_BYTES = 1 << 18;

/** Not found, or not readable: with libpcap's text. */
export class PcapOpenError extends Error {
  override readonly name = "PcapOpenError";
}

/** The names of the devices that can be captured from. */
export function pcapDevices(lib: Libpcap): string[] {
  const memory = new Arena(PACKET);
  try {
    if (lib.pcap_findalldevs(memory.addressAt(HEADER_POINTER), memory.base) < 0) return [];
    const first = Deno.UnsafePointer.create(memory.view.getBigUint64(HEADER_POINTER, true));
    const names: string[] = [];
    // struct pcap_if: pointer to the next one, pointer to the name, …
    for (let device = first; device !== null && names.length < 1000;) {
      const fields = new Deno.UnsafePointerView(device);
      names.push(readText(fields.getPointer(8)));
      device = fields.getPointer(0);
    }
    lib.pcap_freealldevs(first);
    return names;
  } finally {
    memory.free();
  }
}

/**
 * Compiles a filter expression (pcap-filter(7)) without a capture.
 *
 * @param linkType what the packets will begin with: a DLT_ value
 * @param snapLength what the program returns for a packet that matches: how much of it to keep
 * @throws PcapOpenError with libpcap's text when the expression is refused
 */
export function compileFilter(
  lib: Libpcap,
  expression: string,
  linkType: number,
  snapLength: number,
): FilterInstruction[] {
  const text = cText(expression);
  const pcap = lib.pcap_open_dead(linkType, snapLength);
  if (pcap === null) throw new PcapOpenError("libpcap has no memory left");
  const memory = new Arena(PACKET);
  try {
    const program = memory.addressAt(PROGRAM);
    if (lib.pcap_compile(pcap, program, text, 1, PCAP_NETMASK_UNKNOWN) < 0) {
      throw new PcapOpenError(readText(lib.pcap_geterr(pcap)));
    }
    const instructions = readProgram(memory.view);
    lib.pcap_freecode(program);
    return instructions;
  } finally {
    lib.pcap_close(pcap);
    memory.free();
  }
}

/** Copies the instructions of the struct bpf_program at PROGRAM. */
function readProgram(view: DataView): FilterInstruction[] {
  const count = view.getUint32(PROGRAM, true);
  const pointer = Deno.UnsafePointer.create(view.getBigUint64(PROGRAM + 8, true));
  if (pointer === null) return [];
  const fields = new Deno.UnsafePointerView(pointer);
  // struct bpf_insn: u_short code, u_char jt, u_char jf, bpf_u_int32 k.
  return Array.from({ length: count }, (_, index): FilterInstruction => [
    fields.getUint16(8 * index),
    fields.getUint8(8 * index + 2),
    fields.getUint8(8 * index + 3),
    fields.getUint32(8 * index + 4),
  ]);
}

/** A `pcap_t` with its memory. To be closed by whoever opened it. */
export class PcapHandle {
  /** The last packet is in here, at `offset`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly offset = PACKET;
  /** Of the last packet: bytes that are there, bytes it had, µs since 1970. */
  capturedLength = 0;
  originalLength = 0;
  timestampUs = 0;

  readonly #lib: Libpcap;
  readonly #c: Libc;
  readonly #memory: Arena;
  readonly #packetRoomBytes: number;
  readonly #pcap: Deno.PointerObject;
  readonly #pointers: BigUint64Array;
  readonly #headerPointerAddress: bigint;
  readonly #dataPointerAddress: bigint;
  readonly #headerAddress: bigint;
  readonly #packetAddress: bigint;
  #closed = false;

  private constructor(lib: Libpcap, pcap: Deno.PointerObject, memory: Arena) {
    this.#lib = lib;
    this.#c = libc();
    this.#pcap = pcap;
    this.#memory = memory;
    this.#packetRoomBytes = memory.sizeBytes - PACKET;
    this.bytes = memory.bytes;
    this.view = memory.view;
    this.#pointers = new BigUint64Array(memory.bytes.buffer, HEADER_POINTER, 2);
    this.#headerPointerAddress = memory.addressAt(HEADER_POINTER);
    this.#dataPointerAddress = memory.addressAt(DATA_POINTER);
    this.#headerAddress = memory.addressAt(HEADER);
    this.#packetAddress = memory.addressAt(PACKET);
  }

  static #open(lib: Libpcap, open: (errbuf: bigint) => Deno.PointerValue): PcapHandle {
    const memory = new Arena(PACKET + LARGEST_PACKET_BYTES);
    let pcap: Deno.PointerValue = null;
    try {
      pcap = open(memory.addressAt(ERRBUF));
      if (pcap === null) throw new PcapOpenError(errorIn(memory));
      return new PcapHandle(lib, pcap, memory);
    } catch (error) {
      memory.free();
      throw error;
    }
  }

  /**
   * Prepares a live capture; set it up, then `activate` it.
   *
   * @throws PcapOpenError
   */
  static create(lib: Libpcap, device: string): PcapHandle {
    const name = cText(device);
    return PcapHandle.#open(lib, (errbuf) => lib.pcap_create(name, errbuf));
  }

  /** The link type: a DLT_ value. */
  get linkType(): number {
    return this.#lib.pcap_datalink(this.#pcap);
  }

  /** libpcap's words for the last error of this handle. */
  get errorText(): string {
    return readText(this.#lib.pcap_geterr(this.#pcap));
  }

  /** libpcap's words for a result code of `activate`. */
  statusText(code: number): string {
    const detail = this.errorText;
    return detail === "" ? readText(this.#lib.pcap_statustostr(code)) : detail;
  }

  setSnapLength(lengthBytes: number): void {
    this.#lib.pcap_set_snaplen(this.#pcap, lengthBytes);
  }

  setPromiscuous(on: boolean): void {
    this.#lib.pcap_set_promisc(this.#pcap, on ? 1 : 0);
  }

  setImmediate(on: boolean): void {
    this.#lib.pcap_set_immediate_mode(this.#pcap, on ? 1 : 0);
  }

  setTimeout(timeoutMs: number): void {
    this.#lib.pcap_set_timeout(this.#pcap, timeoutMs);
  }

  setBufferSize(sizeBytes: number): void {
    this.#lib.pcap_set_buffer_size(this.#pcap, Math.min(sizeBytes, 0x7fff_ffff));
  }

  /** Opens the device: 0, a warning above 0 or an error below, for `statusText`. */
  activate(): number {
    const result = this.#lib.pcap_activate(this.#pcap);
    // libpcap leaves it open for programs this one starts.
    if (result >= 0 && this.selectableFd >= 0) setCloseOnExec(this.selectableFd);
    return result;
  }

  /** Keeps packets of one direction only, once activated; false when the device cannot. */
  setDirection(direction: PcapDirection): boolean {
    if (this.#lib.pcap_setdirection(this.#pcap, direction) !== 0) return false;
    // libpcap throws the others away as they are read. The kernel (4.20) can keep them out of the
    // buffer altogether; where it cannot, they just take room there.
    if (direction === PcapDirection.In) {
      trySetOption(this.selectableFd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    }
    return true;
  }

  /** Compiles and sets a filter expression (pcap-filter(7)); false: see `errorText`. */
  setFilter(expression: string): boolean {
    const program = this.#memory.addressAt(PROGRAM);
    const text = cText(expression);
    if (this.#lib.pcap_compile(this.#pcap, program, text, 1, PCAP_NETMASK_UNKNOWN) < 0) {
      return false;
    }
    const result = this.#lib.pcap_setfilter(this.#pcap, program);
    this.#lib.pcap_freecode(program);
    return result === 0;
  }

  /** Makes `next` return at once when there is no packet; undefined, or libpcap's text. */
  setNonBlocking(): string | undefined {
    if (this.#lib.pcap_setnonblock(this.#pcap, 1, this.#memory.addressAt(ERRBUF)) === 0) {
      return undefined;
    }
    return errorIn(this.#memory);
  }

  /** A descriptor that becomes readable when packets wait, or -1. */
  get selectableFd(): number {
    return this.#lib.pcap_get_selectable_fd(this.#pcap);
  }

  /** Packets dropped for lack of buffer, modulo 2^32; undefined when libpcap cannot tell. */
  dropCounter(): number | undefined {
    if (this.#lib.pcap_stats(this.#pcap, this.#memory.addressAt(STATS)) < 0) return undefined;
    return this.view.getUint32(STATS + 4, true);
  }

  /** Brings the next packet into the handle's memory; PCAP_PACKET, PCAP_NONE, or below 0: see `errorText`. */
  next(): number {
    const result = this.#lib.pcap_next_ex(
      this.#pcap,
      this.#headerPointerAddress,
      this.#dataPointerAddress,
    );
    if (result !== PCAP_PACKET) return result;
    const view = this.view;
    this.#c.memcpy(this.#headerAddress, this.#pointers[0], HEADER_BYTES);
    const upper = view.getInt32(HEADER + 4, true);
    const seconds = view.getUint32(HEADER, true) + upper * 0x1_0000_0000;
    this.timestampUs = seconds * 1_000_000 + view.getInt32(HEADER + 8, true);
    this.originalLength = view.getUint32(HEADER + 20, true);
    const captured = Math.min(view.getUint32(HEADER + 16, true), this.#packetRoomBytes);
    this.capturedLength = captured;
    this.#c.memcpy(this.#packetAddress, this.#pointers[1], captured);
    return PCAP_PACKET;
  }

  /**
   * Sends a frame that begins with the device's link header.
   *
   * @param address of native memory
   * @returns 0, or the negative error number
   */
  inject(address: bigint, sizeBytes: number): number {
    if (this.#lib.pcap_inject(this.#pcap, address, BigInt(sizeBytes)) >= 0) return 0;
    return -lastErrno();
  }

  /** Gives the capture and the memory back; a second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#lib.pcap_close(this.#pcap);
    this.#memory.free();
  }
}

/** The text libpcap left in the error buffer. */
function errorIn(memory: Arena): string {
  const text = memory.bytes.subarray(ERRBUF, ERRBUF + PCAP_ERRBUF_SIZE);
  const end = text.indexOf(0);
  return new TextDecoder().decode(text.slice(0, end < 0 ? text.length : end));
}
