/** The command line of trafficdump. */

import { merge, object } from "@optique/core/constructs";
import { multiple, optional, withDefault } from "@optique/core/modifiers";
import { flag, option } from "@optique/core/primitives";
import { choice, integer, string } from "@optique/core/valueparser";
import { parsePort } from "../cli/addresses.ts";
import { UsageError } from "../cli/fatal.ts";
import { type ProcessOptions, processOptions } from "../cli/process_options.ts";
import { message, readCommandLine } from "../cli/program.ts";
import { MIN_INTERVAL_S } from "../sampling/strategy.ts";

/** Where a proxy listens, and what it forwards to. */
export interface ProxyPair {
  hostname: string;
  port: number;
  upstream: { hostname: string; port: number };
}

/** What the user asked for. */
export interface TrafficdumpOptions {
  config: string | undefined;
  global: string | undefined;
  minIntervalS: number | undefined;
  /** Whether a strategy that cannot be used at the start ends the program, or leaves sampling off. */
  refusesInvalid: boolean;
  /** Ports to capture; empty: the configuration's listeners. */
  ports: number[];
  capture: "raw" | "ring" | "pcap";
  device: string;
  bufferBytes: number;
  proxies: ProxyPair[];
  filters: string[];
  maxConnections: number;
  idleTimeoutMs: number;
  logDirectory: string;
  withPackets: boolean;
  /** Whether lines are Layotto's byte for byte; undefined: if the configuration is. */
  asLayotto: boolean | undefined;
  fileBytes: number;
  fileAgeMs: number;
  maxDiskBytes: number;
  minFreeBytes: number | undefined;
  queueBytes: number;
  /** The Unix socket; undefined for none. */
  endpoint: string | undefined;
  endpointMode: number;
  endpointGroupId: number | undefined;
  portraitTcp: { hostname: string; port: number } | undefined;
  process: ProcessOptions;
  libpcapPath: string | undefined;
}

const sampling = object("When", {
  config: optional(
    option("-c", "--config", string({ metavar: "FILE" }), {
      description:
        message`The sampling strategy: a Layotto configuration as it stands, {"app": …, "global": …}, or a single strategy. Read again when it changes, and on SIGHUP.`,
    }),
  ),
  global: optional(
    option("-g", "--global", string({ metavar: "FILE" }), {
      description:
        message`The global strategy, which can be ON, OFF and FORCE_OFF, in a file of its own.`,
    }),
  ),
  minInterval: optional(
    option("--min-interval", integer({ min: 1, max: MIN_INTERVAL_S, metavar: "SECONDS" }), {
      description:
        message`Allow intervals shorter than 30 s, down to this: for tests and short incidents.`,
    }),
  ),
  invalidStrategy: withDefault(
    option("--invalid-strategy", choice(["refuse", "off"], { metavar: "WHAT" }), {
      description:
        message`At the start, a strategy that cannot be used: "refuse" ends the program with the reason; "off" logs it and samples nothing until a good one comes, as Layotto does.`,
    }),
    "refuse" as const,
  ),
});

const sources = object("What", {
  port: optional(
    option("-p", "--port", string({ metavar: "PORTS" }), {
      description:
        message`Ports whose requests are dumped, separated by commas (default: the listeners with a tcpcopy filter in a Layotto configuration, at their addresses, unless there is a proxy).`,
    }),
  ),
  capture: withDefault(
    option("--capture", choice(["raw", "ring", "pcap"], { metavar: "WAY" }), {
      description:
        message`How packets are captured: "raw", by a raw socket, behind the local firewall; "ring", through memory shared with the kernel; "pcap", by libpcap on a device.`,
    }),
    "raw" as const,
  ),
  device: withDefault(
    option("-i", "--device", string({ metavar: "DEVICE" }), {
      description: message`The device to capture on, with --capture pcap.`,
    }),
    "any",
  ),
  buffer: withDefault(
    option("--buffer", integer({ min: 1, max: 1024, metavar: "MB" }), {
      description: message`Kernel buffer for captured packets.`,
    }),
    64,
  ),
  libpcap: optional(
    option("--libpcap", string({ metavar: "PATH" }), {
      description: message`The libpcap to use instead of the system's.`,
    }),
  ),
  proxy: optional(
    option("--proxy", string({ metavar: "PAIRS" }), {
      description:
        message`Forward connections instead of capturing packets: [address:]port-host:port, several separated by commas.`,
    }),
  ),
  filter: multiple(
    option("--filter", string({ metavar: "FILE" }), {
      description:
        message`A module with a network filter of your own, in front of the dump; may be repeated.`,
    }),
  ),
  maxConnections: withDefault(
    option("--max-connections", integer({ min: 1, max: 1_000_000, metavar: "N" }), {
      description: message`Most connections through a proxy at a time; more wait.`,
    }),
    50_000,
  ),
  idleTimeout: withDefault(
    option("--idle-timeout", integer({ min: 1, max: 86400 * 7, metavar: "SECONDS" }), {
      description:
        message`Close a connection through a proxy on which nothing has moved for so long; after a minute where the service has ended already.`,
    }),
    3600,
  ),
});

