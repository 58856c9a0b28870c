import assert from "node:assert/strict";
import { Packet } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { LatencyMeter, percentile } from "./latency.ts";

const PORT = 8080;

/** A packet of client port `client`, as far as the meter looks at it. */
function packet(from: "client" | "server", sequence: number, payload: number, client = 5000) {
  const made = new Packet();
  const isRequest = from === "client";
  made.sourceAddress = isRequest ? 1 : 2;
  made.destinationAddress = isRequest ? 2 : 1;
  made.sourcePort = isRequest ? client : PORT;
  made.destinationPort = isRequest ? PORT : client;
  made.sequence = sequence | 0;
  made.payloadLength = payload;
  made.flags = TcpFlag.Ack;
  return made;
}

Deno.test("latency counts from a request's last packet to its answer's first", () => {
  const meter = new LatencyMeter(PORT);
  meter.onPacket(packet("client", 0, 1460), 1_000);
  meter.onPacket(packet("client", 1460, 100), 1_100);
  meter.onPacket(packet("server", 0, 0), 1_110); // an acknowledgement is no answer
  meter.onPacket(packet("server", 0, 1460), 1_400);
  meter.onPacket(packet("server", 1460, 1460), 1_500);
  assert.deepEqual(meter.report(), { count: 1, p50Us: 300, p99Us: 300 });
  assert.equal(meter.report().count, 0);
});

Deno.test("packets sent again are not measured, connections are told apart", () => {
  const meter = new LatencyMeter(PORT);
  meter.onPacket(packet("client", -10, 20), 1_000); // across the wrap of sequence numbers
  meter.onPacket(packet("client", 77, 20, 5001), 1_050);
  meter.onPacket(packet("server", 0, 20), 1_100);
  meter.onPacket(packet("client", -10, 20), 1_200);
  meter.onPacket(packet("server", 0, 20), 1_900);
  meter.onPacket(packet("server", 500, 20, 5001), 1_250);
  assert.deepEqual(meter.report(), { count: 2, p50Us: 100, p99Us: 200 });
});

Deno.test("percentiles are values that were measured", () => {
  const sorted = Float64Array.from({ length: 200 }, (_, i) => i + 1);
  assert.equal(percentile(sorted, 0.5), 100);
  assert.equal(percentile(sorted, 0.99), 198);
  assert.ok(Number.isNaN(percentile(new Float64Array(), 0.5)));
});
