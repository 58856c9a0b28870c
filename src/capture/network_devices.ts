/** The network devices of this host, as the kernel lists them. Touches a netlink socket. */

import {
  findAttribute,
  NETLINK_ROUTE,
  NetlinkSocket,
  NLM_F_DUMP,
  valueBytesAt,
} from "../../ffi/netlink.ts";
import { SystemError } from "../../ffi/errno.ts";

/** A network device. */
export interface NetworkDevice {
  index: number;
  name: string;
  /** Up, and not known to be without carrier. */
  isUp: boolean;
  /** What its packets begin with: an ARPHRD_ number (net/if_arp.h). */
  hardware: number;
  /** The kind of a virtual device ("bridge", "vlan", "veth", …); empty for others. */
  kind: string;
  /** Index of the bridge, bond or other device it is a port of; 0 for none. */
  master: number;
  /** Index of the device it sits on, or is paired with, in this network namespace; 0 for none. */
  lower: number;
}

const RTM_GETLINK = 18;
/** struct ifinfomsg: u8 family, u8 pad, u16 type, s32 index, u32 flags, u32 change. */
const IFINFOMSG_BYTES = 16;
const IFF_UP = 0x1;
const IFF_LOWER_UP = 0x10000;
const IFLA_IFNAME = 3;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_LINK_NETNSID = 37;
const WHAT = "list of network devices";

/**
 * Lists them all.
 *
 * @throws SystemError when the kernel does not answer
 */
export function networkDevices(): NetworkDevice[] {
  const devices: NetworkDevice[] = [];
  const netlink = new NetlinkSocket(NETLINK_ROUTE, WHAT);
  try {
    const result = netlink.ask(
      RTM_GETLINK,
      NLM_F_DUMP,
      (_view, at) => at + IFINFOMSG_BYTES,
      (view, at, end) => {
        if (at + IFINFOMSG_BYTES <= end) devices.push(readDevice(view, at, end));
      },
    );
    if (result < 0) throw new SystemError(WHAT, "rtnetlink", -result);
  } finally {
    netlink.close();
  }
  return devices;
}

function readDevice(view: DataView, at: number, end: number): NetworkDevice {
  const from = at + IFINFOMSG_BYTES;
  const number = (type: number) => {
    const value = findAttribute(view, from, end, type, 4);
    return value < 0 ? 0 : view.getInt32(value, true);
  };
  const info = findAttribute(view, from, end, IFLA_LINKINFO, 0);
  const flags = view.getUint32(at + 8, true);
  const isElsewhere = findAttribute(view, from, end, IFLA_LINK_NETNSID, 4) >= 0;
  return {
    index: view.getInt32(at + 4, true),
    name: readText(view, from, end, IFLA_IFNAME),
    isUp: (flags & IFF_UP) !== 0 && (flags & IFF_LOWER_UP) !== 0,
    hardware: view.getUint16(at + 2, true),
    kind: info < 0 ? "" : readText(view, info, info + valueBytesAt(view, info), IFLA_INFO_KIND),
    master: number(IFLA_MASTER),
    lower: isElsewhere ? 0 : number(IFLA_LINK),
  };
}

function readText(view: DataView, from: number, end: number, type: number): string {
  const at = findAttribute(view, from, end, type, 1);
  if (at < 0) return "";
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, valueBytesAt(view, at));
  return new TextDecoder().decode(bytes.slice()).replace(/\0.*$/s, "");
}
