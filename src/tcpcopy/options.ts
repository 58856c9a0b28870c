/** The options of tcpcopy. Short names are the original's. */

import { merge, object } from "@optique/core/constructs";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import type { InferValue } from "@optique/core/parser";
import { integer, string } from "@optique/core/valueparser";
import {
  type HostPort,
  parseAddress,
  parseClientAddresses,
  parseHosts,
  parsePort,
  parseTransfers,
} from "../cli/addresses.ts";
import { UsageError } from "../cli/fatal.ts";
import { meaninglessForTcpcopy, meaninglessNotices } from "../cli/meaningless_options.ts";
import { type ProcessOptions, processOptions } from "../cli/process_options.ts";
import { configuration, message, readSettings, type Settings } from "../cli/program.ts";
import { tunnelFormOf, tunnelOptions } from "../cli/tunnel_options.ts";
import type { TunnelForm } from "../tunnel/form.ts";
import type { SessionConfig } from "../session/config.ts";
import { MAX_GENERATIONS } from "../session/replay_mark.ts";
import type { Transfer } from "../session/transfer.ts";
import { DEFAULT_TUNNEL_PORT } from "../tunnel/codec.ts";
import { assertDumpLogs, captureOptions, readInput } from "./capture_options.ts";
import type { FileSource } from "./file_part.ts";
import type { InjectWay } from "./injector.ts";
import type { LiveCapture } from "./live_capture.ts";
import { MIN_MEMORY_MB } from "./memory_guard.ts";
import { parsePorts, type PortShare } from "./port_share.ts";
import {
  type Sampling,
  SAMPLING_KEYS,
  samplingOf,
  samplingOptions,
  type SessionStrategy,
  strategyOf,
} from "./sampling_options.ts";
import { parseUnsafeKinds, type UnsafeKind } from "./unsafe_clients.ts";
import { workerOptions, workersOf } from "./worker_options.ts";

/** What the user asked for. */
export interface TcpcopyOptions {
  transfers: Transfer[];
  intercepts: HostPort[];
  clientAddresses: Int32Array;
  /** Source addresses that are taken although they are somebody's. */
  allowedUnsafe: ReadonlySet<UnsafeKind>;
  tunnelConnections: number;
  tunnelForm: TunnelForm;
  /** Whether the start waits for no intercept. */
  startsWithoutIntercept: boolean;
  /** Whether the replay ends when no intercept is left. */
  endsWithoutIntercept: boolean;
  sampling: Sampling;
  /** When sessions may begin; undefined: always. */
  strategy: SessionStrategy | undefined;
  copies: number;
  waitForAnswers: boolean;
  /** Source address in place of 127.0.0.0/8, int32; 0: none. */
  localhostAddress: number;
  ports: PortShare;
  /** How live packets are captured; absent for an offline replay. */
  live: LiveCapture | undefined;
  sessionTimeoutMs: number;
  keepAliveTimeoutMs: number;
  answerTimeoutMs: number;
  /** 0: sessions wait for answers however far they are behind. */
  maxLagMs: number;
  /** Replays by other tcpcopies in a row that are replayed again. */
  maxGenerations: number;
  replaysTls: boolean;
  checksums: SessionConfig["checksums"];
  maxMemoryBytes: number;
  /** Threads the connections are shared among; 1: all in the main thread. */
  workers: number;
  mtuBytes: number;
  mssBytes: number;
  inject: InjectWay;
  /** The device frames leave by; by default what the routing table says. */
  outputDevice: string | undefined;
  process: ProcessOptions;
  /** Lines for the log about options without effect. */
  notices: string[];
  libpcapPath: string | undefined;
  /** Present for an offline replay. */
  offline: (Omit<FileSource, "kind" | "maxWaitingBytes"> & { times: number }) | undefined;
}

/** Copies of all pairs together: as many flows of one client port can be told apart. */
const MAX_FLOWS = 65_536;
const ONLINE_SESSION_TIMEOUT_S = 600;
const OFFLINE_SESSION_TIMEOUT_S = 60;

