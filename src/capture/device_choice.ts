/**
 * Which devices to capture from, so that each arriving packet is taken once. Pure.
 *
 * A packet that comes in by a port is seen again on the bridge or bond the port belongs to, and one
 * with a tag again on the VLAN's device. All of them are seen on the lowest device, once.
 */

import type { NetworkDevice } from "./network_devices.ts";

const ARPHRD_ETHER = 1;
export const ARPHRD_LOOPBACK = 772;
/** Devices whose packets begin with what the kernel takes for IP: PPP, tunnels, tun, WireGuard. */
const IP_HARDWARE: ReadonlySet<number> = new Set([512, 519, 768, 769, 776, 778, 65534]);

/** Kinds that show packets of the device they sit on. */
const STACKED_KINDS: ReadonlySet<string> = new Set([
  "vlan",
  "macvlan",
  "macvtap",
  "ipvlan",
  "ipvtap",
  "hsr",
  "dsa",
]);
/** Kinds whose packets a capture that strips tunnels sees on the device below. */
const TUNNEL_KINDS: ReadonlySet<string> = new Set([
  "vxlan",
  "gre",
  "gretap",
  "erspan",
  "ip6gre",
  "ip6gretap",
  "ip6erspan",
  "ipip",
  "sit",
  "ip6tnl",
]);
/** Kinds that see copies only. */
const COPYING_KINDS: ReadonlySet<string> = new Set(["ifb", "nlmon"]);
/** Kinds that never receive, or receive copies. */
const IDLE_KINDS: ReadonlySet<string> = new Set([...COPYING_KINDS, "dummy", "vcan"]);

/**
 * The devices to capture from when none is named: the lowest ones that are up; the loopback only if
 * there is no other.
 *
 * @param stripsTunnels whether the capture sees what is inside VXLAN, GRE and IP in IP anyway
 */
export function chooseDevices(
  all: readonly NetworkDevice[],
  stripsTunnels: boolean,
): NetworkDevice[] {
  const usable = all.filter(({ isUp, hardware, kind }) =>
    isUp && (hardware === ARPHRD_ETHER || IP_HARDWARE.has(hardware)) && !IDLE_KINDS.has(kind) &&
    !(stripsTunnels && TUNNEL_KINDS.has(kind))
  );
  const chosen = usable.filter((device) =>
    !usable.some((other) => shows(all, device, other, new Set()))
  );
  if (chosen.length > 0) return chosen;
  return all.filter(({ isUp, hardware }) => isUp && hardware === ARPHRD_LOOPBACK);
}

/**
 * The devices on which each packet that this host sends is seen once: the lowest ones that are up, and
 * those that swallow what they are given. On the loopback packets are seen as they arrive.
 */
export function sendingDevices(all: readonly NetworkDevice[]): NetworkDevice[] {
  const usable = all.filter(({ isUp, hardware, kind }) =>
    isUp && (hardware === ARPHRD_ETHER || IP_HARDWARE.has(hardware)) && !COPYING_KINDS.has(kind)
  );
  return usable.filter((device) => !usable.some((other) => shows(all, device, other, new Set())));
}

/** Two of the devices that show the same packets, upper and lower one, if there are such. */
export function findOverlap(
  all: readonly NetworkDevice[],
  devices: readonly NetworkDevice[],
): [upper: NetworkDevice, lower: NetworkDevice] | undefined {
  for (const upper of devices) {
    for (const lower of devices) {
      if (upper !== lower && shows(all, upper, lower, new Set())) return [upper, lower];
    }
  }
  return undefined;
}

/** Whether packets that arrive at `lower` are seen on `upper` too. */
function shows(
  all: readonly NetworkDevice[],
  upper: NetworkDevice,
  lower: NetworkDevice,
  visited: Set<number>,
): boolean {
  visited.add(upper.index);
  return all.some((below) => {
    const isBelow = below.master === upper.index ||
      (STACKED_KINDS.has(upper.kind) && upper.lower === below.index);
    if (!isBelow || visited.has(below.index)) return false;
    return below === lower || shows(all, below, lower, visited);
  });
}
