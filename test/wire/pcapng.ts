/** Writes pcapng files; for tests. Pure. */

/** A packet to write. */
export interface PcapngPacket {
  /** Number of the interface, in the order they were given. */
  interface: number;
  timestampUs: number;
  bytes: Uint8Array;
}

/** An interface: its link type, and the unit of its timestamps as the option if_tsresol says it. */
export interface PcapngInterface {
  linkType: number;
  resolution: number;
}

/** One section with the given interfaces, byte order and packets (Enhanced Packet Blocks). */
export function pcapngFile(
  interfaces: readonly PcapngInterface[],
  packets: readonly PcapngPacket[],
  littleEndian = true,
): Uint8Array<ArrayBuffer> {
  const blocks: Uint8Array[] = [];
  const block = (
    type: number,
    bodyBytes: number,
    write: (view: DataView, bytes: Uint8Array) => void,
  ) => {
    const padded = (bodyBytes + 3) & ~3;
    const bytes = new Uint8Array(12 + padded);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, type, littleEndian);
    view.setUint32(4, bytes.length, littleEndian);
    view.setUint32(8 + padded, bytes.length, littleEndian);
    write(new DataView(bytes.buffer, 8, padded), bytes.subarray(8));
    blocks.push(bytes);
  };
  block(0x0a0d0d0a, 16, (view) => {
    view.setUint32(0, 0x1a2b3c4d, littleEndian);
    view.setUint16(4, 1, littleEndian);
    view.setBigInt64(8, -1n, littleEndian);
  });
  for (const { linkType, resolution } of interfaces) {
    block(1, 20, (view, bytes) => {
      view.setUint16(0, linkType, littleEndian);
      // if_tsresol, one byte; then the end of the options.
      view.setUint16(8, 9, littleEndian);
      view.setUint16(10, 1, littleEndian);
      bytes[12] = resolution;
    });
  }
  for (const packet of packets) {
    const units = inUnits(packet.timestampUs, interfaces[packet.interface].resolution);
    block(6, 20 + packet.bytes.length, (view, bytes) => {
      view.setUint32(0, packet.interface, littleEndian);
      view.setUint32(4, Number(units >> 32n), littleEndian);
      view.setUint32(8, Number(units & 0xffff_ffffn), littleEndian);
      view.setUint32(12, packet.bytes.length, littleEndian);
      view.setUint32(16, packet.bytes.length, littleEndian);
      bytes.set(packet.bytes, 20);
    });
  }
  const file = new Uint8Array(blocks.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const bytes of blocks) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

/** Rounded up, so that a reader that rounds down comes to the same µs. */
function inUnits(us: number, resolution: number): bigint {
  const perSecond = resolution & 0x80 ? 2n ** BigInt(resolution & 0x7f) : 10n ** BigInt(resolution);
  return (BigInt(us) * perSecond + 999_999n) / 1_000_000n;
}
