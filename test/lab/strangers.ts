/**
 * Strangers at intercept's port, for the lab: run on one of its hosts.
 *
 *     deno run -A test/lab/strangers.ts --address 198.18.0.3:36524 --mode MODE
 *         [--count N] [--rate N] [--ports N] [--client 198.19.0.1] [--target 198.18.0.2:8080]
 *
 * - silent: `--count` connections that say nothing.
 * - idle: `--count` connections that say hello, and nothing more.
 * - garbage: `--rate` connections a second that send what is not the protocol.
 * - announce: `--count` connections that announce `--ports` connections of the replay's client,
 *   from port 32768 on, `--rate` times a second all of them.
 * - leave: `--rate` connections a second that announce `--ports` connections and go.
 *
 * A connection that is closed is made again, at most 500 a second. It says "attacking" when it has
 * begun, and what it has done when its input ends or it is told to end.
 */

import {
  encodeRequest,
  encodeVersion,
  REQUEST_BYTES,
  RequestType,
} from "../../src/tunnel/codec.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";
import { numberArgument, parseArguments } from "./arguments.ts";

/** What the strangers do. */
export type StrangerMode = "silent" | "idle" | "garbage" | "announce" | "leave";

/** What they have done, as the last line of their output. */
export interface StrangerReport {
  kind: "strangers";
  connections: number;
  /** Connections that intercept closed. */
  closed: number;
  announcements: number;
}

const FIRST_PORT = 32_768;
const TICK_MS = 10;
const MAX_RECONNECTS_PER_SECOND = 500;

const values = parseArguments(
  Deno.args,
  ["address", "mode", "count", "rate", "ports", "client", "target"],
  [],
);
const [hostname, portText] = (values.get("address") ?? "198.18.0.3:36524").split(":");
const port = Number(portText);
const count = numberArgument(values, "count", 1);
const rate = numberArgument(values, "rate", 1);
const ports = numberArgument(values, "ports", 28_000);
const report: StrangerReport = { kind: "strangers", connections: 0, closed: 0, announcements: 0 };

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const hello = new Uint8Array(REQUEST_BYTES);
encodeVersion(new DataView(hello.buffer), 0);

function announcements(): Uint8Array {
  const [target, targetPort] = (values.get("target") ?? "198.18.0.2:8080").split(":");
  const client = parseIpv4(values.get("client") ?? "198.19.0.1")!;
  const bytes = new Uint8Array(ports * REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < ports; i++) {
    const at = i * REQUEST_BYTES;
    const to = parseIpv4(target)!;
    const clientPort = (FIRST_PORT + i) & 0xffff;
    encodeRequest(view, at, RequestType.Announce, client, clientPort, to, Number(targetPort));
  }
  return bytes;
}

/** Whether a failure only means that the other side has closed, or has no room. */
function isExpected(error: unknown): boolean {
  const expected = [
    Deno.errors.ConnectionReset,
    Deno.errors.ConnectionRefused,
    Deno.errors.BrokenPipe,
    Deno.errors.TimedOut,
    Deno.errors.BadResource,
  ];
  return expected.some((kind) => error instanceof kind);
}

/** Connects and says something. Returns undefined when the other side does not want it. */
async function connect(...texts: Uint8Array[]): Promise<Deno.TcpConn | undefined> {
  try {
    const conn = await Deno.connect({ hostname, port });
    report.connections++;
    for (const text of texts) await writeAll(conn, text);
    return conn;
  } catch (error) {
    if (isExpected(error)) return undefined;
    throw error;
  }
}

async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Reads what comes until the connection is closed. */
async function untilClosed(conn: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(65536);
  try {
    while (await conn.read(buffer) !== null);
  } catch (error) {
    if (!isExpected(error)) throw error;
  }
  report.closed++;
}

/** Keeps `count` connections up, whatever happens to them. */
async function keep(talk: (conn: Deno.TcpConn) => Promise<void>, ...texts: Uint8Array[]) {
  const all = Array.from({ length: count }, async (_, index) => {
    await pause(index); // one after the other
    for (;;) {
      const conn = await connect(...texts);
      if (conn !== undefined) {
        talk(conn).catch((error) => {
          if (!isExpected(error)) throw error;
        });
        await untilClosed(conn);
        conn.close();
      }
      await pause(Math.max(20, 1000 * count / MAX_RECONNECTS_PER_SECOND));
    }
  });
  await Promise.all(all);
}

/** Does something `rate` times a second. */
async function repeat(act: () => Promise<void>): Promise<never> {
  const startMs = performance.now();
  for (let done = 0;;) {
    const due = Math.floor((performance.now() - startMs) * rate / 1000);
    for (; done < due; done++) await act();
    await pause(TICK_MS);
  }
}

const modes: Record<StrangerMode, () => Promise<void>> = {
  silent: () => keep(() => Promise.resolve()),
  idle: () => keep(() => Promise.resolve(), hello),
  garbage: () => {
    const bytes = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: intercept\r\n\r\n");
    return repeat(async () => {
      const conn = await connect(bytes);
      if (conn !== undefined) untilClosed(conn).finally(() => conn.close());
    });
  },
  announce: () => {
    const bytes = announcements();
    const talk = async (conn: Deno.TcpConn) => {
      for (;;) {
        await writeAll(conn, bytes);
        report.announcements += ports;
        await pause(1000 / rate);
      }
    };
    return keep(talk, hello);
  },
  leave: () => {
    const bytes = announcements();
    return repeat(async () => {
      const conn = await connect(hello, bytes);
      if (conn === undefined) return;
      report.announcements += ports;
      conn.close();
    });
  },
};

if (import.meta.main) {
  const mode = values.get("mode") ?? "";
  const attack = modes[mode as StrangerMode];
  if (attack === undefined) {
    console.error(`--mode ${mode}: expected one of ${Object.keys(modes).join(", ")}`);
    Deno.exit(2);
  }
  const end = () => {
    console.log(JSON.stringify(report));
    Deno.exit(0);
  };
  Deno.addSignalListener("SIGTERM", end);
  const attacking = attack();
  while (report.connections < count) await pause(TICK_MS);
  console.log("attacking");
  await attacking;
}
