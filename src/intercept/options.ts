/** The options of intercept. Short names are the original's. */

import { merge, object } from "@optique/core/constructs";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import type { InferValue } from "@optique/core/parser";
import { choice, integer, string } from "@optique/core/valueparser";
import { networkDevices } from "../capture/network_devices.ts";
import { parseAddress, parsePort } from "../cli/addresses.ts";
import { parseNetworks } from "../cli/networks.ts";
import { refuseOverlap } from "../cli/overlap.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { UsageError } from "../cli/fatal.ts";
import { meaninglessForIntercept, meaninglessNotices } from "../cli/meaningless_options.ts";
import { type ProcessOptions, processOptions } from "../cli/process_options.ts";
import { configuration, message, readSettings, type Settings } from "../cli/program.ts";
import { tunnelFormOf, tunnelOptions } from "../cli/tunnel_options.ts";
import { MAX_WORKERS, parseWorkers } from "../cli/workers.ts";
import type { TunnelForm } from "../tunnel/form.ts";
import { DEFAULT_TUNNEL_PORT } from "../tunnel/codec.ts";

/** What the user asked for. */
export interface InterceptOptions {
  devices: string[];
  filter: string;
  /** How packets are captured. */
  capture: "auto" | "pcap" | "ring";
  bindAddress: number;
  port: number;
  /** Networks tcpcopy may connect from, pairs of address and mask, int32. Absent: all. */
  allow: Int32Array | undefined;
  maxCombined: number;
  bufferBytes: number;
  /** Threads the responses are shared among; 1: all in the main thread. */
  workers: number;
  tunnelForm: TunnelForm;
  /** In single mode: whether a second tcpcopy is refused instead of taking the place of the first. */
  protectsConnections: boolean;
  /** Which destination address of responses stands for which, int32. */
  translation: { from: number; to: number } | undefined;
  process: ProcessOptions;
  /** Lines for the log about options without effect. */
  notices: string[];
  libpcapPath: string | undefined;
}

const capture = object("Capture", {
  devices: option("-i", "--device", string({ metavar: "DEVICES" }), {
    description:
      message`Network devices the target's responses arrive at, or leave by where the target runs on this host; several separated by commas; "any" for all. Required.`,
  }),
  filter: withDefault(
    option("-F", "--filter", string({ metavar: "FILTER" }), {
      description:
        message`What the responses are, in the language of pcap-filter(7), for example "src host 198.18.0.2 and src port 8080".`,
    }),
    "tcp",
  ),
  way: withDefault(
    option("--capture", choice(["auto", "ring", "pcap"], { metavar: "WAY" }), {
      description:
        message`How packets are captured: "ring", through memory shared with the kernel; libpcap then only compiles the filter, which cannot ask for VLANs, and "any" means IPv4 only; "pcap", by libpcap; "auto" (the default), by ring, and by libpcap where the ring cannot, or where --libpcap names one.`,
    }),
    "auto",
  ),
  buffer: withDefault(
    option("--buffer", integer({ min: 1, max: 2047, metavar: "MB" }), {
      description: message`Kernel buffer of each device.`,
    }),
    32,
  ),
  libpcap: optional(
    option("--libpcap", string({ metavar: "PATH" }), {
      description: message`The libpcap to use, for example one built for PF_RING.`,
    }),
  ),
});

