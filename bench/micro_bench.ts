/**
 * What the steps of a packet's way cost, one by one: parsing, checksum, copying, look-up, a whole
 * turn of a session, the tunnel's records and frames, timers. Run with `deno task bench`.
 */

import { TimerWheel } from "../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG } from "../src/session/config.ts";
import { FlowTable, flowWord } from "../src/session/flow_table.ts";
import { SessionTable } from "../src/session/session_table.ts";
import type { PacketSink } from "../src/session/sink.ts";
import { TransferMap } from "../src/session/transfer.ts";
import {
  RECORD_BYTES,
  ResponseDecoder,
  ResponseEncoder,
  writeRecord,
} from "../src/tunnel/codec.ts";
import { foldChecksum, onesComplementSumView } from "../src/wire/checksum.ts";
import { copyBytes } from "../src/wire/copy.ts";
import { IPV4_HEADER_BYTES, writeIpv4Header } from "../src/wire/ipv4.ts";
import { Packet } from "../src/wire/packet.ts";
import { writeTcpHeader } from "../src/wire/tcp.ts";
import { TcpFlag } from "../src/wire/tcp_flags.ts";

const CLIENT = 0x0a000001;
const ONLINE = 0x0a000002;
const TARGET = 0x0a000003;
const HEADERS_BYTES = 40;

/** Keeps the packet written last and drops it. */
class NullSink implements PacketSink {
  readonly bytes = new Uint8Array(2048);
  readonly view = new DataView(this.bytes.buffer);
  reserve(): number {
    return 0;
  }
  commit(): void {}
}

/** A packet that can be changed and parsed again without allocation. */
class Template {
  readonly bytes = new Uint8Array(2048);
  readonly view = new DataView(this.bytes.buffer);
  readonly packet = new Packet();

  constructor(source: number, sourcePort: number, destination: number, destinationPort: number) {
    writeIpv4Header(this.view, 0, HEADERS_BYTES, 1, 64, 6, source, destination);
    writeTcpHeader(
      this.view,
      IPV4_HEADER_BYTES,
      sourcePort,
      destinationPort,
      0,
      0,
      20,
      TcpFlag.Ack,
      65535,
    );
  }

  fill(sequence: number, acknowledgment: number, flags: number, payloadBytes: number): Packet {
    const { view } = this;
    view.setUint16(2, HEADERS_BYTES + payloadBytes);
    view.setInt32(IPV4_HEADER_BYTES + 4, sequence);
    view.setInt32(IPV4_HEADER_BYTES + 8, acknowledgment);
    view.setUint8(IPV4_HEADER_BYTES + 13, flags);
    this.packet.parseIp(this.bytes, view, 0, HEADERS_BYTES + payloadBytes);
    return this.packet;
  }
}

const request = new Template(CLIENT, 40000, ONLINE, 80);
const response = new Template(TARGET, 80, CLIENT, 40000);

Deno.bench("wire: parse a packet's headers", { group: "wire" }, () => {
  request.packet.parseIp(request.bytes, request.view, 0, 140);
});

for (const sizeBytes of [60, 1460]) {
  const view = new DataView(crypto.getRandomValues(new Uint8Array(sizeBytes)).buffer);
  const target = new DataView(new ArrayBuffer(sizeBytes + 5));
  Deno.bench(`wire: checksum of ${sizeBytes} bytes`, { group: "wire" }, () => {
    foldChecksum(onesComplementSumView(view, 0, sizeBytes));
  });
  Deno.bench(`wire: copy of ${sizeBytes} bytes`, { group: "wire" }, () => {
    copyBytes(view, 0, target, 5, sizeBytes);
  });
}

{
  const flows = new FlowTable();
  for (let i = 0; i < 100_000; i++) flows.set(CLIENT + (i >> 10), flowWord(i & 1023, 0), i);
  let i = 0;
  Deno.bench("session: flow look-up among 100,000", { group: "session" }, () => {
    i = (i + 7919) % 100_000;
    flows.get(CLIENT + (i >> 10), flowWord(i & 1023, 0));
  });
}

{
  const sink = new NullSink();
  const wheel = new TimerWheel(0);
  const table = new SessionTable(
    DEFAULT_SESSION_CONFIG,
    new TransferMap([{
      onlineAddress: undefined,
      onlinePort: 80,
      targetAddress: TARGET,
      targetPort: 80,
    }]),
    sink,
    wheel,
    { announce() {}, forget() {} },
  );
  const IRS = 5000;
  table.onCaptured(request.fill(0, 0, TcpFlag.Syn, 0), 1);
  table.flush(1);
  const iss = sink.view.getInt32(IPV4_HEADER_BYTES + 4);
  table.onResponse(response.fill(IRS, iss + 1, TcpFlag.Syn | TcpFlag.Ack, 0), 1);
  table.flush(1);
  let sent = 1;
  let got = 1;
  let nowMs = 1;
  Deno.bench("session: one turn, request and answer of 100 bytes", { group: "session" }, () => {
    nowMs++;
    table.onCaptured(request.fill(sent, got, TcpFlag.Ack | TcpFlag.Psh, 100), nowMs);
    table.flush(nowMs);
    sent = (sent + 100) | 0;
    table.onResponse(
      response.fill((IRS + got) | 0, (iss + sent) | 0, TcpFlag.Ack | TcpFlag.Psh, 100),
      nowMs,
    );
    table.flush(nowMs);
    got = (got + 100) | 0;
  });
}

{
  const record = new Uint8Array(RECORD_BYTES);
  const view = new DataView(record.buffer);
  Deno.bench("tunnel: write a record", { group: "tunnel" }, () => {
    writeRecord(response.packet, record, view, 0, RECORD_BYTES);
  });

  const stream = new Uint8Array(2048);
  const streamView = new DataView(stream.buffer);
  const encoder = new ResponseEncoder(
    stream,
    streamView,
    0,
    stream.length,
    "combined",
    RECORD_BYTES,
  );
  let records = 0;
  const decoder = new ResponseDecoder("combined", RECORD_BYTES, () => records++);
  Deno.bench("tunnel: a frame of 16 records, there and back", { group: "tunnel" }, () => {
    for (let i = 0; i < 16; i++) encoder.append(response.packet);
    decoder.feed(stream, streamView, encoder.start, encoder.pendingBytes);
    encoder.clear();
  });
}

{
  const wheel = new TimerWheel(0, 100_000);
  let nowMs = 0;
  let id = 0;
  Deno.bench("loop: reschedule a timer among 100,000", { group: "loop" }, () => {
    id = (id + 7919) % 100_000;
    wheel.schedule(id, nowMs + 200 + (id & 1023));
  });
  Deno.bench("loop: advance the wheel by 1 ms", { group: "loop" }, () => {
    wheel.advance(++nowMs, () => {});
  });
}
