/**
 * The blocks of a pcapng file (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng): several
 * sections, each with a byte order and interfaces of its own, each of these with a link type and
 * a resolution of time. Pure.
 */

import {
  type CaptureFormat,
  CaptureFormatError,
  MAX_RECORDED_PACKET_BYTES,
  type RecordedPacket,
} from "./capture_format.ts";

/** Type of the block each section begins with; reads the same in both byte orders. */
export const PCAPNG_SECTION_HEADER = 0x0a0d0d0a;

const INTERFACE_DESCRIPTION = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const VERSION_MAJOR = 1;
const OPTION_TIME_RESOLUTION = 9;
const OPTION_TIME_OFFSET = 14;

/** Type and length in front, length again at the end. */
const FRAME_BYTES = 12;
/** Blocks that are read have a packet and options, or are small. */
const MAX_READ_BLOCK_BYTES = MAX_RECORDED_PACKET_BYTES + (1 << 16);
const MAX_INTERFACES = 1 << 16;

interface Interface {
  linkType: number;
  /** 0: no bound. */
  snapLength: number;
  /** Timestamps count units of a second: `base` to the power of `-exponent`. */
  base: 2 | 10;
  exponent: number;
  offsetSeconds: number;
}

/** Reads blocks in their order. */
export class PcapngBlocks implements CaptureFormat {
  isPacket = false;
  #littleEndian = true;
  #interfaces: Interface[] = [];
  #lastTimestampUs = 0;

  take(view: DataView, at: number, end: number, packet: RecordedPacket): number {
    this.isPacket = false;
    if (at + FRAME_BYTES > end) return end - at - FRAME_BYTES;
    if (view.getUint32(at) === PCAPNG_SECTION_HEADER) this.#beginSection(view, at);
    const isLittle = this.#littleEndian;
    const type = view.getUint32(at, isLittle);
    const blockBytes = view.getUint32(at + 4, isLittle);
    if (blockBytes < FRAME_BYTES || blockBytes % 4 !== 0) {
      throw new CaptureFormatError(`a block of ${blockBytes} bytes`);
    }
    if (!isRead(type)) return blockBytes;
    if (blockBytes > MAX_READ_BLOCK_BYTES) {
      throw new CaptureFormatError(`a block of type ${type} with ${blockBytes} bytes`);
    }
    if (at + blockBytes > end) return end - at - blockBytes;
    if (view.getUint32(at + blockBytes - 4, isLittle) !== blockBytes) {
      throw new CaptureFormatError("the two lengths of a block differ");
    }
    const body = at + 8;
    const bodyEnd = at + blockBytes - 4;
    if (type === PCAPNG_SECTION_HEADER) this.#checkVersion(view, body, bodyEnd);
    else if (type === INTERFACE_DESCRIPTION) this.#addInterface(view, body, bodyEnd);
    else if (type === SIMPLE_PACKET) this.#takeSimple(view, body, bodyEnd, packet);
    else this.#takePacket(view, type, body, bodyEnd, packet);
    return blockBytes;
  }

