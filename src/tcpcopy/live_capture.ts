/** Opens what live packets come from: a raw socket, packet rings or libpcap, on one or more devices. */

import type { CapturePair } from "../capture/bpf.ts";
import { chooseDevices } from "../capture/device_choice.ts";
import { destinationExpression } from "../capture/filter_expression.ts";
import { type NetworkDevice, networkDevices } from "../capture/network_devices.ts";
import { PcapDeviceCapture } from "../capture/pcap_device.ts";
import { RawSocketCapture } from "../capture/raw_socket.ts";
import { RingCapture } from "../capture/ring.ts";
import type { CaptureSource } from "../capture/source.ts";
import { UsageError } from "../cli/fatal.ts";
import { refuseOverlap } from "../cli/overlap.ts";
import { kindOfPath } from "../cli/paths.ts";
import { LinkType } from "../wire/link_type.ts";
import type { Partition } from "../wire/partition.ts";

/** How live packets are captured. */
export interface LiveCapture {
  way: "raw" | "ring" | "pcap";
  /**
   * Devices by name; empty for those where each arriving packet is seen once. Not for a raw socket; a
   * ring without devices takes what is for this host, on whichever device.
   */
  devices: readonly string[];
  /** Which packets, in the language of pcap-filter(7); by default made from the destinations. */
  filter: string | undefined;
  /** Kernel buffer of each device, bytes. */
  bufferBytes: number | undefined;
  /** Bytes kept of each packet; all by default. */
  snapLength: number | undefined;
  /** Whether TCP inside VXLAN, GRE, ERSPAN and IP in IP is captured too. */
  stripsTunnels: boolean;
  libpcapPath: string | undefined;
}

/** What one of several captures side by side gets. */
export interface CaptureShare {
  /** Whose packets it is for. */
  partition: Partition;
  /** How much captured payload may wait, bytes. */
  maxPayloadBytes: number;
}

/** Captures, and what to call them. */
export interface OpenedCapture {
  sources: CaptureSource[];
  /** Whether packets of other parts are kept away by the kernel; otherwise all come. */
  isSorted: boolean;
  /** Continues "capturing with". */
  description: string;
  /** What does not work as asked for, but does work. */
  warnings: string[];
}

/**
 * The kernel's memory for packets of all parts together, within the cap: at most this share of what
 * payload may take. Rings, also libpcap's, take it from the start, a socket's buffer as it fills.
 */
const SHARE_OF_PAYLOAD = 3 / 8;
const MAX_KERNEL_BYTES = 192 << 20;
/** The kernel allows for its book-keeping: a buffer may take twice its size. */
const KERNEL_BYTES_PER_BUFFER_BYTE = 2;
const MIN_DEVICE_BUFFER_BYTES = 2 << 20;
const MAX_DEVICES = 64;
/** More than the largest packet with any link header: what tcpdump keeps too. */
const WHOLE_PACKETS_BYTES = 262_144;

/** Whether all that is captured has come to this host, where the service is. */
export function isServiceHere({ way, devices, stripsTunnels }: LiveCapture): boolean {
  return way === "raw" || (devices.length === 0 && !stripsTunnels);
}

/**
 * Opens the captures. They start later.
 *
 * @throws Error, one sentence, for a device, filter or buffer that cannot be had; SystemError EPERM
 * without root or CAP_NET_RAW
 */
