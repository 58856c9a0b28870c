/**
 * The target: checks every packet that reaches it as no real kernel would tell, and hands it to the
 * connection it belongs to, to the listener, or answers with RST.
 */

import { onesComplementSum } from "../../src/wire/checksum.ts";
import { formatIpv4, tcpChecksumIpv4 } from "../../src/wire/ipv4.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { seqDiff, seqLess } from "../../src/wire/sequence.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { TcpOptions } from "../../src/wire/tcp_options.ts";
import type { Agenda } from "./agenda.ts";
import { buildPacket } from "./packet_builder.ts";
import type { Random } from "./random.ts";
import {
  type ConnectionHost,
  type ConnectionUser,
  TargetConnection,
  type TargetTcp,
} from "./target_connection.ts";

/** What the listener does with a SYN. */
export type SynPolicy = "accept" | "refuse" | "ignore";

/** The application behind the listener. */
export interface TargetApplication {
  synPolicy(clientAddress: number): SynPolicy;
  accept(connection: TargetConnection, nowMs: number): ConnectionUser;
}

export class TargetHost implements ConnectionHost {
  readonly agenda: Agenda;
  readonly tcp: TargetTcp;
  /** Packets that arrived. */
  received = 0;
  /** Packets sent. */
  sent = 0;
  readonly #application: TargetApplication;
  readonly #address: number;
  readonly #port: number;
  readonly #mtuBytes: number;
  readonly #allowedSources: ReadonlySet<number>;
  readonly #random: Random;
  readonly #transmit: (bytes: Uint8Array) => void;
  readonly #report: (text: string) => void;
  readonly #connections = new Map<string, TargetConnection>();
  /** Four-tuples of which a SYN has been seen. */
  readonly #known = new Set<string>();
  readonly #packet = new Packet();
  readonly #options = new TcpOptions();
  #current = "";

  constructor(
    agenda: Agenda,
    tcp: TargetTcp,
    application: TargetApplication,
    settings: { address: number; port: number; mtuBytes: number; sources: ReadonlySet<number> },
    random: Random,
    transmit: (bytes: Uint8Array) => void,
    report: (text: string) => void,
  ) {
    this.agenda = agenda;
    this.tcp = tcp;
    this.#application = application;
    this.#address = settings.address;
    this.#port = settings.port;
    this.#mtuBytes = settings.mtuBytes;
    this.#allowedSources = settings.sources;
    this.#random = random;
    this.#transmit = transmit;
    this.#report = report;
  }

  /** Connections that are not in TIME-WAIT. */
  get liveConnections(): number {
    let live = 0;
    for (const { state } of this.#connections.values()) if (state !== "time-wait") live++;
    return live;
  }

  /** Takes a packet from the network. */
  receive(bytes: Uint8Array, nowMs: number): void {
    this.received++;
    const packet = this.#packet;
    if (!this.#verify(bytes)) return;
    const key = `${formatIpv4(packet.sourceAddress)}:${packet.sourcePort}`;
    this.#current = key;
    this.#options.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20);
    const connection = this.#connections.get(key);
    const isSyn = (packet.flags & TcpFlag.Syn) !== 0;
    if (isSyn && packet.payloadLength > 0) this.violation("a SYN with payload");
    if (connection !== undefined && isSyn && this.#mayReplace(connection)) {
      connection.replace();
      this.#listen(key);
    } else if (connection !== undefined) connection.receive(packet, this.#options, nowMs);
    else if (isSyn) this.#listen(key);
    else this.#onUnknown(key);
  }

  /** Whether Linux would let a SYN take the place of a connection in TIME-WAIT. */
  #mayReplace(connection: TargetConnection): boolean {
    if (connection.state !== "time-wait") return false;
    if (seqLess(connection.rcvNxt, this.#packet.sequence)) return true;
    return connection.usesTimestamps && this.#options.hasTimestamps &&
      seqDiff(this.#options.tsval, connection.recentTimestamp) > 0;
  }

  #listen(key: string): void {
    this.#known.add(key);
    const packet = this.#packet;
    switch (this.#application.synPolicy(packet.sourceAddress)) {
      case "ignore":
        return;
      case "refuse":
        this.#reset(TcpFlag.Rst | TcpFlag.Ack, 0, (packet.sequence + 1) | 0);
        return;
      case "accept": {
        const initial = this.#random.int32();
        this.#connections.set(key, new TargetConnection(this, packet, this.#options, initial));
      }
    }
  }

  #onUnknown(key: string): void {
    const packet = this.#packet;
    if (packet.flags & TcpFlag.Rst) return; // perhaps its SYN was lost
    if (!this.#known.has(key)) this.violation("a segment of a connection that never began");
    this.#reset(TcpFlag.Rst, packet.acknowledgment, 0);
  }

  #reset(flags: number, sequence: number, acknowledgment: number): void {
    const packet = this.#packet;
    this.send(buildPacket({
      source: packet.destinationAddress,
      sourcePort: packet.destinationPort,
      destination: packet.sourceAddress,
      destinationPort: packet.sourcePort,
      sequence,
      acknowledgment,
      flags,
    }));
  }

  #verify(bytes: Uint8Array): boolean {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const packet = this.#packet;
    if (packet.parseIp(bytes, view, 0, bytes.length) !== ParseResult.Tcp) {
      this.#report("not a TCP packet");
      return false;
    }
    this.#current = `${formatIpv4(packet.sourceAddress)}:${packet.sourcePort}`;
    if (packet.ipTotalLength !== bytes.length) this.violation("a wrong total length");
    if (bytes.length > this.#mtuBytes) this.violation(`${bytes.length} bytes exceed the MTU`);
    if (onesComplementSum(bytes, 0, packet.ipHeaderLength) !== 0xffff) {
      this.violation("a wrong IP checksum");
    }
    const tcpBytes = bytes.length - packet.tcpOffset;
    if (
      tcpChecksumIpv4(bytes, view, 0, packet.tcpOffset, tcpBytes) !==
        view.getUint16(packet.tcpOffset + 16)
    ) this.violation("a wrong TCP checksum");
    if (packet.destinationAddress !== this.#address || packet.destinationPort !== this.#port) {
      this.violation("a packet for somebody else");
      return false;
    }
    if (!this.#allowedSources.has(packet.sourceAddress)) {
      this.violation("a source address that is nobody's");
    }
    const headers = packet.tcpHeaderLength + packet.ipHeaderLength - 40;
    if (packet.payloadLength + headers > this.tcp.mss) this.violation("a segment above the MSS");
    return true;
  }

  // ---------------------------------------------------------------------------- ConnectionHost

  send(bytes: Uint8Array): void {
    this.sent++;
    this.#transmit(bytes);
  }

  violation(text: string): void {
    this.#report(`${this.#current} sent ${text}`);
  }

  established(connection: TargetConnection, nowMs: number): ConnectionUser {
    return this.#application.accept(connection, nowMs);
  }

  closed(connection: TargetConnection): void {
    const key = `${formatIpv4(connection.remoteAddress)}:${connection.remotePort}`;
    if (this.#connections.get(key) === connection) this.#connections.delete(key);
  }

  timestamp(nowMs: number): number {
    return (nowMs + 1_000_000) | 0;
  }
}
