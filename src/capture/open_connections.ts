/**
 * Which connections of this host's services rest between two requests right now. Touches a netlink
 * socket.
 *
 * Packets alone cannot tell whether the first one captured of an open connection begins a request;
 * the kernel knows what went before: when it received data last and when it sent some last. A
 * service that has answered since, and is silent, waits for the next request.
 *
 * @see sock_diag(7); struct tcp_info in linux/tcp.h
 */

import { Arena } from "../../ffi/arena.ts";
import { SystemError } from "../../ffi/errno.ts";
import { closeFd, openSocket, receive, send, SOCK_RAW } from "../../ffi/socket.ts";

/** A connection of a client with a service on this host; addresses as int32. */
export interface OpenConnection {
  clientAddress: number;
  clientPort: number;
  serviceAddress: number;
  servicePort: number;
}

const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const NETLINK_SOCK_DIAG = 4;
const IPPROTO_TCP = 6;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSG_HEADER_BYTES = 16;
/** struct inet_diag_req_v2 */
const REQUEST_BYTES = 56;
/** struct inet_diag_msg */
const DIAG_BYTES = 72;
const INET_DIAG_INFO = 2;
const TCP_ESTABLISHED = 1;
const BUFFER_BYTES = 1 << 17;

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
  // Services that listen on [::] have their IPv4 connections among those of IPv6.
  for (const family of [AF_INET, AF_INET6]) dump(family, ports, resting);
  return resting;
}

function dump(family: number, ports: ReadonlySet<number>, resting: OpenConnection[]): void {
  const what = "list of open connections";
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, what);
  const memory = new Arena(BUFFER_BYTES);
  try {
    const { view } = memory;
    const lengthBytes = NLMSG_HEADER_BYTES + REQUEST_BYTES;
    view.setUint32(0, lengthBytes, true);
    view.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
    view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, true);
    view.setUint8(16, family);
    view.setUint8(17, IPPROTO_TCP);
    view.setUint8(18, 1 << (INET_DIAG_INFO - 1));
    view.setUint32(20, 1 << TCP_ESTABLISHED, true);
    const sent = send(fd, memory.base, lengthBytes);
    if (sent < 0) throw new SystemError(what, "send", -sent);
    for (let isDone = false; !isDone;) {
      // The kernel writes the next part of the dump when it is asked for it: nothing to wait for.
      const received = receive(fd, memory.base, BUFFER_BYTES);
      if (received <= 0) throw new SystemError(what, "recv", -received);
      isDone = readMessages(view, received, what, (at, end) => {
        const connection = readConnection(view, at, end, ports);
        if (connection !== undefined) resting.push(connection);
      });
    }
  } finally {
    closeFd(fd);
    memory.free();
  }
}

/** Walks the netlink messages of one read. Returns whether the dump is complete. */
function readMessages(
  view: DataView,
  lengthBytes: number,
  what: string,
  onMessage: (at: number, end: number) => void,
): boolean {
  for (let at = 0; at + NLMSG_HEADER_BYTES <= lengthBytes;) {
    const messageBytes = view.getUint32(at, true);
    const type = view.getUint16(at + 4, true);
    if (type === NLMSG_DONE || messageBytes < NLMSG_HEADER_BYTES) return true;
    if (type === NLMSG_ERROR) {
      const errno = -view.getInt32(at + NLMSG_HEADER_BYTES, true);
      throw new SystemError(what, "sock_diag", errno);
    }
    onMessage(at + NLMSG_HEADER_BYTES, Math.min(lengthBytes, at + messageBytes));
    at += (messageBytes + 3) & ~3;
  }
  return false;
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
  const info = findAttribute(view, at + DIAG_BYTES, end, INET_DIAG_INFO);
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

/** Where the payload of a routing attribute begins that is long enough, or -1. */
function findAttribute(view: DataView, from: number, end: number, type: number): number {
  for (let at = from; at + 4 <= end;) {
    const attributeBytes = view.getUint16(at, true);
    if (attributeBytes < 4) return -1;
    if (view.getUint16(at + 2, true) === type) {
      return attributeBytes >= 4 + INFO_BYTES && at + attributeBytes <= end ? at + 4 : -1;
    }
    at += (attributeBytes + 3) & ~3;
  }
  return -1;
}