const replayed = object("What is replayed", {
  transfer: option("-x", "--transfer", string({ metavar: "PAIRS" }), {
    description:
      message`Which service is copied to which: [onlineIP:]onlinePort-targetIP:targetPort, several separated by commas. Required.`,
  }),
  copies: withDefault(
    option("-n", "--copies", integer({ min: 1, max: MAX_FLOWS, metavar: "N" }), {
      description: message`Replay every session this many times, from different ports.`,
    }),
    1,
  ),
  noWait: option("-W", "--no-wait", {
    description: message`Send requests without waiting for the answers their clients had read.`,
  }),
  answerTimeout: withDefault(
    option("--answer-timeout", integer({ min: 1, max: 3600, metavar: "SECONDS" }), {
      description:
        message`Wait so long for an answer that does not begin, beyond the time the online server took; then the next request goes. Less where the target is known to leave requests unanswered.`,
    }),
    5,
  ),
  maxLag: withDefault(
    option("--max-lag", integer({ min: 0, max: 86400, metavar: "SECONDS" }), {
      description:
        message`A session further behind its capture sends its requests without waiting for answers until it has caught up; 0: it waits however long that takes.`,
    }),
    30,
  ),
  replayReplayed: withDefault(
    option("--replay-replayed", integer({ min: 0, max: MAX_GENERATIONS - 1, metavar: "N" }), {
      description:
        message`Replay also what another tcpcopy sends to this host, up to so many replays in a row. Without it such connections are left out and counted: two tcpcopies whose targets are each other's services would go on for ever.`,
    }),
    0,
  ),
  tlsAsIs: option("--tls-as-is", {
    description:
      message`Replay connections that begin with TLS, too: the target will not understand them. Without it they are left out and counted as encrypted.`,
  }),
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
  allowUnsafe: optional(
    option("--allow-unsafe-clients", string({ metavar: "KINDS" }), {
      description:
        message`Take source addresses that are refused because they are somebody's: target, intercept, online, own-address, loopback, separated by commas.`,
    }),
  ),
  localhost: optional(
    option("-H", "--localhost-ip", string({ metavar: "ADDRESS" }), {
      description: message`Source address for clients on this host that connect over loopback.`,
    }),
  ),
  ports: optional(
    option("-f", "--port-factor", string({ metavar: "N|I/N" }), {
      description:
        message`For several instances of tcpcopy with the same source addresses: N moves the ports up by 2048 N; I/N, as 0/2 and 1/2, gives each instance ports of its own.`,
    }),
  ),
  connections: withDefault(
    option("-C", "--tunnel-connections", integer({ min: 1, max: 64, metavar: "N" }), {
      description: message`Parallel connections to each intercept.`,
    }),
    2,
  ),
  lonely: option("-L", "--lonely", {
    description:
      message`Start also while intercept is not there. (Once started, tcpcopy waits for it in any case.)`,
  }),
  exitWithoutIntercept: option("--exit-without-intercept", {
    description: message`End when the last intercept is gone, as the original does without -L.`,
  }),
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
});

const offline = object("Offline replay", {
  acceleration: withDefault(
    option("-a", "--acceleration", integer({ min: 1, max: 10000, metavar: "TIMES" }), {
      description: message`Play so many times faster than recorded.`,
    }),
    1,
  ),
  interval: optional(
    option("-I", "--skip-gaps", integer({ min: 1, metavar: "MS" }), {
      description:
        message`Cut pauses of the recording that are longer than this (default: those longer than an hour are told and cut to a second).`,
    }),
  ),
  times: withDefault(
    option("-T", "--times", integer({ min: 1, metavar: "N" }), {
      description: message`Play the file this many times.`,
    }),
    1,
  ),
});

const limits = object("Limits and log", {
  timeout: optional(
    option("-t", "--session-timeout", integer({ min: 1, max: 86400, metavar: "SECONDS" }), {
      description:
        message`End a session in which nothing happens for so long (default: 600, offline 60).`,
    }),
  ),
  keepAlive: optional(
    option("-k", "--keepalive-timeout", integer({ min: 1, max: 86400 * 7, metavar: "SECONDS" }), {
      description:
        message`The same for a session that rests between two requests, if longer than -t (default: as -t).`,
    }),
  ),
  memory: withDefault(
    option("-m", "--max-memory", integer({ min: MIN_MEMORY_MB, metavar: "MB" }), {
      description:
        message`Cap of resident memory, of the runtime and all workers, too; near it new sessions are shed. At least 160, and 40 for each worker. A control group (container) that allows less lowers it.`,
    }),
    1024,
  ),
});

const parser = merge(
  replayed,
  samplingOptions,
  captureOptions,
  sent,
  tunnelOptions,
  offline,
  limits,
  workerOptions,
  processOptions,
  configuration,
  meaninglessForTcpcopy,
);

/** What the parser yields. */
export type GivenTcpcopyOptions = InferValue<typeof parser>;

/** Keys of the options that may change while tcpcopy runs. */
export const RELOADABLE_KEYS: readonly string[] = [
  ...SAMPLING_KEYS,
  ...["session-timeout", "keepalive-timeout", "answer-timeout", "max-lag", "max-memory"],
];

