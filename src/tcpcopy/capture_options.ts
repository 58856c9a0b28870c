/** The part of tcpcopy's command line that says where packets come from and how they leave. */

import { object } from "@optique/core/constructs";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { choice, integer, string } from "@optique/core/valueparser";
import { isDumpLog } from "../capture/dump_log.ts";
import { MAX_RECORDING_FILES } from "../capture/recording.ts";
import { UsageError } from "../cli/fatal.ts";
import { kindOfPath } from "../cli/paths.ts";
import { message } from "../cli/program.ts";
import type { LiveCapture } from "./live_capture.ts";
import type { InjectWay } from "./injector.ts";

/** A whole frame on Ethernet is longer than the smallest snap length; headers always fit. */
const MIN_SNAP_BYTES = 256;
const MAX_SNAP_BYTES = 262_144;

/** Options of capture and injection. */
export const captureOptions = object("Where packets come from, and how they leave", {
  capture: optional(
    option("--capture", choice(["raw", "ring", "pcap"], { metavar: "WAY" }), {
      description:
        message`How live packets are captured. "raw" (the default): by a raw socket, behind the local firewall; this host's own requests only. "ring": through memory shared with the kernel, 192 MB or less with a smaller -m, for where the kernel grants no large socket buffers (containers without CAP_NET_ADMIN); sees packets before the local firewall does, also those this host only forwards (name the address in -x), and skips IP fragments. "pcap": by libpcap, on the devices of -i, also packets for other hosts (mirror ports).`,
    }),
  ),
  input: optional(
    option("-i", "--input", string({ metavar: "FILES|DEVICES" }), {
      description:
        message`Replay these capture files instead of live packets: pcap or pcapng, plain or compressed with gzip or zstd, several separated by commas and merged by time; - is standard input. Or one dump_tcp_copy.log. With --capture pcap or ring: the network devices to capture from (default: all on which each packet arrives once).`,
    }),
  ),
  filter: optional(
    option("-F", "--filter", string({ metavar: "FILTER" }), {
      description:
        message`Which packets are captured, in the language of pcap-filter(7), with --capture pcap or ring (default: made from -x).`,
    }),
  ),
  buffer: optional(
    option("-B", "--buffer", integer({ min: 1, max: 2047, metavar: "MB" }), {
      description: message`Kernel buffer for captured packets, of each device.`,
    }),
  ),
  snapLength: optional(
    option(
      "-S",
      "--snap-length",
      integer({ min: MIN_SNAP_BYTES, max: MAX_SNAP_BYTES, metavar: "BYTES" }),
      {
        description:
          message`Bytes captured of each packet, with --capture pcap or ring (default: all). Longer packets are cut, and sessions end where bytes are missing.`,
      },
    ),
  ),
  decapsulate: option("--decapsulate", {
    description:
      message`Mirrored traffic (cloud traffic mirroring, ERSPAN): also capture what comes wrapped in VXLAN, GRE, ERSPAN or IP in IP, with --capture pcap or ring. In files it is always found.`,
  }),
  allowTruncated: option("--allow-truncated", {
    description:
      message`Replay files whose packets were cut short when they were recorded; sessions end where bytes are missing.`,
  }),
  ignoreChecksums: option("--ignore-checksums", {
    description:
      message`Replay packets with a wrong TCP checksum, too. Without it they are left out, as their server left them out; in files only where most are right.`,
  }),
  libpcap: optional(
    option("--libpcap", string({ metavar: "PATH" }), {
      description: message`The libpcap to use, for example one built for PF_RING.`,
    }),
  ),
  inject: withDefault(
    option("--inject", choice(["auto", "raw", "link", "pcap"], { metavar: "WAY" }), {
      description:
        message`How packets leave. "raw": through the kernel's routing, firewall, connection tracking and IPsec; "link": as finished frames straight to the device, which costs less, and "raw" where the kernel knows no hardware address; "pcap": the same by libpcap, one call per frame, for special builds of it. "auto" (the default): "link", but "raw" where outgoing IPsec policies are in force or cannot be asked for.`,
    }),
    "auto" as const,
  ),
  outputDevice: optional(
    option("-o", "--output-device", string({ metavar: "DEVICE" }), {
      description:
        message`The network device frames leave by, with --inject link or pcap (default: by the routing table).`,
    }),
  ),
});