const files = object("Where to", {
  logDir: optional(
    option("--log-dir", string({ metavar: "DIRECTORY" }), {
      description:
        message`Files go into DIRECTORY/dump (default: /home/admin/logs/mosn, as Layotto on Linux, where that home exists, else $HOME/logs/mosn).`,
    }),
  ),
  noPcapng: optional(
    flag("--no-pcapng", { description: message`Write no packets, only Layotto's log files.` }),
  ),
  layottoTime: optional(
    flag("--layotto-time", {
      description:
        message`Write lines as Layotto does: time and level in front, JSON with its keys sorted and <, > and & escaped (default where -c names a Layotto configuration).`,
    }),
  ),
  noLayottoTime: optional(
    flag("--no-layotto-time", { description: message`Do not, whatever -c names.` }),
  ),
  rotateSize: withDefault(
    option("--rotate-size", integer({ min: 1, max: 100_000, metavar: "MB" }), {
      description:
        message`Set a log file aside when it is so long (at most a quarter of --max-disk).`,
    }),
    100,
  ),
  rotateHours: withDefault(
    option("--rotate-hours", integer({ min: 1, max: 8784, metavar: "HOURS" }), {
      description: message`Set a log file aside when it is so old.`,
    }),
    24,
  ),
  maxDisk: withDefault(
    option("--max-disk", integer({ min: 8, metavar: "MB" }), {
      description: message`Cap on all files together; the oldest are deleted.`,
    }),
    1024,
  ),
  minFree: optional(
    option("--min-free", integer({ min: 0, metavar: "MB" }), {
      description:
        message`Free space that is left to others (default: 10 % of the file system, at most 1 GB).`,
    }),
  ),
  queue: withDefault(
    option("--queue", integer({ min: 4, max: 4096, metavar: "MB" }), {
      description:
        message`Most data on its way to the disk; above it records are shed and counted.`,
    }),
    64,
  ),
});

const operation = object("Endpoint", {
  endpoint: optional(
    option("--endpoint", string({ metavar: "PATH" }), {
      description:
        message`Unix socket for portrait data and control, HTTP; "none" for none (default: trafficdump.sock in the log directory).`,
    }),
  ),
  endpointMode: withDefault(
    option("--endpoint-mode", string({ metavar: "OCTAL" }), {
      description: message`Permissions of the socket; who may write to it may control the dump.`,
    }),
    "660",
  ),
  endpointGroup: optional(
    option("--endpoint-group", string({ metavar: "GROUP" }), {
      description:
        message`Group of the socket, by name or number: that of the applications which report.`,
    }),
  ),
  portraitTcp: optional(
    option("--portrait-tcp", string({ metavar: "PORT" }), {
      description: message`Also accept portrait data on 127.0.0.1:PORT.`,
    }),
  ),
});

const parser = merge(sampling, sources, files, operation, processOptions);

/**
 * Reads the command line; ends the process for help, version and mistakes in the options' form.
 *
 * @throws UsageError for values that make no sense
 */
