/**
 * The far side of the pipeline, as cheap as it can be: a sink that keeps a turn's packets and then
 * drops them, and a target that answers them. The answers come back as intercept would send them,
 * as records in the tunnel's frames.
 */

import type { PacketSink } from "../../src/session/sink.ts";
import { RECORD_BYTES, ResponseEncoder } from "../../src/tunnel/codec.ts";
import { writeIpv4Header } from "../../src/wire/ipv4.ts";
import { Packet } from "../../src/wire/packet.ts";
import { writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import {
  writeMssOption,
  writeSackPermittedOption,
  writeTimestampsOption,
  writeWindowScaleOption,
} from "../../src/wire/tcp_options.ts";
import { answerBytes, flowOf, SERVICE_PORT, TARGET_ADDRESS } from "./traffic.ts";

const MSS = 1448;
const FLOWS = 1 << 16;

/** Takes whole packets until it is emptied, and sends them nowhere. */
export class NullSink implements PacketSink {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where the packets taken end; each follows right behind the one before. */
  end = 0;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
    this.view = new DataView(this.bytes.buffer);
  }

  reserve(maxBytes: number): number {
    return this.end + maxBytes <= this.bytes.length ? this.end : -1;
  }

  commit(lengthBytes: number): void {
    this.end += lengthBytes;
  }

  clear(): void {
    this.end = 0;
  }
}

/** Answers every request of every flow with as many bytes as the online server did. */
export class Target {
  /** Its answers, as the bytes of the tunnel. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly encoder: ResponseEncoder;
  /** Records written. */
  answered = 0;
  /** Answers that found no room; must stay 0. */
  lost = 0;
  readonly #sndNxt = new Int32Array(FLOWS);
  readonly #rcvNxt = new Int32Array(FLOWS);
  readonly #headers = new Uint8Array(80);
  readonly #headersView = new DataView(this.#headers.buffer);
  readonly #packet = new Packet();

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
    this.view = new DataView(this.bytes.buffer);
    this.encoder = new ResponseEncoder(
      this.bytes,
      this.view,
      0,
      sizeBytes,
      "combined",
      RECORD_BYTES,
    );
  }

  /** Takes the packets a sink holds. Returns how many there were. */
  receive(sink: NullSink): number {
    const { view } = sink;
    let packets = 0;
    for (let at = 0; at < sink.end; at += view.getUint16(at + 2)) {
      this.#take(view, at);
      packets++;
    }
    this.encoder.endFrame();
    return packets;
  }

  #take(view: DataView, at: number): void {
    const client = view.getInt32(at + 12);
    const port = view.getUint16(at + 20);
    const flow = flowOf(client);
    const sequence = view.getInt32(at + 24);
    const flags = view.getUint8(at + 33);
    const length = view.getUint16(at + 2) - 20 - ((view.getUint8(at + 32) >>> 4) << 2);
    if (flags & TcpFlag.Syn) {
      this.#rcvNxt[flow] = (sequence + 1) | 0;
      this.#sndNxt[flow] = Math.imul(sequence, 0x85ebca6b);
      this.#send(client, port, flow, TcpFlag.Syn | TcpFlag.Ack, 0, view.getInt32(at + 52));
      return;
    }
    if (length === 0 && (flags & TcpFlag.Fin) === 0) return;
    if (sequence !== this.#rcvNxt[flow]) {
      this.#send(client, port, flow, TcpFlag.Ack, 0, view.getInt32(at + 44));
      return;
    }
    const echo = view.getInt32(at + 44);
    this.#rcvNxt[flow] = (sequence + length) | 0;
    if (flags & TcpFlag.Fin) {
      this.#rcvNxt[flow] = (sequence + length + 1) | 0;
      this.#send(client, port, flow, TcpFlag.Fin | TcpFlag.Ack, 0, echo);
    } else if (flags & TcpFlag.Psh) {
      for (let left = answerBytes(flow); left > 0;) {
        const bytes = Math.min(MSS, left);
        left -= bytes;
        const push = left === 0 ? TcpFlag.Psh : 0;
        this.#send(client, port, flow, TcpFlag.Ack | push, bytes, echo);
      }
    }
  }

  /** Writes the record of one packet; of its payload there is only the length. */
  #send(
    client: number,
    port: number,
    flow: number,
    flags: number,
    payloadBytes: number,
    echo: number,
  ): void {
    const view = this.#headersView;
    let end = 40;
    if (flags & TcpFlag.Syn) {
      end = writeMssOption(view, end, 1460);
      end = writeSackPermittedOption(view, end);
      end = writeTimestampsOption(view, end, 1, echo);
      end = writeWindowScaleOption(view, end, 7);
    } else end = writeTimestampsOption(view, end, 1, echo);
    writeIpv4Header(view, 0, end + payloadBytes, 1, 64, 6, TARGET_ADDRESS, client);
    const sequence = this.#sndNxt[flow];
    const acknowledgment = this.#rcvNxt[flow];
    writeTcpHeader(
      view,
      20,
      SERVICE_PORT,
      port,
      sequence,
      acknowledgment,
      end - 20,
      flags,
      65535,
    );
    this.#packet.parseIp(this.#headers, view, 0, end);
    if (this.encoder.append(this.#packet)) this.answered++;
    else this.lost++;
    const isControl = flags & (TcpFlag.Syn | TcpFlag.Fin);
    this.#sndNxt[flow] = (sequence + payloadBytes + (isControl ? 1 : 0)) | 0;
  }
}
