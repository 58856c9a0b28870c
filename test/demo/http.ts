/**
 * As much of HTTP/1.1 (RFC 9112) as the demo's application and clients speak: messages with a
 * Content-Length or no body. Pure.
 */

/** One request or response. */
export interface HttpMessage {
  /** The three parts of the first line: method, target, version; or version, status, reason. */
  start: [string, string, string];
  /** By name in lower case. */
  headers: ReadonlyMap<string, string>;
  body: Uint8Array;
}

const MAX_HEAD_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 1 << 20;
const HEAD_END = [13, 10, 13, 10];

const latin1 = new TextDecoder("latin1");
const utf8 = new TextEncoder();

/** Finds whole messages in a stream of bytes. */
export class HttpReader {
  #buffer = new Uint8Array(4096);
  #length = 0;
  /** The message whose body has not arrived whole yet, and where that body begins. */
  #head: { message: HttpMessage; bodyAt: number; bodyBytes: number } | undefined;

  /**
   * Takes the next bytes.
   *
   * @returns the messages that are whole now
   * @throws Error for what is not HTTP, or larger than 16 KiB (head) or 1 MiB (body)
   */
  feed(chunk: Uint8Array): HttpMessage[] {
    this.#append(chunk);
    const messages: HttpMessage[] = [];
    for (let message = this.#next(); message !== undefined; message = this.#next()) {
      messages.push(message);
    }
    return messages;
  }

  #next(): HttpMessage | undefined {
    this.#head ??= this.#readHead();
    if (this.#head === undefined) return undefined;
    const { message, bodyAt, bodyBytes } = this.#head;
    if (this.#length < bodyAt + bodyBytes) return undefined;
    message.body = this.#buffer.slice(bodyAt, bodyAt + bodyBytes);
    this.#buffer.copyWithin(0, bodyAt + bodyBytes, this.#length);
    this.#length -= bodyAt + bodyBytes;
    this.#head = undefined;
    return message;
  }

  #readHead(): { message: HttpMessage; bodyAt: number; bodyBytes: number } | undefined {
    const end = this.#findHeadEnd();
    if (end < 0) {
      if (this.#length > MAX_HEAD_BYTES) throw new Error(`a head of more than ${MAX_HEAD_BYTES} B`);
      return undefined;
    }
    const [first, ...lines] = latin1.decode(this.#buffer.subarray(0, end)).split("\r\n");
    const start = /^(\S+) (\S+) (.+)$/.exec(first);
    if (start === null) throw new Error(`expected a first line of HTTP/1.1, came "${first}"`);
    const headers = new Map<string, string>();
    for (const line of lines) {
      const colon = line.indexOf(":");
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    const bodyBytes = Number(headers.get("content-length") ?? 0);
    if (!(bodyBytes >= 0 && bodyBytes <= MAX_BODY_BYTES)) {
      throw new Error(`a body of ${headers.get("content-length")} bytes`);
    }
    const message: HttpMessage = {
      start: [start[1], start[2], start[3]],
      headers,
      body: new Uint8Array(),
    };
    return { message, bodyAt: end + HEAD_END.length, bodyBytes };
  }

  #findHeadEnd(): number {
    const buffer = this.#buffer;
    for (let at = buffer.indexOf(13); at >= 0; at = buffer.indexOf(13, at + 1)) {
      if (at + HEAD_END.length > this.#length) return -1;
      if (HEAD_END.every((byte, index) => buffer[at + index] === byte)) return at;
    }
    return -1;
  }

  #append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
      grown.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = grown;
    }
    this.#buffer.set(chunk, this.#length);
    this.#length = needed;
  }
}

/** Writes a message: first line, headers (Content-Length is added for a body), body. */
export function encodeMessage(
  first: string,
  headers: readonly [string, string][],
  body?: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const lines = [first, ...headers.map(([name, value]) => `${name}: ${value}`)];
  if (body !== undefined) lines.push(`Content-Length: ${body.length}`);
  const head = utf8.encode(lines.join("\r\n") + "\r\n\r\n");
  const bytes = new Uint8Array(head.length + (body?.length ?? 0));
  bytes.set(head);
  if (body !== undefined) bytes.set(body, head.length);
  return bytes;
}

/** Whether the connection ends after the response to this request. */
export function closesAfter(message: HttpMessage): boolean {
  return message.headers.get("connection")?.toLowerCase() === "close";
}
