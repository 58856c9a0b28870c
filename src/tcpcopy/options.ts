/** The command line of tcpcopy. Short names are the original's. */

import { merge, object } from "@optique/core/constructs";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { choice, integer, string } from "@optique/core/valueparser";
import {
  type HostPort,
  parseClientAddresses,
  parseHosts,
  parsePort,
  parseTransfers,
} from "../cli/addresses.ts";
import { UsageError } from "../cli/fatal.ts";
import { message, readCommandLine } from "../cli/program.ts";
import type { Transfer } from "../session/transfer.ts";
import { DEFAULT_TUNNEL_PORT } from "../tunnel/codec.ts";
import { MIN_MEMORY_MB } from "./memory_guard.ts";
import type { InjectWay } from "./replay.ts";

/** What the user asked for. */
export interface TcpcopyOptions {
  transfers: Transfer[];
  intercepts: HostPort[];
  clientAddresses: Int32Array;
  tunnelConnections: number;
  percentage: number;
  copies: number;
  /** A file that says when new sessions are sampled; undefined: always. */
  strategy: string | undefined;
  minIntervalS: number | undefined;
  /** How live packets are captured. */
  capture: "raw" | "ring";
  sessionTimeoutMs: number;
  maxMemoryBytes: number;
  mtuBytes: number;
  mssBytes: number;
  inject: InjectWay;
  logFile: string | undefined;
  libpcapPath: string | undefined;
  /** Present for an offline replay. */
  offline: { path: string; acceleration: number; maxGapMs: number; times: number } | undefined;
}

const ONLINE_SESSION_TIMEOUT_S = 600;
const OFFLINE_SESSION_TIMEOUT_S = 60;

const replayed = object("What is replayed", {
  transfer: option("-x", "--transfer", string({ metavar: "PAIRS" }), {
    description:
      message`Which service is copied to which: [onlineIP:]onlinePort-targetIP:targetPort, several separated by commas. Required.`,
  }),
  percentage: withDefault(
    option("-r", "--percentage", integer({ min: 1, max: 100, metavar: "PERCENT" }), {
      description: message`Share of the sessions that is replayed.`,
    }),
    100,
  ),
  copies: withDefault(
    option("-n", "--copies", integer({ min: 1, max: 1023, metavar: "N" }), {
      description: message`Replay every session this many times, from different ports.`,
    }),
    1,
  ),
  strategy: optional(
    option("--strategy", string({ metavar: "FILE" }), {
      description:
        message`Begin sessions only in the sampling windows of this strategy, and none while CPU or memory are above its maxima: a Layotto configuration, or one of trafficdump. Read again when it changes.`,
    }),
  ),
  minInterval: optional(
    option("--min-interval", integer({ min: 1, max: 30, metavar: "SECONDS" }), {
      description: message`With --strategy: allow intervals shorter than 30 s, down to this.`,
    }),
  ),
  capture: withDefault(
    option("--capture", choice(["raw", "ring"], { metavar: "WAY" }), {
      description:
        message`How live packets are captured: "raw", by a raw socket, behind the local firewall; "ring", through memory shared with the kernel, 192 MB or less with a smaller -m, for where the kernel grants no large socket buffers (containers without CAP_NET_ADMIN). A ring sees packets before the local firewall does, also those this host only forwards (name the address in -x), and skips IP fragments.`,
    }),
    "raw",
  ),
});

const sent = object("How it is sent", {
  intercept: option("-s", "--intercept", string({ metavar: "HOSTS" }), {
    description: message`Where intercept runs: host[:port], several separated by commas. Required.`,
  }),
  port: optional(
    option("-p", "--port", string({ metavar: "PORT" }), {
      description: message`Port of intercept where -s names none (default: 36524).`,
    }),
  ),
  clientIp: optional(
    option("-c", "--client-ip", string({ metavar: "ADDRESSES" }), {
      description:
        message`Source addresses towards the target: addresses, a.b.c.x and CIDR ranges, separated by commas. Without it the clients' own addresses are used; then the target must route its answers to ALL clients to the assistant server.`,
    }),
  ),
  connections: withDefault(
    option("-C", "--tunnel-connections", integer({ min: 1, max: 11, metavar: "N" }), {
      description: message`Parallel connections to each intercept.`,
    }),
    2,
  ),
  mtu: withDefault(
    option("-M", "--mtu", integer({ min: 576, max: 9000, metavar: "BYTES" }), {
      description: message`Largest IP packet sent to the target.`,
    }),
    1500,
  ),
  mss: withDefault(
    option("-D", "--mss", integer({ min: 88, max: 8960, metavar: "BYTES" }), {
      description: message`Largest MSS announced to the target.`,
    }),
    1460,
  ),
  inject: withDefault(
    option("--inject", choice(["raw", "link"], { metavar: "WAY" }), {
      description:
        message`raw: through the kernel's routing and firewall; link: as frames straight to the device, which costs less.`,
    }),
    "raw" as const,
  ),
});

