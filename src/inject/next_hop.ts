/**
 * Where a frame for an IPv4 address has to go: device, source and destination hardware address, as
 * the kernel's own tables have it. Touches a netlink socket; changes nothing in the kernel.
 *
 * The route is looked up as for a raw socket's packet: source address unspecified. What always
 * holds: a hardware address is only given while the kernel itself would use it without doubt, that is
 * while the neighbour is reachable, fixed, or being confirmed. For one that is missing, failed or
 * stale the answer is a reason; an IP packet sent to it makes the kernel ask for it or confirm it
 * (RFC 826, RFC 4861 section 7.3.3).
 *
 * @see rtnetlink(7), arp(7)
 */

import { Errno, errnoText, SystemError } from "../../ffi/errno.ts";
import {
  findAttribute,
  NETLINK_ROUTE,
  NetlinkSocket,
  valueBytesAt,
  writeAttribute,
} from "../../ffi/netlink.ts";
import { formatIpv4 } from "../wire/ipv4.ts";

/** The way of frames to an address. */
export interface NextHop {
  kind: "frame";
  /** Device the frames leave by: index and name. */
  device: number;
  deviceName: string;
  /** Largest IP packet, bytes: of the device, or of the route if that is smaller. */
  mtuBytes: number;
  /** Six bytes each. */
  sourceMac: Uint8Array;
  destinationMac: Uint8Array;
}

/** What is known of the way already, and need not be looked up. */
export interface KnownWay {
  /** Index of the device the frames are to leave by, whatever the routing table says. */
  device?: number;
  /** Six bytes each. */
  sourceMac?: Uint8Array;
  destinationMac?: Uint8Array;
}

/** Why there is none. */
export interface NoNextHop {
  kind: "none";
  /** For people: continues "no frames to it:". */
  reason: string;
  /** It is in the nature of route or device, and will not pass by sending packets. */
  isLasting: boolean;
}

const RTM_GETLINK = 18;
const RTM_GETROUTE = 26;
const RTM_GETNEIGH = 30;
const AF_INET = 2;

/** struct rtmsg: u8 family, destination length, source length, tos, table, protocol, scope, type. */
const RTMSG_BYTES = 12;
const RTM_TYPE = 7;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_METRICS = 8;
const RTA_VIA = 18;
const RTA_ENCAP = 22;
const RTAX_MTU = 2;

/** struct ifinfomsg: u8 family, u8 pad, u16 type, s32 index, u32 flags, u32 change. */
const IFINFOMSG_BYTES = 16;
const ARPHRD_ETHER = 1;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_NOARP = 0x80;
const IFF_LOWER_UP = 0x10000;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;

/** struct ndmsg: u8 family, 3 bytes pad, s32 device, u16 state, u8 flags, u8 type. */
const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_STALE = 0x04;
/** Reachable, delay and probe (both: being confirmed), noarp and permanent (both: fixed). */
const NUD_TRUSTED = 0x02 | 0x08 | 0x10 | 0x40 | 0x80;

const MAC_BYTES = 6;
const WHAT = "look-up of the way to the target";

function none(reason: string, isLasting: boolean): NoNextHop {
  return { kind: "none", reason, isLasting };
}

interface Route {
  device: number;
  /** Who gets the frame: the gateway, or the target itself. */
  neighbour: number;
  /** Infinity for no bound of its own. */
  mtuBytes: number;
}

interface Device {
  name: string;
  mtuBytes: number;
  mac: Uint8Array;
}

/**
 * Looks up next hops.
 *
 * ```ts
 * const resolver = new NextHopResolver();
 * const way = resolver.resolve(parseIpv4("198.18.0.2")!);
 * if (way.kind === "frame") console.log(way.deviceName);
 * resolver.close();
 * ```
 */
export class NextHopResolver {
  readonly #netlink = new NetlinkSocket(NETLINK_ROUTE, WHAT);

  /**
   * Asks the kernel, which takes some 40 µs.
   *
   * @param target IPv4 address, int32
   * @param known parts of the answer that are given
   */
  resolve(target: number, known: KnownWay = {}): NextHop | NoNextHop {
    try {
      return this.#look(target, known);
    } catch (error) {
      // The kernel is short of memory, say: no frames now, and the next look may work.
      if (error instanceof SystemError) return none(error.message, false);
      throw error;
    }
  }

