/**
 * A service that echoes and says how many bytes it got once the client has finished, and many clients
 * that check every byte.
 *
 *     deno run -A test/trafficdump/echo.ts serve PORT
 *     deno run -A test/trafficdump/echo.ts ask HOST:PORT CONNECTIONS BYTES
 */

async function serve(port: number): Promise<void> {
  const listener = Deno.listen({ hostname: "0.0.0.0", port, tcpBacklog: 4096 });
  console.log("ready");
  for await (const conn of listener) {
    echo(conn).catch((error) => console.log(`failed: ${error}`)).finally(() => conn.close());
  }
}

async function echo(conn: Deno.Conn): Promise<void> {
  let buffer = new Uint8Array(2048);
  let total = 0;
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    total += count;
    await writeAll(conn, buffer.subarray(0, count));
    if (count === buffer.length && count < 65_536) buffer = new Uint8Array(count * 4);
  }
  // Only with a half-close on both connections of a proxy does this arrive.
  await writeAll(conn, new TextEncoder().encode(`end ${total}`));
  await conn.closeWrite();
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** All connections are open at the same time before any sends. */
async function ask(address: string, connections: number, bytes: number): Promise<void> {
  const [hostname, port] = address.split(":");
  const conns: Deno.TcpConn[] = [];
  const data = crypto.getRandomValues(new Uint8Array(Math.min(65_536, bytes + 4096)));
  while (conns.length < connections) {
    const batch = Math.min(200, connections - conns.length);
    conns.push(
      ...await Promise.all(
        Array.from({ length: batch }, () => Deno.connect({ hostname, port: Number(port) })),
      ),
    );
  }
  console.log(`open ${conns.length}`);
  let total = 0;
  const results = await Promise.all(conns.map(async (conn, id) => {
    const length = 1 + (id * 7919) % bytes;
    const sent = new Uint8Array(length);
    for (let at = 0; at < length; at++) sent[at] = data[(at + id) % data.length];
    total += length;
    const writing = writeAll(conn, sent).then(() => conn.closeWrite());
    const expected = new TextEncoder().encode(`end ${length}`);
    const got = new Uint8Array(length + expected.length + 1);
    let fill = 0;
    for (;;) {
      const count = await conn.read(got.subarray(fill));
      if (count === null) break;
      fill += count;
      if (fill === got.length) break;
    }
    await writing;
    conn.close();
    return fill === length + expected.length && equal(got.subarray(0, length), sent) &&
      equal(got.subarray(length, fill), expected);
  }));
  const right = results.filter((isRight) => isRight).length;
  console.log(`exact ${right} of ${connections}, ${total} bytes`);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

if (import.meta.main) {
  const [role, first, ...rest] = Deno.args;
  if (role === "serve") await serve(Number(first));
  else await ask(first, Number(rest[0]), Number(rest[1]));
}