/**
 * Reads the options; ends the process for help, version and mistakes in their form.
 *
 * @throws UsageError for a configuration file that cannot be used
 */
export function readOptions(): Settings<GivenTcpcopyOptions> {
  return readSettings(parser, {
    name: "tcpcopy",
    brief: message`Replays the TCP requests this server receives against a test server.`,
    examples:
      message`tcpcopy -x 80-198.18.0.2:8080 -s 198.18.0.3 -c 198.19.0.x — copy live requests to port 80 to the target, as clients 198.19.0.1 to .254`,
  });
}

/**
 * Makes sense of the options. Pure but for a look at which files and devices there are, and at what
 * standard input is.
 *
 * @throws UsageError for values that make no sense
 */
export function interpretOptions(given: GivenTcpcopyOptions): TcpcopyOptions {
  const input = readInput(given);
  const isOffline = "files" in input;
  if (!isOffline) {
    for (
      const [name, isSet] of [
        ["-a", given.acceleration !== 1],
        ["-I", given.interval !== undefined],
        ["-T", given.times !== 1],
      ] as const
    ) if (isSet) throw new UsageError(`${name} is for offline replay: name a capture file with -i`);
  }
  if (isOffline && given.times > 1 && input.files.includes("-")) {
    throw new UsageError(
      "-T: standard input can be played once only; save the capture to a file first",
    );
  }
  if (isOffline && input.files.includes("-") && given.daemon && Deno.stdin.isTerminal()) {
    throw new UsageError(
      "-d -i -: a program in the background cannot read from a terminal: pipe a capture in, or " +
        "name a file",
    );
  }
  if (isOffline) assertDumpLogs(input.files, given.clientIp !== undefined);
  const timeoutS = given.timeout ??
    (isOffline ? OFFLINE_SESSION_TIMEOUT_S : ONLINE_SESSION_TIMEOUT_S);
  const transfers = parseTransfers(given.transfer);
  if (given.copies * transfers.length > MAX_FLOWS) {
    throw new UsageError(
      `-n ${given.copies}: with ${transfers.length} pairs in -x at most ` +
        `${Math.floor(MAX_FLOWS / transfers.length)} copies are possible`,
    );
  }
  if (given.lonely && given.exitWithoutIntercept) {
    throw new UsageError("-L and --exit-without-intercept contradict each other: name one");
  }
  const ports = parsePorts(given.ports ?? "0");
  const workers = workersOf(given, ports, isOffline ? input.files : []);
  const port = given.port === undefined ? DEFAULT_TUNNEL_PORT : parsePort(given.port, "-p");
  return {
    transfers,
    intercepts: parseHosts(given.intercept, "-s", port),
    clientAddresses: given.clientIp === undefined
      ? new Int32Array(0)
      : parseClientAddresses(given.clientIp),
    allowedUnsafe: given.allowUnsafe === undefined
      ? new Set()
      : parseUnsafeKinds(given.allowUnsafe),
    tunnelConnections: given.connections,
    tunnelForm: tunnelFormOf(given),
    startsWithoutIntercept: given.lonely,
    endsWithoutIntercept: given.exitWithoutIntercept,
    sampling: samplingOf(given),
    strategy: strategyOf(given),
    copies: given.copies,
    waitForAnswers: !given.noWait,
    localhostAddress: given.localhost === undefined ? 0 : parseAddress(given.localhost, "-H"),
    ports,
    live: isOffline ? undefined : input.live,
    sessionTimeoutMs: timeoutS * 1000,
    keepAliveTimeoutMs: (given.keepAlive ?? 0) * 1000,
    answerTimeoutMs: given.answerTimeout * 1000,
    maxLagMs: given.maxLag * 1000,
    // A file has an end, so nothing in it can go round for ever.
    maxGenerations: isOffline ? MAX_GENERATIONS : given.replayReplayed,
    replaysTls: given.tlsAsIs,
    checksums: given.ignoreChecksums
      ? "do not matter"
      : isOffline
      ? "mostly right"
      : "must be right",
    maxMemoryBytes: given.memory * (1 << 20),
    workers,
    mtuBytes: given.mtu,
    mssBytes: Math.min(given.mss, given.mtu - 40),
    inject: given.inject,
    outputDevice: given.outputDevice,
    process: given,
    notices: meaninglessNotices(given),
    libpcapPath: given.libpcap,
    offline: !isOffline ? undefined : {
      paths: input.files,
      allowTruncated: input.allowTruncated,
      acceleration: given.acceleration,
      maxGapMs: given.interval,
      times: given.times,
    },
  };
}