const tunnel = object("Tunnel", {
  bind: optional(
    option("-b", "--bind", string({ metavar: "ADDRESS" }), {
      description: message`Listen for tcpcopy on this address only (default: all).`,
    }),
  ),
  port: optional(
    option("-p", "--port", string({ metavar: "PORT" }), {
      description: message`Listen for tcpcopy on this port (default: 36524).`,
    }),
  ),
  allow: optional(
    option("--allow", string({ metavar: "NETWORKS" }), {
      description:
        message`Take connections from these addresses and CIDR networks only, separated by commas (default: from everywhere). Whoever may connect can get the headers of replayed responses.`,
    }),
  ),
  maxCombined: withDefault(
    option("-n", "--max-combined", integer({ min: 1, max: 16, metavar: "N" }), {
      description: message`Most response headers in one tunnel frame.`,
    }),
    16,
  ),
  workers: withDefault(
    option("--workers", string({ metavar: "N" }), {
      description: message`Threads that share the responses, 1 to ${
        String(MAX_WORKERS)
      }, beside one that keeps the tunnels; "auto": one less than there are cores, and not more than 8.`,
    }),
    "1",
  ),
  protect: option("-c", "--protect-connections", {
    description:
      message`With --single: a tcpcopy that is connected stays, a later one is refused; otherwise the later one takes its place.`,
  }),
  translation: optional(
    option("-D", "--docker", string({ metavar: "SEEN-MEANT" }), {
      description:
        message`Responses to the first address belong to connections announced with the second, as behind a container's address translation.`,
    }),
  ),
});

const parser = merge(
  capture,
  tunnel,
  tunnelOptions,
  processOptions,
  configuration,
  meaninglessForIntercept,
);

/** What the parser yields. */
export type GivenInterceptOptions = InferValue<typeof parser>;

/**
 * Reads the options; ends the process for help, version and mistakes in their form.
 *
 * @throws UsageError for a configuration file that cannot be used
 */
export function readOptions(): Settings<GivenInterceptOptions> {
  return readSettings(parser, {
    name: "intercept",
    brief: message`Catches a test server's responses and tells tcpcopy what was answered.`,
    examples:
      message`intercept -i eth0 -F "src host 198.18.0.2 and src port 8080" — on the host the target routes its responses to`,
  });
}

/**
 * Makes sense of the options.
 *
 * @throws UsageError for values that make no sense
 */
export async function interpretOptions(given: GivenInterceptOptions): Promise<InterceptOptions> {
  if (given.protect && !given.single) {
    throw new UsageError("-c protects the one connection of --single: name both, or none");
  }
  const workers = parseWorkers(given.workers);
  if (workers > 1 && given.single) {
    throw new UsageError(
      `--single with --workers ${workers}: the one tcpcopy of --single is served by one thread; ` +
        "leave one of them out",
    );
  }
  const devices = readDevices(given.devices);
  return {
    devices,
    filter: given.filter,
    capture: given.way,
    bindAddress: given.bind === undefined ? 0 : await resolveIpv4(given.bind, "-b"),
    port: given.port === undefined ? DEFAULT_TUNNEL_PORT : parsePort(given.port, "-p"),
    allow: given.allow === undefined ? undefined : parseNetworks(given.allow, "--allow"),
    maxCombined: given.maxCombined,
    bufferBytes: given.buffer * (1 << 20),
    workers,
    tunnelForm: tunnelFormOf(given),
    protectsConnections: given.protect,
    translation: given.translation === undefined ? undefined : parseTranslation(given.translation),
    process: given,
    notices: meaninglessNotices(given),
    libpcapPath: given.libpcap,
  };
}

/** Reads the value of `-i`. What is no device is found out when it is opened. */
function readDevices(text: string): string[] {
  const names = [...new Set(text.split(",").map((name) => name.trim()))];
  if (names.includes("")) {
    throw new UsageError(`-i "${text}": expected device names separated by commas`);
  }
  if (names.length === 1) return names;
  if (names.includes("any")) {
    throw new UsageError(`-i "${text}": "any" is all devices; name it alone`);
  }
  const all = networkDevices();
  refuseOverlap(all, all.filter(({ name }) => names.includes(name)));
  return names;
}

/** Reads the value of `-D`: two addresses with a dash between them. */
function parseTranslation(text: string): { from: number; to: number } {
  const sides = text.split("-");
  if (sides.length !== 2) {
    throw new UsageError(`-D "${text}": expected two addresses, such as 172.17.0.2-192.0.2.1`);
  }
  return { from: parseAddress(sides[0], "-D"), to: parseAddress(sides[1], "-D") };
}
