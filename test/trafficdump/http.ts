/**
 * An HTTP service that writes down what it read, and its clients.
 *
 *     deno run -A test/trafficdump/http.ts serve PORT REPORT
 *     deno run -A test/trafficdump/http.ts knock HOST:PORT
 *     deno run -A test/trafficdump/http.ts ask HOST:PORT CONNECTIONS REQUESTS LARGEST_BODY
 *
 * The report has a JSON line per connection when it ends: what a client sent, as bytes and hash.
 */

import { createHash, type Hash } from "node:crypto";

/** One connection, as the service saw it. */
export interface HttpRecord {
  peer: string;
  bytes: number;
  hash: string;
  requests: number;
}

const decoder = new TextDecoder("latin1");

async function serve(port: number, path: string): Promise<void> {
  const report = Deno.openSync(path, { write: true, create: true, append: true });
  const open = new Set<() => void>();
  Deno.addSignalListener("SIGTERM", () => {
    for (const end of open) end();
    Deno.exit(0);
  });
  const listener = Deno.listen({ hostname: "0.0.0.0", port });
  console.log("ready");
  for await (const conn of listener) {
    serveOne(conn, report, open).catch((error) => console.error(error));
  }
}

async function serveOne(
  conn: Deno.TcpConn,
  report: Deno.FsFile,
  open: Set<() => void>,
): Promise<void> {
  const { hostname, port } = conn.remoteAddr;
  const hash: Hash = createHash("sha256");
  const record = { peer: `${hostname}:${port}`, bytes: 0, hash: "", requests: 0 };
  const end = () => {
    if (!open.delete(end)) return;
    record.hash = hash.digest("hex");
    report.writeSync(new TextEncoder().encode(JSON.stringify(record) + "\n"));
  };
  open.add(end);
  const buffer = new Uint8Array(65_536);
  const reply = new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  let head = "";
  let bodyLeft = 0;
  try {
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) break;
      hash.update(buffer.subarray(0, count));
      record.bytes += count;
      let at = 0;
      while (at < count || (bodyLeft === 0 && head.endsWith("\r\n\r\n"))) {
        if (!head.endsWith("\r\n\r\n")) {
          head += decoder.decode(buffer.subarray(at, at + 1));
          at++;
          if (!head.endsWith("\r\n\r\n")) continue;
          bodyLeft = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
        }
        const take = Math.min(bodyLeft, count - at);
        at += take;
        bodyLeft -= take;
        if (bodyLeft > 0) break;
        head = "";
        record.requests++;
        await conn.write(reply);
      }
    }
  } finally {
    end();
    conn.close();
  }
}

/** Connections with one request each, one after the other, until it is ended. */
async function knock(address: string): Promise<void> {
  const [hostname, port] = address.split(":");
  for (let number = 0;; number++) {
    const conn = await Deno.connect({ hostname, port: Number(port) });
    await conn.write(new TextEncoder().encode(`GET /${number} HTTP/1.1\r\nHost: lab\r\n\r\n`));
    await conn.read(new Uint8Array(4096));
    conn.close();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function ask(address: string, connections: number, requests: number, largest: number) {
  const [hostname, port] = address.split(":");
  const one = async (id: number) => {
    const conn = await Deno.connect({ hostname, port: Number(port) });
    const buffer = new Uint8Array(4096);
    for (let number = 0; number < requests; number++) {
      const body = crypto.getRandomValues(
        new Uint8Array(1 + Math.floor(Math.random() ** 2 * (Math.min(largest, 65_536) - 1))),
      );
      const head = `POST /${id}/${number} HTTP/1.1\r\nHost: lab\r\n` +
        `Content-Length: ${body.length}\r\n\r\n`;
      const bytes = new Uint8Array(head.length + body.length);
      bytes.set(new TextEncoder().encode(head));
      bytes.set(body, head.length);
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
      for (let got = ""; !got.endsWith("ok");) {
        const count = await conn.read(buffer);
        if (count === null) throw new Error("the service closed early");
        got += decoder.decode(buffer.subarray(0, count));
      }
    }
    conn.close();
  };
  await Promise.all(Array.from({ length: connections }, (_, id) => one(id)));
  console.log("done");
}

if (import.meta.main) {
  const [role, ...rest] = Deno.args;
  if (role === "serve") await serve(Number(rest[0]), rest[1]);
  else if (role === "knock") await knock(rest[0]);
  else {
    const [connections, requests, largest] = rest.slice(1).map(Number);
    await ask(rest[0], connections, requests, largest);
  }
}
