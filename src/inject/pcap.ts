/**
 * Sends finished IPv4 packets as Ethernet frames through libpcap. May touch `ffi`.
 *
 * For libpcap builds that send in a way of their own. One call per frame: libpcap has none for
 * several. All else is as in `LinkInjector`: where a frame goes, and that what cannot be a frame
 * leaves by a raw IP socket, here bound to the same device.
 */

import { deviceIndex } from "../../ffi/packet_ring.ts";
import { libpcap } from "../../ffi/libpcap.ts";
import { pcapDevices, PcapDirection, PcapHandle } from "../../ffi/pcap_handle.ts";
import { activationError } from "../capture/pcap_device.ts";
import { LinkType } from "../wire/link_type.ts";
import { LinkInjector, type LinkInjectorOptions } from "./link.ts";

/** What a `PcapInjector` is made from. */
export interface PcapInjectorOptions extends Omit<LinkInjectorOptions, "device"> {
  /** Name of the device frames leave by. */
  deviceName: string;
  /** The libpcap to use instead of the system's. */
  libpcapPath?: string;
}

/** Nothing is received here; libpcap wants some bytes for it all the same. */
const RECEIVE_BUFFER_BYTES = 1 << 16;
const RECEIVE_NOTHING = "greater 262145";
const RECEIVE_SNAP_BYTES = 64;

/**
 * The kernel's number for a device.
 *
 * @throws Error when there is none of that name
 */
export function outputDeviceIndex(name: string): number {
  const index = deviceIndex(name);
  if (index !== 0) return index;
  throw new Error(`Output device "${name}" does not exist: see \`ip link\`.`);
}

/** A queue of packets in front of libpcap, with a raw IP socket beside it. */
export class PcapInjector extends LinkInjector {
  readonly #handle: PcapHandle;
  #closed = false;

  /**
   * @throws Error for a device that does not exist, may not be opened or is no Ethernet, or without
   * libpcap
   */
  constructor(options: PcapInjectorOptions) {
    super({ ...options, device: outputDeviceIndex(options.deviceName) });
    try {
      this.#handle = openForSending(options.deviceName, options.libpcapPath);
    } catch (error) {
      super.close();
      throw error;
    }
  }

  override close(): void {
    super.close();
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
  }

  protected override sendFrames(first: number, count: number): number {
    for (let sent = 0; sent < count; sent++) {
      const address = this.memory.addressAt(this.frameOffset(first + sent));
      const result = this.#handle.inject(address, this.frameBytes(first + sent));
      // What went wrong shows again when it is the first one's turn.
      if (result < 0) return sent > 0 ? sent : result;
    }
    return count;
  }
}

function openForSending(device: string, libpcapPath: string | undefined): PcapHandle {
  const lib = libpcap(libpcapPath);
  const handle = PcapHandle.create(lib, device);
  try {
    handle.setSnapLength(RECEIVE_SNAP_BYTES);
    handle.setBufferSize(RECEIVE_BUFFER_BYTES);
    const status = handle.activate();
    if (status < 0) throw activationError(device, status, handle, () => pcapDevices(lib));
    const refusal = !handle.setFilter(RECEIVE_NOTHING) || !handle.setDirection(PcapDirection.In)
      ? handle.errorText
      : handle.setNonBlocking();
    if (refusal !== undefined) throw new Error(`Output device "${device}" failed: ${refusal}.`);
    if (handle.linkType !== LinkType.Ethernet) {
      throw new Error(
        `Output device "${device}" is no Ethernet: choose --inject raw, or another device.`,
      );
    }
    return handle;
  } catch (error) {
    handle.close();
    throw error;
  }
}
