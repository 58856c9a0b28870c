/** Chooses how packets leave. */

import { SystemError } from "../../ffi/errno.ts";
import { outgoingIpsecPolicies } from "../inject/ipsec.ts";
import { type HardwareAddresses, LinkInjector } from "../inject/link.ts";
import { outputDeviceIndex, PcapInjector } from "../inject/pcap.ts";
import { RawIpInjector } from "../inject/raw_ip.ts";
import { UsageError } from "../cli/fatal.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Transfer } from "../session/transfer.ts";
import { formatIpv4 } from "../wire/ipv4.ts";

/**
 * Ways packets leave: by raw IP, as frames where that is possible, as frames through libpcap; "auto":
 * frames or raw IP, as `chooseWay` finds.
 */
export type InjectWay = "auto" | "raw" | "link" | "pcap";

/**
 * Chooses: frames, which cost less and leave the local connection tracking alone, unless that could
 * take packets past IPsec. Whoever names a device or hardware addresses means frames.
 *
 * @param ipsecPolicies as of `outgoingIpsecPolicies`
 * @returns the way; and where it is not frames, why
 */
export function chooseWay(
  { inject, outputDevice, transfers }: InjectorChoice,
  ipsecPolicies: () => number | undefined,
): [way: Exclude<InjectWay, "auto">, reason?: string] {
  if (inject !== "auto") return [inject];
  if (outputDevice !== undefined || addressesOf(transfers).size > 0) return ["link"];
  const policies = ipsecPolicies();
  if (policies === 0) return ["link"];
  return [
    "raw",
    policies === undefined
      ? "packets leave by raw IP: the kernel does not tell whether they need IPsec, as it does with " +
        "CAP_NET_ADMIN; where they do not, --inject link costs less"
      : `packets leave by raw IP: frames would go past the IPsec policies (${policies} for outgoing ` +
        "packets); where these are for others, --inject link costs less",
  ];
}

/** What decides about the injector. */
export interface InjectorChoice {
  inject: InjectWay;
  /** The device frames leave by; by default what the routing table says. */
  outputDevice?: string;
  /** The libpcap to use instead of the system's. */
  libpcapPath?: string;
  transfers: readonly Transfer[];
}

/**
 * Opens the injector.
 *
 * @param onNotice told what the user should know
 * @throws Error for a device that cannot be used; SystemError without the privilege to send packets
 */
export function openInjector(
  choice: InjectorChoice,
  loop: EventLoop,
  onNotice: (text: string, isTrouble: boolean) => void,
): RawIpInjector {
  const { outputDevice, libpcapPath } = choice;
  const hardwareAddresses = addressesOf(choice.transfers);
  const [way, reason] = chooseWay(choice, outgoingIpsecPolicies);
  if (way === "raw") {
    if (hardwareAddresses.size > 0) {
      onNotice("hardware addresses in -x are used by --inject link and pcap only", true);
    }
    const injector = new RawIpInjector({ loop });
    if (reason !== undefined) onNotice(reason, false);
    return injector;
  }
  const shared = { loop, onNotice, hardwareAddresses };
  if (way === "link") {
    const device = outputDevice === undefined ? undefined : outputDeviceIndex(outputDevice);
    try {
      return new LinkInjector({ ...shared, device });
    } catch (error) {
      const isAsked = choice.inject === "link" || device !== undefined;
      if (isAsked || hardwareAddresses.size > 0 || !(error instanceof SystemError)) throw error;
      // A sandbox without packet sockets. What forbids raw ones too says so itself.
      const injector = new RawIpInjector({ loop });
      onNotice(`packets leave by raw IP: ${error.message}`, false);
      return injector;
    }
  }
  if (outputDevice === undefined) {
    throw new UsageError("--inject pcap needs -o: the network device packets leave by");
  }
  return new PcapInjector({ ...shared, deviceName: outputDevice, libpcapPath });
}

/** The hardware addresses named in `-x`, by target address. */
function addressesOf(transfers: readonly Transfer[]): Map<number, HardwareAddresses> {
  const found = new Map<number, HardwareAddresses>();
  for (const { targetAddress, sourceMac: source, targetMac: destination } of transfers) {
    if (source === undefined && destination === undefined) continue;
    const known = found.get(targetAddress);
    if (
      known !== undefined &&
      (differ(known.source, source) || differ(known.destination, destination))
    ) {
      throw new UsageError(
        `-x: two pairs name different hardware addresses for ${formatIpv4(targetAddress)}`,
      );
    }
    found.set(targetAddress, {
      source: source ?? known?.source,
      destination: destination ?? known?.destination,
    });
  }
  return found;
}

function differ(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one !== undefined && other !== undefined && one.some((byte, at) => byte !== other[at]);
}
