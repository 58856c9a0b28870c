/** The command line of intercept. Short names are the original's. */

import { merge, object } from "@optique/core/constructs";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { choice, integer, string } from "@optique/core/valueparser";
import { parsePort } from "../cli/addresses.ts";
import { resolveIpv4 } from "../cli/resolve.ts";
import { UsageError } from "../cli/fatal.ts";
import { message, readCommandLine } from "../cli/program.ts";
import { MAX_WORKERS, parseWorkers } from "../cli/workers.ts";
import { DEFAULT_TUNNEL_PORT } from "../tunnel/codec.ts";

/** What the user asked for. */
export interface InterceptOptions {
  devices: string[];
  filter: string;
  /** How packets are captured. */
  capture: "pcap" | "ring";
  bindAddress: number;
  port: number;
  maxCombined: number;
  bufferBytes: number;
  /** Threads the responses are shared among; 1: all in the main thread. */
  workers: number;
  logFile: string | undefined;
  libpcapPath: string | undefined;
}

const capture = object("Capture", {
  devices: option("-i", "--device", string({ metavar: "DEVICES" }), {
    description:
      message`Network devices the target's responses arrive at, several separated by commas; "any" for all. Required.`,
  }),
  filter: withDefault(
    option("-F", "--filter", string({ metavar: "FILTER" }), {
      description:
        message`What the responses are, in the language of pcap-filter(7), for example "src host 198.18.0.2 and src port 8080".`,
    }),
    "tcp",
  ),
  way: withDefault(
    option("--capture", choice(["pcap", "ring"], { metavar: "WAY" }), {
      description:
        message`How packets are captured: "pcap", by libpcap; "ring", through memory shared with the kernel; libpcap then only compiles the filter, which cannot ask for VLANs, and "any" means IPv4 only.`,
    }),
    "pcap",
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

const tunnel = object("Tunnel and log", {
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
  log: optional(
    option("-l", "--log-file", string({ metavar: "FILE" }), {
      description: message`Append the log to this file instead of standard error.`,
    }),
  ),
});

/**
 * Reads the command line; ends the process for help, version and mistakes in the options' form.
 *
 * @throws UsageError for values that make no sense
 */
export async function readOptions(): Promise<InterceptOptions> {
  const given = readCommandLine(merge(capture, tunnel), {
    name: "intercept",
    brief: message`Catches a test server's responses and tells tcpcopy what was answered.`,
    examples:
      message`intercept -i eth0 -F "src host 198.18.0.2 and src port 8080" — on the host the target routes its responses to`,
  });
  const devices = given.devices.split(",").map((device) => device.trim());
  if (devices.some((device) => device === "")) {
    throw new UsageError(`-i "${given.devices}": expected device names separated by commas`);
  }
  return {
    devices,
    filter: given.filter,
    capture: given.way,
    bindAddress: given.bind === undefined ? 0 : await resolveIpv4(given.bind, "-b"),
    port: given.port === undefined ? DEFAULT_TUNNEL_PORT : parsePort(given.port, "-p"),
    maxCombined: given.maxCombined,
    bufferBytes: given.buffer * (1 << 20),
    workers: parseWorkers(given.workers),
    logFile: given.log,
    libpcapPath: given.libpcap,
  };
}
