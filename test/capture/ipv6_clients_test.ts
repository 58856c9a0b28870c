import assert from "node:assert/strict";
import { Ipv6Clients } from "../../src/capture/ipv6_clients.ts";
import { connectionsOverIpv6 } from "../../src/capture/open_connections.ts";
import { ipv6OpeningFilter } from "../../src/capture/ring_filter.ts";

const ignore = Deno.uid() !== 0;

/** Whether this host has IPv6 at all; containers may not. */
function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

Deno.test({
  name: "of a dual-stack service the clients over IPv6 are counted, open ones and new ones",
  ignore: ignore || !hasIpv6(),
  async fn() {
    using service = Deno.listen({ hostname: "::", port: 0 });
    using other = Deno.listen({ hostname: "::", port: 0 });
    const { port } = service.addr;
    const ports = new Set([port, 1]);
    const conns: Deno.TcpConn[] = [];
    const connect = async (hostname: string, count: number, listener = service) => {
      for (let i = 0; i < count; i++) {
        const conn = await Deno.connect({ hostname, port: listener.addr.port });
        conns.push(conn, await listener.accept());
        await conn.write(new Uint8Array(100));
      }
    };
    await connect("::1", 3);
    await connect("127.0.0.1", 2);
    await connect("::1", 1, other);
    // Both ends of a connection over loopback are this host's: the service's has its port.
    assert.deepEqual([...connectionsOverIpv6(ports)], [[port, 3]]);
    const clients = new Ipv6Clients(ports);
    assert.equal(clients.count, 0);
    await connect("127.0.0.1", 5);
    await connect("::1", 2, other);
    assert.equal(clients.count, 0);
    await connect("::1", 200); // far more than the socket holds
    assert.equal(clients.count, 200);
    clients.close();
    await connect("::1", 1);
    assert.equal(clients.count, 200);
    clients.close();
    for (const conn of conns) conn.close();
  },
});

Deno.test("the filter's jumps stay inside it, with many ports, too", () => {
  const program = ipv6OpeningFilter(Array.from({ length: 2000 }, (_, i) => i + 1));
  assert.ok(program.length <= 4096);
  program.forEach(([code, jt, jf], index) => {
    const isJump = (code & 0x07) === 0x05;
    if (isJump) assert.ok(index + 1 + Math.max(jt, jf) < program.length, `instruction ${index}`);
  });
  assert.deepEqual(program.at(-1), [0x06, 0, 0, 0]);
});
