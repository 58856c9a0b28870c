/**
 * Much request data at a steady rate, and what a small request beside it takes.
 *
 *     deno run -A test/trafficdump/flood.ts sink PORT
 *     deno run -A test/trafficdump/flood.ts pour HOST:PORT MB_PER_SECOND SECONDS
 *     deno run -A test/trafficdump/flood.ts probe HOST:PORT SECONDS
 */

const PIECE_BYTES = 256 << 10;
const TICK_MS = 5;

async function sink(port: number): Promise<void> {
  const listener = Deno.listen({ hostname: "0.0.0.0", port });
  console.log("ready");
  for await (const conn of listener) {
    (async () => {
      const buffer = new Uint8Array(PIECE_BYTES);
      while (await conn.read(buffer) !== null);
      conn.close();
    })();
  }
}

/** Says at the end how much it could send, MB/s. */
async function pour(address: string, rate: number, seconds: number): Promise<void> {
  const [hostname, port] = address.split(":");
  const conn = await Deno.connect({ hostname, port: Number(port) });
  const piece = crypto.getRandomValues(new Uint8Array(65_536));
  const startMs = performance.now();
  let sent = 0;
  for (;;) {
    const elapsedMs = performance.now() - startMs;
    if (elapsedMs > seconds * 1000) break;
    while (sent < rate * 1e3 * (performance.now() - startMs)) {
      sent += await conn.write(piece);
      if (performance.now() - startMs > seconds * 1000) break;
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  conn.close();
  console.log(`poured ${(sent / 1e3 / (performance.now() - startMs)).toFixed(0)} MB/s`);
}

/** Small requests one after the other; says what they took, µs. */
async function probe(address: string, seconds: number): Promise<void> {
  const [hostname, port] = address.split(":");
  const conn = await Deno.connect({ hostname, port: Number(port) });
  conn.setNoDelay(true);
  const request = new TextEncoder().encode("GET /probe HTTP/1.1\r\nHost: lab\r\n\r\n");
  const buffer = new Uint8Array(4096);
  const took: number[] = [];
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    const startMs = performance.now();
    await conn.write(request);
    await conn.read(buffer);
    took.push((performance.now() - startMs) * 1000);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  took.sort((a, b) => a - b);
  const at = (share: number) => Math.round(took[Math.floor(took.length * share)]);
  console.log(`latency ${JSON.stringify({ p50: at(0.5), p90: at(0.9), p99: at(0.99) })}`);
}

if (import.meta.main) {
  const [role, first, ...rest] = Deno.args;
  if (role === "sink") await sink(Number(first));
  else if (role === "pour") await pour(first, Number(rest[0]), Number(rest[1]));
  else await probe(first, Number(rest[0]));
}
