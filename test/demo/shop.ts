/**
 * The demo's web application, a small book shop, without its network: what its customers ask and
 * what it answers. Pure: the same question has the same answer of the same version on every host.
 */

import { closesAfter, encodeMessage, type HttpMessage } from "./http.ts";

/** Says which connection of which client a request belongs to. */
export const CONNECTION_HEADER = "X-Connection-Id";

const words =
  "the of old sea a red house in winter letters from garden and night river to my brother's last "
    .concat("summer under glass mountain songs for lost city an island with many doors").split(" ");

const agents = [
  "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/138.0.0.0 Safari/537.36",
  "shop-app/4.2 (Android 15)",
];

const utf8 = new TextEncoder();

/** A number from 0 up to, not including, `below`; always the same for the same arguments. */
function pick(below: number, ...seeds: number[]): number {
  let hash = 0x811c9dc5;
  for (const seed of seeds) {
    hash = Math.imul(hash ^ seed, 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    hash ^= hash >>> 13;
  }
  return (hash >>> 0) % below;
}

/** Some words, separated by blanks. */
function text(count: number, ...seeds: number[]): string {
  const chosen = Array.from({ length: count }, (_, i) => words[pick(words.length, i, ...seeds)]);
  return chosen.join(" ");
}

/** A block of bytes that is no text, such as a picture. */
function binary(sizeBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  let state = pick(0x7fffffff, seed) | 1;
  for (let i = 0; i < sizeBytes; i++) {
    state = Math.imul(state, 1103515245) + 12345;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

/**
 * The request number `number` of connection `connection`.
 *
 * @param isLast whether the client asks the server to close after the answer
 */
export function requestOf(
  connection: number,
  number: number,
  isLast: boolean,
): Uint8Array<ArrayBuffer> {
  const seed = [connection, number];
  const kind = pick(100, 1, ...seed);
  const session = pick(0x7fffffff, 2, connection).toString(16).padStart(8, "0");
  const headers: [string, string][] = [
    ["Host", "shop.example"],
    ["User-Agent", agents[pick(agents.length, 3, connection)]],
    ["Accept", kind < 75 ? "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" : "application/json"],
    ["Accept-Language", "en-GB,en;q=0.7"],
    ["Cookie", `session=${session}; seen=${text(pick(6, 4, ...seed) + 1, 4).replaceAll(" ", "+")}`],
    [CONNECTION_HEADER, String(connection)],
    ["Connection", isLast ? "close" : "keep-alive"],
  ];
  const post = (path: string, type: string, body: Uint8Array) =>
    encodeMessage(`POST ${path} HTTP/1.1`, [...headers, ["Content-Type", type]], body);
  const get = (path: string) => encodeMessage(`GET ${path} HTTP/1.1`, headers);
  const book = pick(5000, 5, ...seed);
  if (kind < 20) return get("/");
  if (kind < 45) return get(`/books/${book}`);
  if (kind < 60) return get(`/search?q=${text(2, 6, ...seed).replaceAll(" ", "+")}&page=1`);
  if (kind < 78) {
    const form = `book=${book}&count=${1 + pick(3, 7, ...seed)}&note=` +
      encodeURIComponent(text(pick(40, 8, ...seed), 8, ...seed));
    return post("/basket", "application/x-www-form-urlencoded", utf8.encode(form));
  }
  if (kind < 98) {
    const items = Array.from({ length: 1 + pick(20, 9, ...seed) }, (_, i) => ({
      book: pick(5000, 10, i, ...seed),
      title: text(4, 11, i, ...seed),
      price: pick(9000, 12, i, ...seed) / 100,
    }));
    const order = JSON.stringify({ session, items, comment: text(12, 13, ...seed) });
    return post("/api/orders", "application/json", utf8.encode(order));
  }
  return post("/api/covers", "image/jpeg", binary(4_000 + pick(36_000, 14, ...seed), book));
}

/**
 * The response to a request.
 *
 * @param version the second has a footer on its pages and says more of orders: other lengths
 */
export function answerTo(request: HttpMessage, version: number): Uint8Array<ArrayBuffer> {
  const [method, target] = request.start;
  const connection = closesAfter(request) ? "close" : "keep-alive";
  const headers = (type: string): [string, string][] => [
    ["Server", version === 1 ? "shop" : `shop/${version}`],
    ["Content-Type", type],
    ["Cache-Control", "no-store"],
    ["Connection", connection],
  ];
  const json = (status: string, value: unknown) =>
    encodeMessage(
      `HTTP/1.1 ${status}`,
      headers("application/json"),
      utf8.encode(JSON.stringify(value)),
    );
  if (method === "POST") {
    const received = { bytes: request.body.length, checksum: checksum(request.body) };
    const more = version === 1
      ? {}
      : { version, kind: request.body.length > 2000 ? "big" : "small" };
    return json("201 Created", { path: target, received, ...more });
  }
  if (method !== "GET") return json("405 Method Not Allowed", { allow: ["GET", "POST"] });
  const page = pageFor(target, version);
  return encodeMessage("HTTP/1.1 200 OK", headers("text/html; charset=utf-8"), page);
}

/** Pages asked for before; there are not many. */
const pages = new Map<string, Uint8Array>();
const MAX_PAGES = 10_000;

function pageFor(target: string, version: number): Uint8Array {
  const known = pages.get(target);
  if (known !== undefined) return known;
  const seed = checksum(utf8.encode(target));
  const rows = Array.from(
    { length: 5 + pick(40, seed) },
    (_, i) =>
      `<li><a href="/books/${pick(5000, i, seed)}">${text(4, i, seed)}</a> ${
        text(8, i, 1, seed)
      }</li>`,
  );
  const page = utf8.encode(
    `<!doctype html><title>${target}</title><h1>${text(3, seed)}</h1><ul>\n${
      rows.join("\n")
    }</ul>\n${version === 1 ? "" : `<footer>${text(pick(9, seed) + 1, seed, 2)}</footer>\n`}`,
  );
  if (pages.size < MAX_PAGES) pages.set(target, page);
  return page;
}

/** FNV-1a, int32: enough to show that the answer depends on every byte. */
function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5 | 0;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

/** Whether a response is what the application answers with when all is well. */
export function isGood(response: HttpMessage): boolean {
  const [version, status] = response.start;
  return version === "HTTP/1.1" && (status === "200" || status === "201");
}
