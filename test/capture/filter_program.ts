/** Runs classic BPF programs as the kernel does (bpf(4)); as far as packet filters here need it. Pure. */

import type { FilterInstruction } from "../../ffi/socket.ts";

/** What the kernel knows of a packet besides its bytes. */
export interface PacketContext {
  /** What the link layer says it carries, whom it is for, the device it passes. */
  protocol?: number;
  packetType?: number;
  deviceIndex?: number;
}

/** SKF_NET_OFF and SKF_AD_OFF: where offsets stand for something else than the packet's bytes. */
const NETWORK_HEADER = 0xfff0_0000;
const ANCILLARY = 0xffff_f000;

/**
 * What the program returns for a packet that begins with its network header: bytes to keep, 0 for none.
 */
export function runFilter(
  program: readonly FilterInstruction[],
  packet: Uint8Array,
  { protocol = 0, packetType = 0, deviceIndex = 0 }: PacketContext = {},
): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const ancillary = new Map([[0, protocol], [4, packetType], [8, deviceIndex]]);
  const memory = new Uint32Array(16);
  let [a, x] = [0, 0];
  try {
    for (let at = 0; at < program.length; at++) {
      const [code, whenTrue, whenFalse, k] = program[at];
      const operand = code & 0x08 ? x : k;
      switch (code & 0x07) {
        case 0: // LD
          if (k >= ANCILLARY) a = ancillary.get(k - ANCILLARY)!;
          else a = load(view, code, fromNetworkHeader(k), x, a, memory);
          break;
        case 1: // LDX
          if ((code & 0xe0) === 0xa0) x = (view.getUint8(fromNetworkHeader(k)) & 15) * 4;
          else x = (code & 0xe0) === 0x60 ? memory[k] : k;
          break;
        case 2: // ST
          memory[k] = a;
          break;
        case 3: // STX
          memory[k] = x;
          break;
        case 4: // ALU
          a = calculate(code & 0xf0, a, operand);
          break;
        case 5: // JMP
          if ((code & 0xf0) === 0) at += k;
          else at += jumps(code & 0xf0, a, operand) ? whenTrue : whenFalse;
          break;
        case 6: // RET
          return code & 0x10 ? a : k;
        case 7: // MISC
          if (code & 0x80) a = x;
          else x = a;
      }
    }
  } catch (error) {
    // A load beyond the packet's end: not taken.
    if (error instanceof RangeError) return 0;
    throw error;
  }
  throw new Error("the program does not return");
}

function fromNetworkHeader(k: number): number {
  return k >= NETWORK_HEADER ? k - NETWORK_HEADER : k;
}

function load(
  view: DataView,
  code: number,
  k: number,
  x: number,
  a: number,
  memory: Uint32Array,
): number {
  const mode = code & 0xe0;
  if (mode === 0x00) return k;
  if (mode === 0x60) return memory[k];
  if (mode === 0x80) return view.byteLength;
  const at = mode === 0x40 ? x + k : k;
  const size = code & 0x18;
  if (size === 0x00) return view.getUint32(at);
  if (size === 0x08) return view.getUint16(at);
  if (size === 0x10) return view.getUint8(at);
  return a;
}

function calculate(operation: number, a: number, operand: number): number {
  switch (operation) {
    case 0x00:
      return (a + operand) >>> 0;
    case 0x10:
      return (a - operand) >>> 0;
    case 0x40:
      return (a | operand) >>> 0;
    case 0x50:
      return (a & operand) >>> 0;
    case 0x60:
      return (a << operand) >>> 0;
    case 0x70:
      return a >>> operand;
    default:
      throw new Error(`operation ${operation} is not known here`);
  }
}

function jumps(test: number, a: number, operand: number): boolean {
  switch (test) {
    case 0x10:
      return a === operand;
    case 0x20:
      return a > operand;
    case 0x30:
      return a >= operand;
    default:
      return (a & operand) !== 0;
  }
}
