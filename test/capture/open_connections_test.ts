import assert from "node:assert/strict";
import { restingConnections } from "../../src/capture/open_connections.ts";
import { formatIpv4 } from "../../src/wire/ipv4.ts";

const SILENCE_MS = 350;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A client and the service's end of its connection. */
async function connect(
  listener: Deno.TcpListener,
): Promise<{ client: Deno.TcpConn; service: Deno.TcpConn }> {
  const accepted = listener.accept();
  const client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  return { client, service: await accepted };
}

for (const hostname of ["127.0.0.1", "::"]) {
  Deno.test(`connections of a service on ${hostname} rest when the last word was the service's`, async () => {
    using listener = Deno.listen({ hostname, port: 0 });
    const fresh = await connect(listener);
    const asked = await connect(listener);
    const answered = await connect(listener);
    const unread = await connect(listener);
    const buffer = new Uint8Array(100);
    for (const { client, service } of [asked, answered]) {
      await client.write(new Uint8Array(10));
      await service.read(buffer);
    }
    await wait(20);
    await answered.service.write(new Uint8Array(10));
    await answered.client.read(buffer);
    await unread.client.write(new Uint8Array(10));
    await wait(SILENCE_MS);

    const { port } = listener.addr;
    const resting = restingConnections(new Set([port]));
    const ports = resting.map(({ clientPort }) => clientPort).sort();
    const portOf = ({ client }: { client: Deno.TcpConn }) => client.localAddr.port;
    assert.deepEqual(ports, [portOf(fresh), portOf(answered)].sort());
    for (const { clientAddress, serviceAddress, servicePort } of resting) {
      assert.equal(formatIpv4(clientAddress), "127.0.0.1");
      assert.equal(formatIpv4(serviceAddress), "127.0.0.1");
      assert.equal(servicePort, port);
    }

    // What was active a moment ago is not judged.
    await answered.client.write(new Uint8Array(10));
    await answered.service.read(buffer);
    await answered.service.write(new Uint8Array(10));
    const now = restingConnections(new Set([port])).map(({ clientPort }) => clientPort);
    assert.deepEqual(now, [portOf(fresh)]);

    for (const { client, service } of [fresh, asked, answered, unread]) {
      client.close();
      service.close();
    }
  });
}

Deno.test("other ports are left out", () => {
  assert.deepEqual(restingConnections(new Set([1])), []);
});
