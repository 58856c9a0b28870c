/**
 * Which connections of this host's services rest between two requests right now, and whether there is
 * a service at all. Touches a netlink socket.
 *
 * Packets alone cannot tell whether the first one captured of an open connection begins a request;
 * the kernel knows what went before: when it received data last and when it sent some last. A
 * service that has answered since, and is silent, waits for the next request.
 *
 * @see sock_diag(7); struct tcp_info in linux/tcp.h
 */

import { SystemError } from "../../ffi/errno.ts";
import { findAttribute, NETLINK_SOCK_DIAG, NetlinkSocket, NLM_F_DUMP } from "../../ffi/netlink.ts";

/** A connection of a client with a service on this host; addresses as int32. */
export interface OpenConnection {
  clientAddress: number;
  clientPort: number;
  serviceAddress: number;
  servicePort: number;
}

const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;
const SOCK_DIAG_BY_FAMILY = 20;
/** struct inet_diag_req_v2 */
const REQUEST_BYTES = 56;
/** struct inet_diag_msg */
const DIAG_BYTES = 72;
const INET_DIAG_INFO = 2;
const TCP_ESTABLISHED = 1;
const TCP_LISTEN = 10;

/** Offsets in struct tcp_info. */
const LAST_DATA_SENT = 44;
const LAST_DATA_RECEIVED = 52;
const BYTES_RECEIVED = 128;
const DATA_SEGMENTS_SENT = 156;
const INFO_BYTES = 160;

/** Younger activity is not judged: the kernel's clock for it may tick every 4 ms only. */
const MIN_SILENCE_MS = 200;

/**
 * Lists the connections with the given local ports that are certainly between two requests: those
 * that have not received anything yet, and those that were silent for 200 ms after the service had
 * sent something in answer.
 *
 * @throws SystemError when the kernel does not answer
 */
export function restingConnections(ports: ReadonlySet<number>): OpenConnection[] {
  const resting: OpenConnection[] = [];
  dumpSockets(1 << TCP_ESTABLISHED, (view, at, end) => {
    const connection = readConnection(view, at, end, ports);
    if (connection !== undefined) resting.push(connection);
  });
  return resting;
}

/**
 * Which of the ports some socket of this host listens on, on whichever address.
 *
 * @throws SystemError when the kernel does not answer
 */
export function listeningPorts(ports: ReadonlySet<number>): Set<number> {
  const listening = new Set<number>();
  dumpSockets(1 << TCP_LISTEN, (view, at, end) => {
    if (at + DIAG_BYTES > end) return;
    const port = view.getUint16(at + 4);
    if (ports.has(port)) listening.add(port);
  });
  return listening;
}

/** Calls back for each of this host's TCP sockets in one of the states, a bit set. */
function dumpSockets(
  states: number,
  read: (view: DataView, at: number, end: number) => void,
): void {
  const what = "list of open connections";
  const netlink = new NetlinkSocket(NETLINK_SOCK_DIAG, what);
  try {
    // Services that listen on [::] have their IPv4 connections among those of IPv6.
    for (const family of [AF_INET, AF_INET6]) {
      const result = netlink.ask(
        SOCK_DIAG_BY_FAMILY,
        NLM_F_DUMP,
        (view, at) => writeRequest(view, at, family, states),
        read,
      );
      if (result < 0) throw new SystemError(what, "sock_diag", -result);
    }
  } finally {
    netlink.close();
  }
}

/**
 * How many clients are connected to each of the given local ports over IPv6; ports without any are left
 * out. IPv4 clients of services that listen on [::] are no such.
 *
 * @throws SystemError when the kernel does not answer
 */
export function connectionsOverIpv6(ports: ReadonlySet<number>): Map<number, number> {
  const what = "list of open connections over IPv6";
  const counts = new Map<number, number>();
  const netlink = new NetlinkSocket(NETLINK_SOCK_DIAG, what);
  try {
    const result = netlink.ask(
      SOCK_DIAG_BY_FAMILY,
      NLM_F_DUMP,
      (view, at) => writeRequest(view, at, AF_INET6, 1 << TCP_ESTABLISHED),
      (view, at, end) => {
        if (at + DIAG_BYTES > end) return;
        const port = view.getUint16(at + 4);
        const isMapped = readIpv4(view, at, at + 24) !== undefined;
        if (ports.has(port) && !isMapped) counts.set(port, (counts.get(port) ?? 0) + 1);
      },
    );
    if (result < 0) throw new SystemError(what, "sock_diag", -result);
  } finally {
    netlink.close();
  }
  return counts;
}

function writeRequest(view: DataView, at: number, family: number, states: number): number {
  view.setUint8(at, family);
  view.setUint8(at + 1, IPPROTO_TCP);
  view.setUint8(at + 2, 1 << (INET_DIAG_INFO - 1));
  view.setUint32(at + 4, states, true);
  return at + REQUEST_BYTES;
}

function readConnection(
  view: DataView,
  at: number,
  end: number,
  ports: ReadonlySet<number>,
): OpenConnection | undefined {
  if (at + DIAG_BYTES > end) return undefined;
  const servicePort = view.getUint16(at + 4);
  if (!ports.has(servicePort)) return undefined;
  const serviceAddress = readIpv4(view, at, at + 8);
  const clientAddress = readIpv4(view, at, at + 24);
  const waitsInQueue = view.getUint32(at + 56, true) > 0;
  if (serviceAddress === undefined || clientAddress === undefined || waitsInQueue) return undefined;
  const info = findAttribute(view, at + DIAG_BYTES, end, INET_DIAG_INFO, INFO_BYTES);
  if (info < 0 || !isResting(view, info)) return undefined;
  return { clientAddress, clientPort: view.getUint16(at + 6), serviceAddress, servicePort };
}

function isResting(view: DataView, info: number): boolean {
  const hasReceived = view.getUint32(info + BYTES_RECEIVED, true) !== 0 ||
    view.getUint32(info + BYTES_RECEIVED + 4, true) !== 0;
  if (!hasReceived) return true;
  if (view.getUint32(info + DATA_SEGMENTS_SENT, true) === 0) return false;
  const sentAgoMs = view.getUint32(info + LAST_DATA_SENT, true);
  const receivedAgoMs = view.getUint32(info + LAST_DATA_RECEIVED, true);
  return receivedAgoMs >= MIN_SILENCE_MS && sentAgoMs <= receivedAgoMs;
}

/** An address of the socket id: IPv4, or IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2). */
function readIpv4(view: DataView, message: number, at: number): number | undefined {
  if (view.getUint8(message) === AF_INET) return view.getInt32(at);
  const isMapped = view.getUint32(at) === 0 && view.getUint32(at + 4) === 0 &&
    view.getUint32(at + 8) === 0xffff;
  return isMapped ? view.getInt32(at + 12) : undefined;
}