  #beginSection(view: DataView, at: number): void {
    if (view.getUint32(at + 8) === BYTE_ORDER_MAGIC) this.#littleEndian = false;
    else if (view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC) this.#littleEndian = true;
    else throw new CaptureFormatError("a section without byte order mark");
    this.#interfaces = [];
  }

  #checkVersion(view: DataView, at: number, end: number): void {
    const version = at + 6 > end ? 0 : view.getUint16(at + 4, this.#littleEndian);
    if (version !== VERSION_MAJOR) {
      throw new CaptureFormatError(`pcapng version ${version}, where 1 is known`);
    }
  }

  #addInterface(view: DataView, at: number, end: number): void {
    if (at + 8 > end) throw new CaptureFormatError("an interface description that is too short");
    if (this.#interfaces.length === MAX_INTERFACES) {
      throw new CaptureFormatError(`more than ${MAX_INTERFACES} interfaces`);
    }
    const isLittle = this.#littleEndian;
    const made: Interface = {
      linkType: view.getUint16(at, isLittle),
      snapLength: view.getUint32(at + 4, isLittle),
      base: 10,
      exponent: 6,
      offsetSeconds: 0,
    };
    for (let option = at + 8; option + 4 <= end;) {
      const code = view.getUint16(option, isLittle);
      const length = view.getUint16(option + 2, isLittle);
      if (code === 0 || option + 4 + length > end) break;
      if (code === OPTION_TIME_RESOLUTION && length >= 1) {
        const resolution = view.getUint8(option + 4);
        made.base = (resolution & 0x80) === 0 ? 10 : 2;
        made.exponent = resolution & 0x7f;
      } else if (code === OPTION_TIME_OFFSET && length >= 8) {
        made.offsetSeconds = Number(view.getBigInt64(option + 4, isLittle));
      }
      option += 4 + ((length + 3) & ~3);
    }
    this.#interfaces.push(made);
  }

  #takePacket(view: DataView, type: number, at: number, end: number, packet: RecordedPacket): void {
    if (at + 20 > end) throw new CaptureFormatError("a packet block that is too short");
    const isLittle = this.#littleEndian;
    const number = type === ENHANCED_PACKET
      ? view.getUint32(at, isLittle)
      : view.getUint16(at, isLittle);
    const captured = this.#interface(number);
    const upper = view.getUint32(at + 4, isLittle);
    const lower = view.getUint32(at + 8, isLittle);
    packet.timestampUs = this.#lastTimestampUs = microseconds(captured, upper, lower);
    this.#place(packet, captured, at + 20, view.getUint32(at + 12, isLittle), end);
    packet.originalLength = view.getUint32(at + 16, isLittle);
  }

  /** A packet without time of its own: it counts as captured with the one before. */
  #takeSimple(view: DataView, at: number, end: number, packet: RecordedPacket): void {
    if (at + 4 > end) throw new CaptureFormatError("a packet block that is too short");
    const captured = this.#interface(0);
    const originalLength = view.getUint32(at, this.#littleEndian);
    const bound = captured.snapLength === 0 ? originalLength : captured.snapLength;
    packet.timestampUs = this.#lastTimestampUs;
    this.#place(packet, captured, at + 4, Math.min(originalLength, bound, end - at - 4), end);
    packet.originalLength = originalLength;
  }

  #place(
    packet: RecordedPacket,
    captured: Interface,
    offset: number,
    capturedLength: number,
    end: number,
  ): void {
    if (capturedLength > MAX_RECORDED_PACKET_BYTES || offset + capturedLength > end) {
      throw new CaptureFormatError(`a packet of ${capturedLength} bytes that exceeds its block`);
    }
    packet.offset = offset;
    packet.capturedLength = capturedLength;
    packet.linkType = captured.linkType;
    this.isPacket = true;
  }

  #interface(number: number): Interface {
    const found = this.#interfaces[number];
    if (found === undefined) {
      throw new CaptureFormatError(`a packet of interface ${number}, which was not described`);
    }
    return found;
  }
}

function isRead(type: number): boolean {
  return type === PCAPNG_SECTION_HEADER || type === INTERFACE_DESCRIPTION ||
    type === ENHANCED_PACKET || type === SIMPLE_PACKET || type === OBSOLETE_PACKET;
}

/** A timestamp of 64 bits in µs since 1970. */
function microseconds(
  { base, exponent, offsetSeconds }: Interface,
  upper: number,
  lower: number,
): number {
  const offsetUs = offsetSeconds * 1_000_000;
  if (base === 10 && exponent === 6) return upper * 0x1_0000_0000 + lower + offsetUs;
  if (base === 10 && exponent > 6 && exponent <= 12) {
    // Long division by 32-bit digits: no step exceeds 53 bits.
    const unitsPerUs = 10 ** (exponent - 6);
    const quotient = Math.floor(upper / unitsPerUs);
    const rest = upper % unitsPerUs;
    return quotient * 0x1_0000_0000 + Math.floor((rest * 0x1_0000_0000 + lower) / unitsPerUs) +
      offsetUs;
  }
  const units = (BigInt(upper) << 32n) | BigInt(lower);
  return Number(units * 1_000_000n / BigInt(base) ** BigInt(exponent)) + offsetUs;
}
