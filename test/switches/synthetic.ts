/** A capture file of short sessions from many clients: a SYN and a FIN each. */

import { IPV4_HEADER_BYTES, parseIpv4, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { addresses } from "../lab/hosts.ts";
import { APPLICATION_PORT } from "../lab/programs.ts";

const FIRST_CLIENT = parseIpv4("203.0.113.1")!;
const PACKET_BYTES = 40;

/** How the sessions are. */
export interface Synthetic {
  clients: number;
  /** Sessions of each client. */
  sessions?: number;
  /** Between the beginnings of two sessions. */
  gapMs?: number;
}

/** Writes the file. */
export function writeSynthetic(path: string, options: Synthetic): void {
  const { clients, sessions = 1, gapMs = 0 } = options;
  const writer = new PcapWriter(LinkType.Raw);
  for (let i = 0; i < clients * sessions; i++) {
    const client = (FIRST_CLIENT + i % clients) | 0;
    const port = 20_000 + i;
    const timeUs = 1_000_000 + i * gapMs * 1000;
    writer.add(timeUs, packet(client, port, 1000, TcpFlag.Syn), PACKET_BYTES);
    writer.add(timeUs + 10, packet(client, port, 1001, TcpFlag.Fin | TcpFlag.Ack), PACKET_BYTES);
  }
  Deno.writeFileSync(path, writer.bytes());
}

function packet(client: number, port: number, sequence: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(PACKET_BYTES);
  const view = new DataView(bytes.buffer);
  writeIpv4Header(view, 0, PACKET_BYTES, 1, 64, 6, client, parseIpv4(addresses.online)!);
  writeTcpHeader(view, IPV4_HEADER_BYTES, port, APPLICATION_PORT, sequence, 1, 20, flags, 8192);
  return bytes;
}
