/**
 * Chooses and opens how responses are captured.
 *
 * Intercept may run beside the target, on the way of its responses, or where they end: so what arrives is
 * captured, and what this host itself sends. What it only passes on has arrived before. Thus each
 * packet is taken once; on the loopback, where all is sent and arrives, as it arrives.
 */

import type { Logger } from "@logtape/logtape";
import { ARPHRD_LOOPBACK, sendingDevices } from "../capture/device_choice.ts";
import { networkDevices } from "../capture/network_devices.ts";
import { PcapDeviceCapture } from "../capture/pcap_device.ts";
import { RingCapture } from "../capture/ring.ts";
import { MAX_SOURCES, type SentPackets } from "../capture/ring_filter.ts";
import type { CaptureSource } from "../capture/source.ts";
import { MAX_RECORD_PAYLOAD_BYTES, RECORD_WITH_PAYLOAD_BYTES } from "../tunnel/codec.ts";
import { DEFAULT_TUNNEL_FORM, type TunnelForm } from "../tunnel/form.ts";
import { parseIpv4 } from "../wire/ipv4.ts";
import type { Partition } from "../wire/partition.ts";

/** What decides about the capture on a device. */
export interface ResponseCaptureOptions {
  filter: string;
  /** By libpcap, through a packet ring, or through a ring where it can do what is asked for. */
  capture: "auto" | "pcap" | "ring";
  /** Kernel buffer of each device. */
  bufferBytes: number;
  /** Where tcpcopy connects to: what leaves from there is no response. */
  port: number;
  /** The form of the tunnel; the original's by default. */
  tunnelForm?: TunnelForm;
  libpcapPath: string | undefined;
  /** The clients whose responses are captured here. */
  partition: Partition;
  log: Logger;
}

/**
 * Link header with tags (22), IPv4 header with options (60), TCP header with options (60), and not
 * more than fits 256 bytes in a packet ring.
 */
const SNAP_LENGTH = 176;

/**
 * Opens a device.
 *
 * @throws Error, one sentence, for a device or filter that cannot be used
 */
export function openCapture(device: string, options: ResponseCaptureOptions): CaptureSource {
  const { filter, libpcapPath, partition } = options;
  const { recordBytes } = options.tunnelForm ?? DEFAULT_TUNNEL_FORM;
  const snapLength = SNAP_LENGTH +
    (recordBytes === RECORD_WITH_PAYLOAD_BYTES ? MAX_RECORD_PAYLOAD_BYTES : 0);
  const bufferBytes = Math.max(Math.floor(options.bufferBytes / partition.count), 1 << 20);
  const sent = sentPackets(device, options);
  const shared = { device, filter, snapLength, bufferBytes, libpcapPath, partition, sent };
  const isFirst = partition.index === 0;
  const byLibpcap = () => {
    const capture = new PcapDeviceCapture({ ...shared, immediate: true });
    if (capture.warning !== undefined && isFirst) options.log.warn(`${device}: ${capture.warning}`);
    return capture;
  };
  if (options.capture === "ring") return RingCapture.onDevice(shared);
  if (options.capture === "pcap" || libpcapPath !== undefined) return byLibpcap();
  try {
    return RingCapture.onDevice(shared);
  } catch (error) {
    // Where libpcap cannot do it either, its reason is the one that counts.
    const capture = byLibpcap();
    if (isFirst) options.log.info(`${device} by libpcap: ${(error as Error).message}`);
    return capture;
  }
}

/** What this host sends of its own; nothing on the loopback. */
function sentPackets(
  device: string,
  { port, partition, log }: ResponseCaptureOptions,
): SentPackets | undefined {
  const all = networkDevices();
  if (all.find(({ name }) => name === device)?.hardware === ARPHRD_LOOPBACK) return undefined;
  const own = new Set(Deno.networkInterfaces().map(({ address }) => parseIpv4(address)));
  own.delete(undefined);
  if (own.size > MAX_SOURCES && partition.index === 0) {
    log.warn(
      `${device}: this host has ${own.size} addresses, more than a filter has room for: all that ` +
        "leaves is captured, and what is forwarded here may be taken twice",
    );
  }
  return {
    sources: own.size > MAX_SOURCES ? undefined : [...own] as number[],
    devices: device === "any" ? sendingDevices(all).map(({ index }) => index) : undefined,
    exceptPort: port,
  };
}