const offline = object("Offline replay", {
  file: optional(
    option("-i", "--input", string({ metavar: "FILE" }), {
      description:
        message`Replay this capture file, or a dump_tcp_copy.log, instead of live packets.`,
    }),
  ),
  acceleration: withDefault(
    option("-a", "--acceleration", integer({ min: 1, max: 10000, metavar: "TIMES" }), {
      description: message`Play so many times faster than recorded.`,
    }),
    1,
  ),
  interval: optional(
    option("-I", "--skip-gaps", integer({ min: 1, metavar: "MS" }), {
      description: message`Cut pauses of the recording that are longer than this.`,
    }),
  ),
  times: withDefault(
    option("-T", "--times", integer({ min: 1, metavar: "N" }), {
      description: message`Play the file this many times.`,
    }),
    1,
  ),
  libpcap: optional(
    option("--libpcap", string({ metavar: "PATH" }), {
      description: message`The libpcap to use, for example one built for PF_RING.`,
    }),
  ),
});

const limits = object("Limits and log", {
  timeout: optional(
    option("-t", "--session-timeout", integer({ min: 1, max: 86400, metavar: "SECONDS" }), {
      description:
        message`End a session in which nothing happens for so long (default: 600, offline 60).`,
    }),
  ),
  memory: withDefault(
    option("-m", "--max-memory", integer({ min: MIN_MEMORY_MB, metavar: "MB" }), {
      description: message`Memory cap; above it new sessions are shed.`,
    }),
    1024,
  ),
  log: optional(
    option("-l", "--log-file", string({ metavar: "FILE" }), {
      description: message`Append the log to this file instead of standard error.`,
    }),
  ),
});

const parser = merge(replayed, sent, offline, limits);

/**
 * Reads the command line; ends the process for help, version and mistakes in the options' form.
 *
 * @throws UsageError for values that make no sense
 */
export function readOptions(): TcpcopyOptions {
  const given = readCommandLine(parser, {
    name: "tcpcopy",
    brief: message`Replays the TCP requests this server receives against a test server.`,
    examples:
      message`tcpcopy -x 80-198.18.0.2:8080 -s 198.18.0.3 -c 198.19.0.x — copy live requests to port 80 to the target, as clients 198.19.0.1 to .254`,
  });
  if (given.file === undefined) {
    for (
      const [name, isSet] of [
        ["-a", given.acceleration !== 1],
        ["-I", given.interval !== undefined],
        ["-T", given.times !== 1],
      ] as const
    ) if (isSet) throw new UsageError(`${name} is for offline replay: name a capture file with -i`);
  }
  if (given.minInterval !== undefined && given.strategy === undefined) {
    throw new UsageError("--min-interval is for sampling: name a strategy with --strategy");
  }
  const timeoutS = given.timeout ??
    (given.file === undefined ? ONLINE_SESSION_TIMEOUT_S : OFFLINE_SESSION_TIMEOUT_S);
  const port = given.port === undefined ? DEFAULT_TUNNEL_PORT : parsePort(given.port, "-p");
  return {
    transfers: parseTransfers(given.transfer),
    intercepts: parseHosts(given.intercept, "-s", port),
    clientAddresses: given.clientIp === undefined
      ? new Int32Array(0)
      : parseClientAddresses(given.clientIp),
    tunnelConnections: given.connections,
    percentage: given.percentage,
    copies: given.copies,
    strategy: given.strategy,
    minIntervalS: given.minInterval,
    capture: given.capture,
    sessionTimeoutMs: timeoutS * 1000,
    maxMemoryBytes: given.memory * (1 << 20),
    mtuBytes: given.mtu,
    mssBytes: Math.min(given.mss, given.mtu - 40),
    inject: given.inject,
    logFile: given.log,
    libpcapPath: given.libpcap,
    offline: given.file === undefined ? undefined : {
      path: given.file,
      acceleration: given.acceleration,
      maxGapMs: given.interval ?? Infinity,
      times: given.times,
    },
  };
}
