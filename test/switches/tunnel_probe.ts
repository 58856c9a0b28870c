/**
 * A tcpcopy that only looks at the tunnel: it announces one connection over loopback, lets its server
 * send a few messages, and keeps what intercept says about them, byte for byte.
 */

import {
  encodeRequest,
  encodeVersion,
  REQUEST_BYTES,
  RequestType,
} from "../../src/tunnel/codec.ts";
import { LabProcess } from "../lab/process.ts";
import { pause } from "../lab/programs.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";

const root = new URL("../../", import.meta.url).pathname;
const LOOPBACK = "127.0.0.1";
const READY_TIMEOUT_MS = 20_000;
const MESSAGES = 12;
const MESSAGE_BYTES = 40;
const SETTLE_MS = 400;

/** Starts one of our programs in the namespace this process is in. */
export function startHere(program: string, args: readonly string[]): LabProcess {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${root}src/${program}/main.ts`, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  return new LabProcess(program, child);
}

/** A port nobody listens on now, in a namespace where nobody else takes one. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: LOOPBACK, port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** One connection of a tunnel. */
export class Tunnel implements AsyncDisposable {
  /** What intercept has sent. */
  bytes = new Uint8Array(0);
  isClosed = false;
  readonly #conn: Deno.TcpConn;
  readonly #reading: Promise<void>;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    this.#reading = this.#read();
  }

  static async connect(port: number, hostname = LOOPBACK): Promise<Tunnel> {
    const conn = await Deno.connect({ hostname, port });
    const message = new Uint8Array(REQUEST_BYTES);
    encodeVersion(new DataView(message.buffer), 0);
    await conn.write(message);
    return new Tunnel(conn);
  }

  async announce(
    client: string,
    clientPort: number,
    target: string,
    targetPort: number,
  ): Promise<void> {
    const message = new Uint8Array(REQUEST_BYTES);
    const [from, to] = [parseIpv4(client)!, parseIpv4(target)!];
    const view = new DataView(message.buffer);
    encodeRequest(view, 0, RequestType.Announce, from, clientPort, to, targetPort);
    await this.#conn.write(message);
  }

  async #read(): Promise<void> {
    try {
      for await (const chunk of this.#conn.readable) {
        const bytes = new Uint8Array(this.bytes.length + chunk.length);
        bytes.set(this.bytes);
        bytes.set(chunk, this.bytes.length);
        this.bytes = bytes;
      }
    } catch (error) {
      const isEnd = error instanceof Deno.errors.ConnectionReset ||
        error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
      if (!isEnd) throw error;
    }
    this.isClosed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isClosed) this.#conn.close();
    await this.#reading;
  }
}

/** What a probe is told. */
export interface ProbeOptions {
  /** Options of intercept besides `-i lo`, `-p` and a filter for the probe's server. */
  args?: readonly string[];
  /** The addresses announced in place of the loopback address; `null`: announce nothing. */
  announce?: { client?: string; target?: string } | null;
}

/** Runs intercept and one exchange beside it; returns what came over the tunnel. */
export async function probe(options: ProbeOptions = {}): Promise<{
  bytes: Uint8Array<ArrayBuffer>;
  log: string;
}> {
  using listener = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const targetPort = (listener.addr as Deno.NetAddr).port;
  const port = freePort();
  const intercept = startHere("intercept", [
    ...["-i", "lo", "-p", String(port), "-F", `tcp and src port ${targetPort}`],
    ...options.args ?? [],
  ]);
  try {
    await intercept.waitFor(/\bready\b/, READY_TIMEOUT_MS);
    await using tunnel = await Tunnel.connect(port);
    using near = await Deno.connect({ hostname: LOOPBACK, port: targetPort });
    using far = await listener.accept();
    if (options.announce !== null) {
      const { client = LOOPBACK, target = LOOPBACK } = options.announce ?? {};
      await tunnel.announce(client, (near.localAddr as Deno.NetAddr).port, target, targetPort);
      await pause(SETTLE_MS);
    }
    const buffer = new Uint8Array(MESSAGE_BYTES);
    for (let i = 0; i < MESSAGES; i++) {
      await far.write(new Uint8Array(MESSAGE_BYTES).fill(0x61 + i));
      await near.read(buffer);
    }
    await pause(SETTLE_MS);
    const { bytes } = tunnel;
    await intercept.stop();
    return { bytes, log: intercept.output };
  } finally {
    await intercept.stop();
  }
}

/** The counts of combined frames with records of the given length; NaN where the stream is not such. */
export function frameCounts(bytes: Uint8Array<ArrayBuffer>, recordBytes: number): number[] {
  const counts: number[] = [];
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 2 <= bytes.length;) {
    const count = view.getUint16(at);
    counts.push(count);
    at += 2 + count * recordBytes;
    if (at > bytes.length || count > 16) return [NaN];
  }
  return counts;
}