export function openCapture(
  pairs: readonly CapturePair[],
  live: LiveCapture,
  { partition, maxPayloadBytes }: CaptureShare,
): OpenedCapture {
  const { count } = partition;
  const givenBytes = live.bufferBytes === undefined
    ? undefined
    : Math.floor(live.bufferBytes / count);
  const share = Math.floor(maxPayloadBytes * SHARE_OF_PAYLOAD);
  const kernelBytes = Math.min(share, Math.floor(MAX_KERNEL_BYTES / count));
  if (live.way === "raw") {
    const bufferBytes = Math.floor(kernelBytes / KERNEL_BYTES_PER_BUFFER_BYTE);
    return openRawSocket(pairs, partition, givenBytes ?? bufferBytes);
  }
  const forThisHost = live.devices.length === 0 && live.filter === undefined && !live.stripsTunnels;
  if (live.way === "ring" && forThisHost) {
    const source = RingCapture.toDestinations({
      pairs,
      bufferBytes: givenBytes ?? kernelBytes,
      partition,
    });
    const description = `a packet ring (${source.bufferBytes >>> 20} MB)`;
    return { sources: [source], isSorted: true, description, warnings: [] };
  }
  const devices = devicesOf(live);
  const bufferBytes = givenBytes ??
    Math.max(MIN_DEVICE_BUFFER_BYTES, Math.floor(kernelBytes / devices.length));
  const sources: CaptureSource[] = [];
  const warnings: string[] = [];
  try {
    for (const { name, hardware } of devices) {
      const filter = live.filter ?? destinationExpression(pairs, {
        stripsTunnels: live.stripsTunnels,
        linkType: hasEthernet(hardware) ? LinkType.Ethernet : LinkType.Raw,
      });
      const { libpcapPath } = live;
      if (live.way === "ring") {
        const shared = { device: name, filter, bufferBytes, libpcapPath, promiscuous: true };
        sources.push(RingCapture.onDevice({ ...shared, snapLength: live.snapLength }));
        continue;
      }
      const snapLength = live.snapLength ?? WHOLE_PACKETS_BYTES;
      const shared = { device: name, filter, bufferBytes, libpcapPath, promiscuous: true };
      const source = new PcapDeviceCapture({ ...shared, snapLength });
      sources.push(source);
      if (source.warning !== undefined) warnings.push(`${name}: ${source.warning}`);
    }
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
  const names = devices.map(({ name }) => name).join(", ");
  const what = live.way === "ring" ? "packet rings" : "libpcap";
  const mb = Math.round(bufferBytes / (1 << 20));
  // In what a mirror wraps up, and behind words of a given filter, the kernel finds no ports.
  const isSorted = count === 1;
  return { sources, isSorted, description: `${what} on ${names} (buffer ${mb} MB each)`, warnings };
}

function openRawSocket(
  pairs: readonly CapturePair[],
  partition: Partition,
  receiveBufferBytes: number,
): OpenedCapture {
  const source = new RawSocketCapture({ pairs, receiveBufferBytes, partition });
  const mb = (source.receiveBufferBytes / (1 << 20)).toFixed(1);
  return {
    sources: [source],
    isSorted: true,
    description: `a raw socket (buffer ${mb} MB)`,
    warnings: source.warning === undefined ? [] : [source.warning],
  };
}

/** ARPHRD_ETHER and ARPHRD_LOOPBACK. */
function hasEthernet(hardware: number): boolean {
  return hardware === 1 || hardware === 772;
}

function devicesOf(live: LiveCapture): NetworkDevice[] {
  const all = networkDevices();
  const names = [...new Set(live.devices)];
  if (names.length === 0 || (names.length === 1 && names[0] === "any")) {
    const chosen = chooseDevices(all, live.stripsTunnels);
    if (chosen.length === 0) {
      throw new UsageError("no network device is up: name one with -i, see `ip link`");
    }
    if (chosen.length > MAX_DEVICES) {
      throw new UsageError(
        `${chosen.length} network devices are up, ${MAX_DEVICES} are captured from at most: name ` +
          "those the requests arrive at with -i",
      );
    }
    return chosen;
  }
  const devices = names.map((name) =>
    all.find((device) => device.name === name) ?? unknown(name, all)
  );
  refuseOverlap(all, devices);
  return devices;
}

function unknown(name: string, all: readonly NetworkDevice[]): never {
  const known = all.map((device) => device.name).join(", ");
  throw new UsageError(
    kindOfPath(name) === "file"
      ? `-i ${name}: this is a file, and with --capture pcap or ring -i names network devices ` +
        `(${known}); leave --capture out to replay the file`
      : `-i ${name}: there is neither a network device of that name (there are ${known}) nor a file`,
  );
}
