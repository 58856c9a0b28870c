/**
 * Intercept and the tunnel, as the session layer sees them: headers of the target's packets, only of
 * connections whose route was announced, in batches; and nothing while the tunnel is down.
 */

import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import type { RouteAnnouncer } from "../../src/session/session_table.ts";
import { normalizeRecord, RECORD_BYTES, writeRecord } from "../../src/tunnel/record.ts";
import type { Agenda } from "./agenda.ts";

const HOLD_MS = 3000;

export class Intercept implements RouteAnnouncer {
  /** Routes announced and not forgotten, as the session layer believes. */
  readonly announced = new Set<string>();
  /** Records written for the session layer. */
  records = 0;
  /** Packets of the target without a route. */
  unrouted = 0;
  isUp = true;
  readonly #agenda: Agenda;
  readonly #delayMs: number;
  readonly #deliver: (packet: Packet) => void;
  #routes = new Set<string>();
  #held: { key: string; bytes: Uint8Array; atMs: number }[] = [];
  readonly #packet = new Packet();
  readonly #record = new Packet();

  /** @param delayMs how long the tunnel takes, each way */
  constructor(
    agenda: Agenda,
    delayMs: number,
    deliver: (packet: Packet) => void,
  ) {
    this.#agenda = agenda;
    this.#delayMs = delayMs;
    this.#deliver = deliver;
  }

  // ---------------------------------------------------------------------------- RouteAnnouncer

  announce(address: number, port: number, targetAddress: number, targetPort: number): void {
    const key = `${address}:${port}:${targetAddress}:${targetPort}`;
    this.announced.add(key);
    if (!this.isUp) return;
    this.#agenda.after(this.#delayMs, () => {
      if (!this.isUp) return;
      this.#routes.add(key);
      const held = this.#held.filter((one) => one.key === key);
      this.#held = this.#held.filter((one) => one.key !== key);
      for (const { bytes, atMs } of held) {
        if (this.#agenda.nowMs - atMs <= HOLD_MS) this.#forward(bytes);
      }
    });
  }

  forget(address: number, port: number, targetAddress: number, targetPort: number): void {
    const key = `${address}:${port}:${targetAddress}:${targetPort}`;
    this.announced.delete(key);
    if (!this.isUp) return;
    this.#agenda.after(this.#delayMs, () => this.#routes.delete(key));
  }

  // ------------------------------------------------------------------------------------ program

  /** A packet of the target reaches the assistant server. */
  receive(bytes: Uint8Array): void {
    if (!this.isUp) return;
    const packet = this.#packet;
    if (packet.parseIp(bytes, viewOf(bytes), 0, bytes.length) !== ParseResult.Tcp) {
      throw new Error("the target sent something that is not TCP");
    }
    const key = `${packet.destinationAddress}:${packet.destinationPort}:` +
      `${packet.sourceAddress}:${packet.sourcePort}`;
    if (this.#routes.has(key)) {
      this.#forward(bytes);
      return;
    }
    this.unrouted++;
    const isSynAck = (packet.flags & TcpFlag.Syn) !== 0;
    if (isSynAck || packet.flags & TcpFlag.Rst) {
      this.#held.push({ key, bytes, atMs: this.#agenda.nowMs });
      if (this.#held.length > 100) this.#held.shift();
    }
  }

  /** Intercept dies: it forgets everything and what is under way is lost. */
  goDown(): void {
    this.isUp = false;
    this.#routes = new Set();
    this.#held = [];
  }

  /** Intercept loses its routes and says nothing. */
  loseRoutes(): void {
    this.#routes.clear();
  }

  /** Intercept is back; it knows no route until they are announced again. */
  comeUp(): void {
    this.isUp = true;
  }

  #forward(bytes: Uint8Array): void {
    const packet = this.#packet;
    packet.parseIp(bytes, viewOf(bytes), 0, bytes.length);
    const record = new Uint8Array(RECORD_BYTES);
    const view = viewOf(record);
    writeRecord(packet, record, view, 0, RECORD_BYTES);
    this.#agenda.after(this.#delayMs, () => {
      if (!this.isUp) return;
      const length = normalizeRecord(record, view, 0, RECORD_BYTES);
      if (this.#record.parseIp(record, view, 0, length) !== ParseResult.Tcp) {
        throw new Error("a record is not a TCP packet");
      }
      this.records++;
      this.#deliver(this.#record);
    });
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
