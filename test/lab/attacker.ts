/**
 * Somebody who is no client: sends packets in made-up names, and in those of clients and targets
 * whose numbers it does not know.
 *
 *     deno run -A test/lab/attacker.ts --kind syns --packets 20000 --per-second 10000
 *
 * Runs on the client's host. Prints "attacking", and "done" with how many packets have left.
 */

import { RawIpInjector } from "../../src/inject/raw_ip.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { buildPacket, type SegmentFields } from "../sim/packet_builder.ts";
import { numberArgument, parseArguments } from "./arguments.ts";
import { addresses } from "./hosts.ts";
import { APPLICATION_PORT } from "./programs.ts";

/** Those who do not exist; the online server sends answers to the client's host, where they end. */
export const NOBODYS_NETWORK = "198.18.64.0/18";
const NOBODY = parse("198.18.64.0");
const NOBODIES = 1 << 14;
/** The addresses of the replay, as the target sees its clients. */
const REPLAYED = parse("198.19.0.0");
/** What Linux gives a client as ports. */
const FIRST_PORT = 32_768;
const PORTS = 28_232;
const PERIOD_MS = 10;
const PAYLOAD = new TextEncoder().encode("GET /attack HTTP/1.1\r\n\r\n");
const { Ack, Fin, Psh, Rst, Syn } = TcpFlag;
const client = parse(addresses.client);
const online = parse(addresses.online);
const target = parse(addresses.target);

type Segment = Omit<SegmentFields, "destination" | "destinationPort" | "window">;

/** Each makes the packets of one strike. */
const kinds: Record<string, () => Omit<SegmentFields, "window">[]> = {
  /** SYNs of nobody's, and nothing behind them. */
  syns: () => [toOnline({ ...nobody(), flags: Syn, sequence: any() })],
  /** Data of nobody's in mid-stream. */
  strays: () => [toOnline({ ...nobody(), ...data() })],
  /** The same, with numbers that look like two requests in a row. */
  joins: () => {
    const first = { ...nobody(), ...data() };
    const sequence = (first.sequence + PAYLOAD.length) | 0;
    const acknowledgment = (first.acknowledgment + 100) | 0;
    return [toOnline(first), toOnline({ ...first, sequence, acknowledgment })];
  },
  /** Whole connections of nobody's, with a made-up acknowledgement of the SYN-ACK. */
  connections: () => {
    const who = nobody();
    const [sequence, acknowledgment] = [any(), any()];
    const next = { ...who, sequence: (sequence + 1) | 0, acknowledgment };
    const behind = (sequence + 1 + PAYLOAD.length) | 0;
    return [
      toOnline({ ...who, flags: Syn, sequence }),
      toOnline({ ...next, flags: Ack }),
      toOnline({ ...next, flags: Ack | Psh, payload: PAYLOAD }),
      toOnline({ ...next, flags: Ack | Fin, sequence: behind }),
    ];
  },
  /** Resets, ends, data and SYNs in clients' names. */
  clients: () => {
    const who = { source: client, sourcePort: anyPort() };
    return [
      toOnline({ ...who, flags: Rst, sequence: any() }),
      toOnline({ ...who, flags: Syn, sequence: any() }),
      toOnline({ ...who, ...data() }),
      toOnline({ ...who, flags: Ack | Fin, sequence: any(), acknowledgment: any() }),
    ];
  },
  /** Resets and SYNs in the target's name, to its replayed clients. */
  targets: () => {
    const who = {
      source: target,
      sourcePort: APPLICATION_PORT,
      destination: (REPLAYED + 1 + below(254)) | 0,
      destinationPort: anyPort(),
    };
    return [
      { ...who, flags: Rst, sequence: any() },
      { ...who, flags: Rst | Ack, sequence: any(), acknowledgment: any() },
      { ...who, flags: Syn, sequence: any() },
    ];
  },
};

/** What there is to be had. */
export const attackKinds: readonly string[] = Object.keys(kinds);

function parse(address: string): number {
  return parseIpv4(address)!;
}

function below(limit: number): number {
  return Math.floor(Math.random() * limit);
}

function any(): number {
  return below(2 ** 32) | 0;
}

function anyPort(): number {
  return FIRST_PORT + below(PORTS);
}

function nobody() {
  return { source: (NOBODY + below(NOBODIES)) | 0, sourcePort: 1024 + below(64_000) };
}

function data() {
  return { flags: Ack | Psh, sequence: any(), acknowledgment: any(), payload: PAYLOAD };
}

function toOnline(segment: Segment) {
  return { ...segment, destination: online, destinationPort: APPLICATION_PORT };
}

/** Sends at a steady rate; returns how many packets have left. */
async function attack(kind: string, packets: number, perSecond: number): Promise<number> {
  const strike = kinds[kind];
  if (strike === undefined) {
    throw new Error(`--kind: expected one of ${attackKinds.join(", ")}, came "${kind}"`);
  }
  const injector = new RawIpInjector();
  const startMs = performance.now();
  let made = 0;
  while (made < packets) {
    const due = Math.min(packets, (performance.now() - startMs) / 1000 * perSecond);
    while (made < due) {
      for (const segment of strike()) {
        const bytes = buildPacket({ ...segment, window: 502 });
        const offset = injector.reserve(bytes.length);
        if (offset < 0) {
          injector.flush();
          continue;
        }
        injector.bytes.set(bytes, offset);
        injector.commit(bytes.length);
        made++;
      }
    }
    injector.flush();
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
  const { sent } = injector.stats();
  injector.close();
  return sent;
}

if (import.meta.main) {
  const values = parseArguments(Deno.args, ["kind", "packets", "per-second"]);
  console.log("attacking");
  const sent = await attack(
    values.get("kind") ?? "",
    numberArgument(values, "packets", 10_000),
    numberArgument(values, "per-second", 10_000),
  );
  console.log(`done ${sent}`);
}