/** What the parser gives for `captureOptions`. */
export interface GivenCaptureOptions {
  readonly capture: LiveCapture["way"] | undefined;
  readonly input: string | undefined;
  readonly filter: string | undefined;
  readonly buffer: number | undefined;
  readonly snapLength: number | undefined;
  readonly decapsulate: boolean;
  readonly allowTruncated: boolean;
  readonly libpcap: string | undefined;
  readonly inject: InjectWay;
  readonly outputDevice: string | undefined;
}

/** The files to replay, if it is files; otherwise live packets, and how to capture them. */
export type Input =
  | { files: string[]; allowTruncated: boolean }
  | { live: LiveCapture };

/**
 * Decides what `-i` names: devices when a way to capture from devices is chosen, files otherwise.
 *
 * @throws UsageError for options that do not go together
 */
export function readInput(given: GivenCaptureOptions): Input {
  const way = given.capture ?? "raw";
  const isLive = given.input === undefined || given.capture !== undefined;
  if (given.outputDevice !== undefined && given.inject === "raw") {
    throw new UsageError("-o names the device of --inject link and pcap: choose one of them");
  }
  if (given.outputDevice === undefined && given.inject === "pcap") {
    throw new UsageError("--inject pcap needs -o: the network device packets leave by");
  }
  const forDevices = [
    ["-F", given.filter !== undefined],
    ["-S", given.snapLength !== undefined],
    ["--decapsulate", given.decapsulate],
  ] as const;
  if (!isLive) {
    const unused = [...forDevices.slice(0, 2), ["-B", given.buffer !== undefined] as const];
    for (const [name, isSet] of unused) {
      if (isSet) {
        throw new UsageError(
          `${name} is for live capture, and -i ${given.input} is taken for a file: choose ` +
            "--capture pcap or ring where it names a network device",
        );
      }
    }
    return { files: splitFiles(given.input ?? ""), allowTruncated: given.allowTruncated };
  }
  if (given.allowTruncated) {
    throw new UsageError("--allow-truncated is for offline replay: name a capture file with -i");
  }
  if (way === "raw") {
    if (given.input !== undefined) {
      throw new UsageError(
        `-i ${given.input}: with --capture raw there is nothing to name; leave --capture out where ` +
          "it is a file, choose --capture pcap or ring where it is a network device",
      );
    }
    for (const [name, isSet] of forDevices) {
      if (isSet) throw new UsageError(`${name} is for --capture pcap and ring: choose one of them`);
    }
  }
  return {
    live: {
      way,
      devices: given.input === undefined ? [] : splitNames(given.input),
      filter: given.filter,
      bufferBytes: given.buffer === undefined ? undefined : given.buffer * (1 << 20),
      snapLength: given.snapLength,
      stripsTunnels: given.decapsulate,
      libpcapPath: given.libpcap,
    },
  };
}

/**
 * What a dump's log among the files needs.
 *
 * @throws UsageError when there are other files, or no addresses for its clients
 */
export function assertDumpLogs(files: readonly string[], hasClientAddresses: boolean): void {
  const path = files.find(isDumpLog);
  if (path === undefined) return;
  if (files.length > 1) {
    throw new UsageError(
      `${path} is a dump's log, whose connections cannot be merged with those of other files: ` +
        "replay it alone",
    );
  }
  if (!hasClientAddresses) {
    throw new UsageError(`${path} does not say who the clients were: give them addresses with -c`);
  }
}

/** A name that has a comma itself is one file, if there is such. */
function splitFiles(text: string): string[] {
  if (text.includes(",") && kindOfPath(text) !== undefined) return [text];
  const files = splitNames(text);
  if (files.length > MAX_RECORDING_FILES) {
    throw new UsageError(`-i: at most ${MAX_RECORDING_FILES} files, not ${files.length}`);
  }
  if (files.filter((file) => file === "-").length > 1) {
    throw new UsageError(`-i ${text}: standard input (-) can be read once only`);
  }
  for (const file of files) {
    if (file !== "-" && kindOfPath(file) === undefined) throw new UsageError(describeMissing(file));
  }
  return files;
}

function describeMissing(file: string): string {
  const isDevice = Deno.networkInterfaces().some(({ name }) => name === file) ||
    kindOfPath(`/sys/class/net/${file}`) !== undefined;
  return isDevice && !file.includes("/")
    ? `-i ${file}: there is no such file, but a network device of that name: add --capture pcap to ` +
      "capture from it"
    : `-i ${file}: No such file, and no network device of that name either: expected a pcap or ` +
      "pcapng file, - for standard input, or with --capture pcap a device";
}

function splitNames(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.includes("")) {
    throw new UsageError(`-i "${text}": expected names separated by commas; one of them is empty`);
  }
  return names;
}
