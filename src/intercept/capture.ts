/** Chooses and opens how responses are captured. */

import type { Logger } from "@logtape/logtape";
import { PcapDeviceCapture } from "../capture/pcap_device.ts";
import { RingCapture } from "../capture/ring.ts";
import type { CaptureSource } from "../capture/source.ts";
import { MAX_RECORD_PAYLOAD_BYTES, RECORD_WITH_PAYLOAD_BYTES } from "../tunnel/codec.ts";
import { DEFAULT_TUNNEL_FORM, type TunnelForm } from "../tunnel/form.ts";
import type { Partition } from "../wire/partition.ts";

/** What decides about the capture on a device. */
export interface ResponseCaptureOptions {
  filter: string;
  /** By libpcap, through a packet ring, or through a ring where it can do what is asked for. */
  capture: "auto" | "pcap" | "ring";
  /** Kernel buffer of each device. */
  bufferBytes: number;
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
  const shared = { device, filter, snapLength, bufferBytes, libpcapPath, partition };
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
