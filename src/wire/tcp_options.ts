/**
 * TCP options (RFC 9293 section 3.2, RFC 7323, RFC 2018): a cursor that reads a list in place, and
 * writers for the options the simulated client sends. Pure; allocates nothing per packet.
 */

/** Option kinds (IANA "TCP Option Kind Numbers"). */
export const TcpOptionKind = {
  End: 0,
  NoOperation: 1,
  MaximumSegmentSize: 2,
  WindowScale: 3,
  SackPermitted: 4,
  Sack: 5,
  Timestamps: 8,
} as const;

/** Largest shift of the window scale option; greater ones are used as 14 (RFC 7323 section 2.3). */
export const MAX_WINDOW_SCALE = 14;

const MAX_OPTIONS_BYTES = 40;
const MAX_SACK_BLOCKS = 4;

/** The options of one segment. `parse` refills the same object. */
export class TcpOptions {
  /** Maximum segment size in bytes, 0 when absent. */
  mss: number;
  /** Window scale shift 0..14, -1 when absent. */
  windowScale: number;
  /** Whether "SACK permitted" was present. */
  sackPermitted: boolean;
  /** Whether the timestamps option was present; `tsval` and `tsecr` are 0 otherwise. */
  hasTimestamps: boolean;
  /** The sender's timestamp, int32. */
  tsval: number;
  /** The timestamp echoed to us, int32. */
  tsecr: number;
  /** Number of SACK blocks in `sackLeft` and `sackRight`, 0..4. */
  sackCount: number;
  /** First sequence number of each SACK block, int32. */
  readonly sackLeft: Int32Array;
  /** Sequence number behind each SACK block, int32. */
  readonly sackRight: Int32Array;

  constructor() {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.tsval = 0;
    this.tsecr = 0;
    this.sackCount = 0;
    this.sackLeft = new Int32Array(MAX_SACK_BLOCKS);
    this.sackRight = new Int32Array(MAX_SACK_BLOCKS);
  }

  /** Forgets everything: the state after reading an empty list. */
  clear(): void {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.tsval = 0;
    this.tsecr = 0;
    this.sackCount = 0;
  }

  /**
   * Reads the list of options at `offset`.
   *
   * A list may be cut short (the tunnel carries 24 bytes of it): an option that runs past the end is
   * left out, of a SACK option the whole blocks are kept, and the list still counts as good.
   *
   * @param length bytes of the list: the TCP header length less 20; values outside 0..40 and past
   * the end of the view are clamped
   * @returns false when an option has an impossible length; what was understood before it stays
   */
  parse(view: DataView, offset: number, length: number): boolean {
    this.clear();
    let end = offset + (length < MAX_OPTIONS_BYTES ? length : MAX_OPTIONS_BYTES);
    if (end > view.byteLength) end = view.byteLength;
    let at = offset;
    while (at < end) {
      const kind = view.getUint8(at);
      if (kind === TcpOptionKind.End) return true;
      if (kind === TcpOptionKind.NoOperation) {
        at++;
        continue;
      }
      if (at + 1 >= end) return true;
      const optionBytes = view.getUint8(at + 1);
      if (optionBytes < 2) return false;
      if (!this.#readOption(view, at, kind, optionBytes, end)) return false;
      at += optionBytes;
    }
    return true;
  }

  #readOption(view: DataView, at: number, kind: number, optionBytes: number, end: number): boolean {
    const whole = at + optionBytes <= end;
    switch (kind) {
      case TcpOptionKind.Timestamps:
        if (optionBytes !== 10) return false;
        if (whole) {
          this.hasTimestamps = true;
          this.tsval = view.getInt32(at + 2);
          this.tsecr = view.getInt32(at + 6);
        }
        return true;
      case TcpOptionKind.Sack:
        return this.#readSack(view, at, optionBytes, end);
      case TcpOptionKind.MaximumSegmentSize:
        if (optionBytes !== 4) return false;
        if (whole) this.mss = view.getUint16(at + 2);
        return true;
      case TcpOptionKind.WindowScale:
        if (optionBytes !== 3) return false;
        if (whole) {
          const shift = view.getUint8(at + 2);
          this.windowScale = shift > MAX_WINDOW_SCALE ? MAX_WINDOW_SCALE : shift;
        }
        return true;
      case TcpOptionKind.SackPermitted:
        if (optionBytes !== 2) return false;
        this.sackPermitted = true;
        return true;
      default:
        return true;
    }
  }

  #readSack(view: DataView, at: number, optionBytes: number, end: number): boolean {
    const blocks = (optionBytes - 2) >>> 3;
    if (blocks < 1 || blocks > MAX_SACK_BLOCKS || optionBytes !== 2 + 8 * blocks) return false;
    let count = 0;
    while (count < blocks && at + 10 + 8 * count <= end) {
      this.sackLeft[count] = view.getInt32(at + 2 + 8 * count);
      this.sackRight[count] = view.getInt32(at + 6 + 8 * count);
      count++;
    }
    this.sackCount = count;
    return true;
  }
}

/** Writes a maximum segment size option (4 bytes). Returns the offset behind it. */
export function writeMssOption(view: DataView, offset: number, mss: number): number {
  view.setUint16(offset, (TcpOptionKind.MaximumSegmentSize << 8) | 4);
  view.setUint16(offset + 2, mss);
  return offset + 4;
}

/** Writes a no-operation and a window scale option (4 bytes). Returns the offset behind them. */
export function writeWindowScaleOption(view: DataView, offset: number, shift: number): number {
  view.setUint16(offset, (TcpOptionKind.NoOperation << 8) | TcpOptionKind.WindowScale);
  view.setUint16(offset + 2, (3 << 8) | shift);
  return offset + 4;
}

/** Writes two no-operations and "SACK permitted" (4 bytes). Returns the offset behind them. */
export function writeSackPermittedOption(view: DataView, offset: number): number {
  view.setUint16(offset, (TcpOptionKind.NoOperation << 8) | TcpOptionKind.NoOperation);
  view.setUint16(offset + 2, (TcpOptionKind.SackPermitted << 8) | 2);
  return offset + 4;
}

/**
 * Writes two no-operations and a timestamps option (12 bytes, RFC 7323 appendix A).
 * Returns the offset behind them.
 */
export function writeTimestampsOption(
  view: DataView,
  offset: number,
  tsval: number,
  tsecr: number,
): number {
  view.setUint16(offset, (TcpOptionKind.NoOperation << 8) | TcpOptionKind.NoOperation);
  view.setUint16(offset + 2, (TcpOptionKind.Timestamps << 8) | 10);
  view.setInt32(offset + 4, tsval);
  view.setInt32(offset + 8, tsecr);
  return offset + 12;
}