export function readOptions(): TrafficdumpOptions {
  const given = readCommandLine(parser, {
    name: "trafficdump",
    brief: message`Dumps samples of the requests a service gets, while the system is not busy.`,
    examples:
      message`trafficdump -c config_apollo.json — as Layotto would; trafficdump -c strategy.json --proxy 8080-127.0.0.1:9090 — as a proxy`,
  });
  if (given.config === undefined && given.global === undefined && given.endpoint === "none") {
    throw new UsageError("-c: expected a file with a strategy, or an endpoint to get one by");
  }
  const { proxy, filter } = given;
  if (filter.length > 0 && proxy === undefined) {
    throw new UsageError("--filter is for a proxy: say with --proxy what it forwards");
  }
  if (given.layottoTime === true && given.noLayottoTime === true) {
    throw new UsageError("--layotto-time, --no-layotto-time: expected one of them");
  }
  if (!/^[0-7]{3}$/.test(given.endpointMode)) {
    throw new UsageError(
      `--endpoint-mode: expected three octal digits such as 660, got "${given.endpointMode}"`,
    );
  }
  const logDirectory = absolute(given.logDir ?? defaultLogDirectory());
  const MB = 1 << 20;
  return {
    config: given.config === undefined ? undefined : absolute(given.config),
    global: given.global === undefined ? undefined : absolute(given.global),
    minIntervalS: given.minInterval,
    refusesInvalid: given.invalidStrategy === "refuse",
    ports: (given.port?.split(",") ?? []).map((port) => parsePort(port.trim(), "-p")),
    capture: given.capture,
    device: given.device,
    bufferBytes: given.buffer * MB,
    proxies: proxy?.split(",").map(parseProxy) ?? [],
    filters: filter.map(absolute),
    maxConnections: given.maxConnections,
    idleTimeoutMs: given.idleTimeout * 1000,
    logDirectory,
    withPackets: given.noPcapng !== true,
    asLayotto: given.layottoTime === true ? true : given.noLayottoTime === true ? false : undefined,
    fileBytes: given.rotateSize * MB,
    fileAgeMs: given.rotateHours * 3_600_000,
    maxDiskBytes: given.maxDisk * MB,
    minFreeBytes: given.minFree === undefined ? undefined : given.minFree * MB,
    queueBytes: given.queue * MB,
    endpoint: given.endpoint === "none"
      ? undefined
      : absolute(given.endpoint ?? `${logDirectory}/trafficdump.sock`),
    endpointMode: parseInt(given.endpointMode, 8),
    endpointGroupId: given.endpointGroup === undefined ? undefined : groupId(given.endpointGroup),
    portraitTcp: given.portraitTcp === undefined
      ? undefined
      : { hostname: "127.0.0.1", port: parsePort(given.portraitTcp, "--portrait-tcp") },
    process: given,
    libpcapPath: given.libpcap,
  };
}

/** The number of a group, as /etc/group has it: group(5). */
function groupId(group: string): number {
  if (/^\d{1,9}$/.test(group)) return Number(group);
  const line = Deno.readTextFileSync("/etc/group").split("\n")
    .find((line) => line.startsWith(`${group}:`));
  const id = Number(line?.split(":")[2] || NaN);
  if (Number.isInteger(id)) return id;
  throw new UsageError(
    `--endpoint-group "${group}": expected a group of /etc/group, or its number`,
  );
}

const PROXY_FORM = "[address:]port-host:port, for example 8080-127.0.0.1:9090";

function parseProxy(text: string): ProxyPair {
  const match = /^(?:([^:\s]+):)?(\d+)-([^:\s]+):(\d+)$/.exec(text.trim());
  if (match === null) throw new UsageError(`--proxy "${text}": expected ${PROXY_FORM}`);
  return {
    hostname: match[1] ?? "0.0.0.0",
    port: parsePort(match[2], "--proxy"),
    upstream: { hostname: match[3], port: parsePort(match[4], "--proxy") },
  };
}

/** Where Layotto's files are. */
function defaultLogDirectory(): string {
  try {
    if (Deno.statSync("/home/admin").isDirectory) return "/home/admin/logs/mosn";
  } catch {
    // There is no such home, or it is not ours to see.
  }
  const home = Deno.env.get("HOME");
  if (home === undefined) throw new UsageError("--log-dir: expected a directory, HOME is not set");
  return `${home}/logs/mosn`;
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}