  #look(target: number, known: KnownWay): NextHop | NoNextHop {
    const { sourceMac, destinationMac } = known;
    // Where everything is given, the host may have no address of its own on that network.
    const route = known.device !== undefined && destinationMac !== undefined
      ? { device: known.device, neighbour: target, mtuBytes: Infinity }
      : this.#route(target, known.device);
    if ("kind" in route) return route;
    const device = this.#device(route.device);
    if ("kind" in device) return device;
    const neighbour = destinationMac ?? this.#neighbour(route, device.name);
    if ("kind" in neighbour) return neighbour;
    return {
      kind: "frame",
      device: route.device,
      deviceName: device.name,
      mtuBytes: Math.min(route.mtuBytes, device.mtuBytes),
      sourceMac: sourceMac ?? device.mac,
      destinationMac: neighbour,
    };
  }

  close(): void {
    this.#netlink.close();
  }

  #route(target: number, device: number | undefined): Route | NoNextHop {
    let answer: Route | NoNextHop = none("the kernel gives no route", false);
    const result = this.#netlink.ask(RTM_GETROUTE, 0, (view, at) => {
      view.setUint8(at, AF_INET);
      view.setUint8(at + 1, 32);
      view.setInt32(at + RTMSG_BYTES + 4, target);
      const end = writeAttribute(view, at + RTMSG_BYTES, RTA_DST, 4);
      if (device === undefined) return end;
      view.setInt32(end + 4, device, true);
      return writeAttribute(view, end, RTA_OIF, 4);
    }, (view, at, end) => {
      answer = readRoute(view, at, end, target);
    });
    return result < 0 ? refused("no route", result) : answer;
  }

  #device(index: number): Device | NoNextHop {
    let answer: Device | NoNextHop = none(`device ${index} is not known`, false);
    const result = this.#netlink.ask(RTM_GETLINK, 0, (view, at) => {
      view.setInt32(at + 4, index, true);
      return at + IFINFOMSG_BYTES;
    }, (view, at, end) => {
      answer = readDevice(view, at, end);
    });
    return result < 0 ? refused(`no device ${index}`, result) : answer;
  }

  #neighbour(route: Route, deviceName: string): Uint8Array | NoNextHop {
    const name = `${formatIpv4(route.neighbour)} on ${deviceName}`;
    let answer: Uint8Array | NoNextHop = none(`neighbour ${name} is not known`, false);
    const result = this.#netlink.ask(RTM_GETNEIGH, 0, (view, at) => {
      view.setUint8(at, AF_INET);
      view.setInt32(at + 4, route.device, true);
      view.setInt32(at + NDMSG_BYTES + 4, route.neighbour);
      return writeAttribute(view, at + NDMSG_BYTES, NDA_DST, 4);
    }, (view, at, end) => {
      answer = readNeighbour(view, at, end, name);
    });
    if (result === -Errno.ENOENT) return none(`neighbour ${name} is not known`, false);
    // Linux before 5.0 does not tell about single neighbours.
    return result < 0 ? refused(`neighbour ${name}`, result) : answer;
  }
}

/** An error of the kernel's as an answer. */
function refused(what: string, result: number): NoNextHop {
  return none(`${what} (${errnoText(-result)})`, false);
}

function readRoute(view: DataView, at: number, end: number, target: number): Route | NoNextHop {
  const type = view.getUint8(at + RTM_TYPE);
  if (type === RTN_LOCAL) return none("it is an address of this host", true);
  if (type !== RTN_UNICAST) return none(`its route is not unicast (type ${type})`, true);
  const from = at + RTMSG_BYTES;
  if (findAttribute(view, from, end, RTA_ENCAP, 0) >= 0) {
    return none("its route wraps packets up (lwtunnel)", true);
  }
  if (findAttribute(view, from, end, RTA_VIA, 0) >= 0) {
    return none("its gateway has an IPv6 address", true);
  }
  const device = findAttribute(view, from, end, RTA_OIF, 4);
  if (device < 0) return none("its route names no device", true);
  const gateway = findAttribute(view, from, end, RTA_GATEWAY, 4);
  return {
    device: view.getInt32(device, true),
    neighbour: gateway < 0 ? target : view.getInt32(gateway),
    mtuBytes: readRouteMtu(view, from, end),
  };
}

function readRouteMtu(view: DataView, from: number, end: number): number {
  const metrics = findAttribute(view, from, end, RTA_METRICS, 0);
  if (metrics < 0) return Infinity;
  const mtu = findAttribute(view, metrics, metrics + valueBytesAt(view, metrics), RTAX_MTU, 4);
  return mtu < 0 ? Infinity : view.getUint32(mtu, true);
}

function readDevice(view: DataView, at: number, end: number): Device | NoNextHop {
  const from = at + IFINFOMSG_BYTES;
  const nameAt = findAttribute(view, from, end, IFLA_IFNAME, 1);
  const name = nameAt < 0 ? "the device" : readText(view, nameAt, valueBytesAt(view, nameAt) - 1);
  const flags = view.getUint32(at + 8, true);
  const macAt = findAttribute(view, from, end, IFLA_ADDRESS, MAC_BYTES);
  const isEthernet = view.getUint16(at + 2, true) === ARPHRD_ETHER && macAt >= 0 &&
    valueBytesAt(view, macAt) === MAC_BYTES && (flags & (IFF_LOOPBACK | IFF_NOARP)) === 0;
  if (!isEthernet) return none(`${name} is no Ethernet with ARP`, true);
  if ((flags & IFF_UP) === 0) return none(`${name} is down`, false);
  if ((flags & IFF_LOWER_UP) === 0) return none(`${name} has no carrier`, false);
  const mtuAt = findAttribute(view, from, end, IFLA_MTU, 4);
  if (mtuAt < 0) return none(`${name} has no MTU`, true);
  return { name, mtuBytes: view.getUint32(mtuAt, true), mac: readMac(view, macAt) };
}

function readNeighbour(
  view: DataView,
  at: number,
  end: number,
  name: string,
): Uint8Array | NoNextHop {
  const state = view.getUint16(at + 8, true);
  if (state & NUD_STALE) return none(`neighbour ${name} is to be confirmed`, false);
  const macAt = findAttribute(view, at + NDMSG_BYTES, end, NDA_LLADDR, MAC_BYTES);
  if ((state & NUD_TRUSTED) === 0 || macAt < 0 || valueBytesAt(view, macAt) !== MAC_BYTES) {
    return none(`neighbour ${name} does not answer`, false);
  }
  const mac = readMac(view, macAt);
  // What the kernel keeps for addresses without ARP; a frame to it would reach nobody.
  return mac.some((byte) => byte !== 0) ? mac : none(`neighbour ${name} has no address`, true);
}

function readMac(view: DataView, at: number): Uint8Array {
  return Uint8Array.from({ length: MAC_BYTES }, (_, index) => view.getUint8(at + index));
}

function readText(view: DataView, at: number, lengthBytes: number): string {
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at, lengthBytes));
}

/** A hardware address as people write it: "02:00:00:00:00:01". */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
