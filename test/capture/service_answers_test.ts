import assert from "node:assert/strict";
import { ConnectionLookup } from "../../src/capture/connection_lookup.ts";
import { ServiceAnswers } from "../../src/capture/service_answers.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { isInPartition, WHOLE } from "../../src/wire/partition.ts";
import { formatTcpFlags } from "../../src/wire/tcp_flags.ts";
import { LOOPBACK } from "./packets.ts";

const ignore = Deno.uid() !== 0;

/** Connects to a service of this host; returns the client's ports. */
async function connect(port: number, count: number): Promise<Deno.TcpConn[]> {
  const conns: Deno.TcpConn[] = [];
  for (let i = 0; i < count; i++) conns.push(await Deno.connect({ hostname: "127.0.0.1", port }));
  return conns;
}

function portOf(conn: Deno.TcpConn): number {
  return conn.localAddr.port;
}

Deno.test({
  name: "of a service's packets its SYN-ACKs are seen, each worker's clients' only",
  ignore,
  async fn() {
    using service = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = service.addr;
    const seen: number[][] = [[], []];
    const packet = new Packet();
    const watches = [0, 1].map((index) =>
      new ServiceAnswers([{ port }], { index, count: 2 }, (bytes, view, offset, length) => {
        assert.equal(packet.parseIp(bytes, view, offset, length), ParseResult.Tcp);
        assert.deepEqual([packet.sourcePort, formatTcpFlags(packet.flags)], [port, "SA"]);
        seen[index].push(packet.destinationPort);
      })
    );
    const conns = await connect(port, 20);
    const more = await connect(other.addr.port, 1);
    for (const conn of conns) {
      const accepted = await service.accept();
      await conn.write(new Uint8Array(100));
      await accepted.write(new Uint8Array(100));
      accepted.close();
    }
    for (const watch of watches) watch.look(() => false);
    for (const [index, watch] of watches.entries()) {
      const expected = conns.map(portOf).filter((one) => isInPartition(one, { index, count: 2 }));
      assert.deepEqual(seen[index], expected);
      assert.equal(watch.dropped, 0);
      watch.close();
      watch.look(() => false);
    }
    for (const conn of [...conns, ...more]) conn.close();
  },
});

Deno.test({
  name: "without room answers are counted as dropped",
  ignore,
  async fn() {
    using service = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = service.addr;
    let seen = 0;
    const watch = new ServiceAnswers([{ port }], WHOLE, () => seen++, 1 << 20);
    // More than the ring holds, of which none is read meanwhile.
    const count = 4_200;
    for (let i = 0; i < count; i++) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      (await service.accept()).close();
      conn.close();
    }
    watch.look(() => false);
    assert.equal(seen + watch.dropped, count);
    assert.ok(seen >= 4_000 && watch.dropped > 0);
    watch.close();
  },
});

Deno.test("the kernel knows a connection as long as it lasts, and no other", async () => {
  const lookup = new ConnectionLookup();
  using service = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = service.addr;
  const [conn] = await connect(port, 1);
  const accepted = await service.accept();
  const has = (clientPort: number, servicePort: number, nowMs = 0) =>
    lookup.has(LOOPBACK, clientPort, LOOPBACK, servicePort, nowMs);
  assert.equal(has(portOf(conn), port), true);
  assert.equal(has(portOf(conn) ^ 1, port), false, "the service listens, and has no such client");
  assert.equal(has(port, portOf(conn) ^ 1), false, "nobody is there");
  // What strangers can make it ask is limited.
  for (let i = 0; i < 3000; i++) has(1, port);
  assert.equal(has(portOf(conn), port), false);
  assert.equal(has(portOf(conn), port, 1000), true);
  conn.close();
  accepted.close();
  lookup.close();
});
