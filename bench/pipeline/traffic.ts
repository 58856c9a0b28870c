/**
 * Writes the capture file the pipeline is measured with: what an online server's network card would
 * have seen of its clients. Keep-alive and short connections, interleaved, thousands at a time.
 *
 * The same numbers always make the same file. A flow's number stands in its client's address, so
 * that the target can answer as the online server did without keeping a table.
 */

import { writeIpv4Header } from "../../src/wire/ipv4.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import {
  PCAP_FILE_HEADER_BYTES,
  PCAP_RECORD_HEADER_BYTES,
  writePcapFileHeader,
  writePcapRecordHeader,
} from "../../src/wire/pcap_file.ts";
import { writeTcpChecksumIpv4, writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import {
  writeMssOption,
  writeSackPermittedOption,
  writeTimestampsOption,
  writeWindowScaleOption,
} from "../../src/wire/tcp_options.ts";

export const ONLINE_ADDRESS = 0x0b000001;
export const TARGET_ADDRESS = 0x0b000002;
export const SERVICE_PORT = 80;
const FIRST_CLIENT = 0x0a000000;
const MAX_PACKET_BYTES = 1600;
const CHUNK_BYTES = 1 << 20;

/** What the file holds. */
export interface TrafficOptions {
  /** Number of the first flow; workers share the clients by taking different ones. */
  firstFlow: number;
  /** Connections in the whole file, at most 65536 less `firstFlow`. */
  flows: number;
  /** Connections open at a time. */
  concurrent: number;
}

/** Bytes of every answer on a flow: 200 to 3,000. */
export function answerBytes(flow: number): number {
  return 200 + (Math.imul(flow, 0x9e3779b1) >>> 16) % 2801;
}

/** The number of the flow with this client address. */
export function flowOf(clientAddress: number): number {
  return clientAddress & 0xffff;
}

/** Address of a flow's client, int32. */
export function clientOf(flow: number): number {
  return FIRST_CLIENT | flow;
}

/** A client's port. */
export function portOf(flow: number): number {
  return 20_000 + flow % 20_000;
}

/** Packets of clients, laid out one at a time. */
export class ClientPackets {
  readonly bytes = new Uint8Array(MAX_PACKET_BYTES);
  readonly view = new DataView(this.bytes.buffer);

  constructor() {
    for (let i = 0; i < MAX_PACKET_BYTES; i++) this.bytes[i] = i;
  }

  /** Writes a raw IPv4 packet at the start of `bytes`. Returns its length. */
  write(flow: number, sequence: number, ack: number, flags: number, payloadBytes: number): number {
    const { view } = this;
    let end = 40;
    if (flags & TcpFlag.Syn) {
      end = writeMssOption(view, end, 1460);
      end = writeSackPermittedOption(view, end);
      end = writeTimestampsOption(view, end, 1000, 0);
      end = writeWindowScaleOption(view, end, 7);
    } else end = writeTimestampsOption(view, end, 1000, 1000);
    const total = end + payloadBytes;
    writeIpv4Header(view, 0, total, 1, 64, 6, clientOf(flow), ONLINE_ADDRESS);
    writeTcpHeader(view, 20, portOf(flow), SERVICE_PORT, sequence, ack, end - 20, flags, 65535);
    writeTcpChecksumIpv4(this.bytes, view, 0, 20, total - 20);
    return total;
  }
}

const Step = { Syn: 0, Ack: 1, Request: 2, Read: 3, Fin: 4, LastAck: 5, Over: 6 } as const;

/**
 * Writes the file.
 *
 * @returns how many packets it holds
 */
export function writeTraffic(path: string, options: TrafficOptions): number {
  const { firstFlow, flows, concurrent } = options;
  const random = randomFrom(firstFlow + 1);
  const packets = new ClientPackets();
  const chunk = new Uint8Array(CHUNK_BYTES);
  const chunkView = new DataView(chunk.buffer);
  const step = new Uint8Array(flows);
  const requestsLeft = new Uint8Array(flows);
  const sequence = new Int32Array(flows);
  const ack = new Int32Array(flows);
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  let used = PCAP_FILE_HEADER_BYTES;
  let count = 0;
  writePcapFileHeader(chunkView, 0, LinkType.Raw, 65535);

  const emit = (flow: number, flags: number, payloadBytes: number) => {
    if (used + PCAP_RECORD_HEADER_BYTES + MAX_PACKET_BYTES > CHUNK_BYTES) {
      writeAll(file, chunk.subarray(0, used));
      used = 0;
    }
    const length = packets.write(
      firstFlow + flow,
      sequence[flow],
      flags & TcpFlag.Ack ? ack[flow] : 0,
      flags,
      payloadBytes,
    );
    writePcapRecordHeader(chunkView, used, count * 4, length, length);
    used += PCAP_RECORD_HEADER_BYTES;
    chunk.set(packets.bytes.subarray(0, length), used);
    used += length;
    const isControl = flags & (TcpFlag.Syn | TcpFlag.Fin);
    sequence[flow] += payloadBytes + (isControl ? 1 : 0);
    count++;
  };

  /** Emits a flow's next packet. Returns false after its last. */
  const advance = (flow: number): boolean => {
    switch (step[flow]) {
      case Step.Syn:
        sequence[flow] = random(1 << 30);
        // Two connections in three are short; the others are kept alive.
        requestsLeft[flow] = random(3) < 2 ? 1 + random(2) : 20 + random(60);
        emit(flow, TcpFlag.Syn, 0);
        ack[flow] = random(1 << 30);
        step[flow] = Step.Ack;
        return true;
      case Step.Ack:
        emit(flow, TcpFlag.Ack, 0);
        step[flow] = Step.Request;
        return true;
      case Step.Request:
        if (random(10) === 0) emit(flow, TcpFlag.Ack, 1448);
        emit(flow, TcpFlag.Ack | TcpFlag.Psh, 100 + random(900));
        ack[flow] += answerBytes(firstFlow + flow);
        step[flow] = Step.Read;
        return true;
      case Step.Read:
        emit(flow, TcpFlag.Ack, 0);
        step[flow] = --requestsLeft[flow] > 0 ? Step.Request : Step.Fin;
        return true;
      case Step.Fin:
        emit(flow, TcpFlag.Fin | TcpFlag.Ack, 0);
        ack[flow]++;
        step[flow] = Step.LastAck;
        return true;
      default:
        emit(flow, TcpFlag.Ack, 0);
        step[flow] = Step.Over;
        return false;
    }
  };

  const active: number[] = [];
  let next = 0;
  while (next < flows && active.length < concurrent) active.push(next++);
  while (active.length > 0) {
    const at = random(active.length);
    if (advance(active[at])) continue;
    if (next < flows) active[at] = next++;
    else {
      active[at] = active[active.length - 1];
      active.pop();
    }
  }
  writeAll(file, chunk.subarray(0, used));
  return count;
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

/** Whole numbers from 0 up to a bound, the same for the same seed (xorshift, Marsaglia 2003). */
function randomFrom(seed: number): (bound: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 1) % bound;
  };
}
