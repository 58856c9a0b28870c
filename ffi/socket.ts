/**
 * Sockets: thin, typed wrappers over the C library for IPv4 and raw sockets.
 *
 * Two conventions hold throughout. A call that only fails when something is wrong for good (making
 * a socket, an option, bind) throws a `SystemError`. A call that fails in the normal course of
 * things (accept, connect, receive, send) returns the negative error number instead, as the kernel
 * itself does: `-Errno.EAGAIN` means "nothing now". Every socket made here is non-blocking and
 * close-on-exec. IPv4 addresses are signed 32-bit integers, ports 0..65535.
 */

import { Arena } from "./arena.ts";
import { Errno, SystemError } from "./errno.ts";
import { type Address, lastErrno, libc } from "./libc.ts";

const AF_UNIX = 1;
export const AF_INET = 2;
export const SOCK_STREAM = 1;
export const SOCK_RAW = 3;
export const IPPROTO_TCP = 6;
/** Raw socket for sending whole IPv4 packets, header included; implies IP_HDRINCL. */
export const IPPROTO_RAW = 255;

/** Option levels and names for `setOption` and `getOption` (the same on x86-64 and arm64). */
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const TCP_NODELAY = 1;
const SO_ATTACH_FILTER = 26;
const SO_GET_FILTER = 26;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;

/** For `shutdownSocket`: no more will be sent. */
export const SHUT_WR = 1;

const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** sizeof(struct sockaddr_in): family 2 (host order), port 2, address 4, padding 8. */
export const SOCKADDR_IN_BYTES = 16;
/** The kernel's limit on the length of a classic BPF program (BPF_MAXINSNS). */
export const MAX_FILTER_INSTRUCTIONS = 4096;

/** One classic BPF instruction: operation, jump if true, jump if false, operand. */
export type FilterInstruction = readonly [code: number, jt: number, jf: number, k: number];

/** The filter that lets nothing through: RET 0. */
export const DROP_ALL_FILTER: readonly FilterInstruction[] = [[0x06, 0, 0, 0]];

/** An IPv4 address (signed 32-bit) and a port. */
export interface Endpoint {
  address: number;
  port: number;
}

/** Where goes what nobody wants to know. */
const nobody: Endpoint = { address: 0, port: 0 };

/** Memory for the small structures of the calls below; contents live for one call only. */
const SOCKADDR = 0;
const LENGTH = 16;
const VALUE = 32;
const MEMINFO = 64;
const FPROG = 128;
const INSTRUCTIONS = 256;
let scratchArena: Arena | undefined;

function scratch(): Arena {
  return scratchArena ??= new Arena(INSTRUCTIONS + 8 * MAX_FILTER_INSTRUCTIONS);
}

/**
 * Writes a struct sockaddr_in.
 *
 * @param view native memory
 * @param offset where the 16 bytes begin
 */
export function writeSockaddrIn(
  view: DataView,
  offset: number,
  address: number,
  port: number,
): void {
  view.setUint16(offset, AF_INET, true);
  view.setUint16(offset + 2, port, false);
  view.setInt32(offset + 4, address, false);
  view.setUint32(offset + 8, 0);
  view.setUint32(offset + 12, 0);
}

/**
 * Makes a non-blocking, close-on-exec socket.
 *
 * @param what for the error message: what the socket is for, in the user's terms
 * @returns the file descriptor
 * @throws SystemError, for raw sockets EPERM without root or CAP_NET_RAW
 */
export function openSocket(domain: number, type: number, protocol: number, what: string): number {
  const fd = libc().socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw new SystemError(what, "socket", lastErrno());
  return fd;
}

/**
 * Makes two non-blocking, close-on-exec stream sockets that are connected to each other, for two
 * threads of this process.
 *
 * @throws SystemError, EMFILE when no descriptor is left
 * @see socketpair(2)
 */
export function openSocketPair(what: string): [number, number] {
  const memory = scratch();
  const result = libc().socketpair(
    AF_UNIX,
    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
    0,
    memory.addressAt(VALUE),
  );
  if (result < 0) throw new SystemError(what, "socketpair", lastErrno());
  return [memory.view.getInt32(VALUE, true), memory.view.getInt32(VALUE + 4, true)];
}

/**
 * Closes a descriptor. Remove it from its event loop first.
 *
 * @throws SystemError EBADF when it is not open, which is a mistake of the caller's
 */
export function closeFd(fd: number): void {
  // On Linux the descriptor is gone whatever else close reports, so only EBADF matters.
  if (libc().close(fd) < 0 && lastErrno() === Errno.EBADF) {
    throw new SystemError(`file descriptor ${fd}`, "close", Errno.EBADF);
  }
}

/** Makes reads and writes on a descriptor return at once. For descriptors made elsewhere. */
export function setNonBlocking(fd: number): void {
  const c = libc();
  const flags = c.fcntl(fd, F_GETFL, 0);
  if (flags < 0 || c.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    const errno = lastErrno();
    throw new SystemError(`file descriptor ${fd}`, "fcntl", errno);
  }
}

/** Keeps a descriptor from programs this one starts. For descriptors made elsewhere. */
export function setCloseOnExec(fd: number): void {
  if (libc().fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    throw new SystemError(`file descriptor ${fd}`, "fcntl", lastErrno());
  }
}

/** Sets an int option; returns 0 or the negative error number. */
export function trySetOption(fd: number, level: number, option: number, value: number): number {
  const memory = scratch();
  memory.view.setInt32(VALUE, value, true);
  const result = libc().setsockopt(fd, level, option, memory.addressAt(VALUE), 4);
  return result < 0 ? -lastErrno() : 0;
}

/**
 * Sets an int option.
 *
 * @throws SystemError
 */
export function setOption(fd: number, level: number, option: number, value: number): void {
  const result = trySetOption(fd, level, option, value);
  if (result < 0) {
    throw new SystemError(
      `socket option ${level}/${option} = ${value}`,
      "setsockopt",
      -result,
    );
  }
}

/**
 * Reads an int option.
 *
 * @throws SystemError
 */
export function getOption(fd: number, level: number, option: number): number {
  const memory = scratch();
  memory.view.setInt32(VALUE, 0, true);
  memory.view.setUint32(LENGTH, 4, true);
  const result = libc().getsockopt(
    fd,
    level,
    option,
    memory.addressAt(VALUE),
    memory.addressAt(LENGTH),
  );
  if (result < 0) {
    const errno = lastErrno();
    throw new SystemError(`socket option ${level}/${option}`, "getsockopt", errno);
  }
  return memory.view.getInt32(VALUE, true);
}

/** Asks by the privileged option first, by the bounded one if that is refused. */
function setBuffer(fd: number, force: number, plain: number, sizeBytes: number): number {
  const wanted = Math.min(Math.trunc(sizeBytes), 0x3fff_ffff);
  if (trySetOption(fd, SOL_SOCKET, force, wanted) < 0) setOption(fd, SOL_SOCKET, plain, wanted);
  // The kernel doubles the value to allow for its book-keeping and reports the double.
  return getOption(fd, SOL_SOCKET, plain) / 2;
}

/**
 * Sets the receive buffer: beyond net.core.rmem_max with CAP_NET_ADMIN, up to it without.
 *
 * @returns the size granted in bytes, to compare with the one asked for
 */
export function setReceiveBuffer(fd: number, sizeBytes: number): number {
  return setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, sizeBytes);
}

/**
 * Sets the send buffer: beyond net.core.wmem_max with CAP_NET_ADMIN, up to it without.
 *
 * @returns the size granted in bytes, to compare with the one asked for
 */
export function setSendBuffer(fd: number, sizeBytes: number): number {
  return setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, sizeBytes);
}

/**
 * Gives a socket its local address.
 *
 * @param what for the error message: what listens there
 * @throws SystemError
 */
export function bindIpv4(fd: number, address: number, port: number, what: string): void {
  const memory = scratch();
  writeSockaddrIn(memory.view, SOCKADDR, address, port);
  if (libc().bind(fd, memory.addressAt(SOCKADDR), SOCKADDR_IN_BYTES) < 0) {
    throw new SystemError(what, "bind", lastErrno());
  }
}

/**
 * Makes a bound stream socket accept connections.
 *
 * @param what for the error message: what listens there
 * @throws SystemError
 */
export function listenOn(fd: number, backlog: number, what: string): void {
  if (libc().listen(fd, backlog) < 0) throw new SystemError(what, "listen", lastErrno());
}

/**
 * Takes the next waiting connection.
 *
 * @param peer is told where it comes from, if it is an IPv4 connection
 * @returns its descriptor (non-blocking, close-on-exec) or a negative error number; `-EAGAIN` when
 * none waits, `-ECONNABORTED` when the peer gave up, `-EMFILE` when no descriptor is left
 */
export function acceptConnection(fd: number, peer: Endpoint = nobody): number {
  const memory = scratch();
  memory.view.setUint32(LENGTH, SOCKADDR_IN_BYTES, true);
  const [address, length] = [memory.addressAt(SOCKADDR), memory.addressAt(LENGTH)];
  const result = libc().accept4(fd, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (result < 0) return -lastErrno();
  peer.address = memory.view.getInt32(SOCKADDR + 4, false);
  peer.port = memory.view.getUint16(SOCKADDR + 2, false);
  return result;
}

/**
 * Begins a connection.
 *
 * @returns 0 when it is there already, `-EINPROGRESS` when it will be ready for writing (or in
 * error, see `socketError`) later, another negative error number when it failed at once
 */
export function connectIpv4(fd: number, address: number, port: number): number {
  const memory = scratch();
  writeSockaddrIn(memory.view, SOCKADDR, address, port);
  const result = libc().connect(fd, memory.addressAt(SOCKADDR), SOCKADDR_IN_BYTES);
  return result < 0 ? -lastErrno() : 0;
}

/** The pending error of a socket (positive error number, 0 for none); reading it clears it. */
export function socketError(fd: number): number {
  return getOption(fd, SOL_SOCKET, SO_ERROR);
}

function readEndpoint(memory: Arena): Endpoint {
  return {
    address: memory.view.getInt32(SOCKADDR + 4, false),
    port: memory.view.getUint16(SOCKADDR + 2, false),
  };
}

/**
 * The local address and port of a bound or connected IPv4 socket.
 *
 * @throws SystemError
 */
export function localEndpoint(fd: number): Endpoint {
  const memory = scratch();
  memory.view.setUint32(LENGTH, SOCKADDR_IN_BYTES, true);
  const c = libc();
  if (c.getsockname(fd, memory.addressAt(SOCKADDR), memory.addressAt(LENGTH)) < 0) {
    const errno = lastErrno();
    throw new SystemError(`file descriptor ${fd}`, "getsockname", errno);
  }
  return readEndpoint(memory);
}

/**
 * The other end of a connected IPv4 socket; `undefined` when it is no longer connected.
 *
 * @throws SystemError
 */
export function peerEndpoint(fd: number): Endpoint | undefined {
  const memory = scratch();
  memory.view.setUint32(LENGTH, SOCKADDR_IN_BYTES, true);
  const c = libc();
  if (c.getpeername(fd, memory.addressAt(SOCKADDR), memory.addressAt(LENGTH)) < 0) {
    const errno = lastErrno();
    if (errno === Errno.ENOTCONN) return undefined;
    throw new SystemError(`file descriptor ${fd}`, "getpeername", errno);
  }
  return readEndpoint(memory);
}

/** Ends one direction of a connection; returns 0 or a negative error number. */
export function shutdownSocket(fd: number, how: number): number {
  return libc().shutdown(fd, how) < 0 ? -lastErrno() : 0;
}

/**
 * Reads what has arrived, into native memory.
 *
 * @param at address in an arena: `arena.addressAt(offset)` or `arena.address + offset`
 * @returns the number of bytes, 0 when the peer has closed, or a negative error number
 */
export function receive(fd: number, at: Address, lengthBytes: number): number {
  const result = libc().recv(fd, BigInt(at), BigInt(lengthBytes), MSG_DONTWAIT);
  return result < 0 ? -lastErrno() : result;
}

/**
 * Writes bytes from native memory, as many as fit; never raises SIGPIPE.
 *
 * @param at address in an arena: `arena.addressAt(offset)` or `arena.address + offset`
 * @returns the number of bytes taken or a negative error number
 */
export function send(fd: number, at: Address, lengthBytes: number): number {
  const result = libc().send(fd, BigInt(at), BigInt(lengthBytes), MSG_DONTWAIT | MSG_NOSIGNAL);
  return result < 0 ? -lastErrno() : result;
}

/**
 * Puts a classic BPF program in front of a socket, replacing the one before in one step.
 *
 * @param program 1 to 4096 instructions (struct sock_filter: u16 code, u8 jt, u8 jf, u32 k)
 * @param what for the error message: what the socket is for
 * @throws RangeError for a program of the wrong length, SystemError when the kernel refuses it
 */
export function attachFilter(
  fd: number,
  program: readonly FilterInstruction[],
  what: string,
): void {
  if (program.length < 1 || program.length > MAX_FILTER_INSTRUCTIONS) {
    throw new RangeError(
      `A socket filter has 1 to ${MAX_FILTER_INSTRUCTIONS} instructions, not ${program.length}.`,
    );
  }
  const memory = scratch();
  const view = memory.view;
  program.forEach(([code, jt, jf, k], index) => {
    const at = INSTRUCTIONS + 8 * index;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jt);
    view.setUint8(at + 3, jf);
    view.setUint32(at + 4, k, true);
  });
  // struct sock_fprog: u16 len, 6 bytes padding, pointer to the instructions.
  view.setUint16(FPROG, program.length, true);
  view.setBigUint64(FPROG + 8, memory.addressAt(INSTRUCTIONS), true);
  const address = memory.addressAt(FPROG);
  if (libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, address, 16) < 0) {
    const errno = lastErrno();
    throw new SystemError(`${what}: packet filter`, "setsockopt", errno);
  }
}

/**
 * The program that stands in front of a socket; empty when there is none.
 *
 * @param what for the error message: what the socket is for
 * @throws SystemError when the kernel does not tell
 */
export function attachedFilter(fd: number, what: string): FilterInstruction[] {
  const memory = scratch();
  const { view } = memory;
  // The length counts instructions, not bytes.
  view.setUint32(FPROG, MAX_FILTER_INSTRUCTIONS, true);
  const result = libc().getsockopt(
    fd,
    SOL_SOCKET,
    SO_GET_FILTER,
    memory.addressAt(INSTRUCTIONS),
    memory.addressAt(FPROG),
  );
  if (result < 0) throw new SystemError(`${what}: packet filter`, "getsockopt", lastErrno());
  return Array.from({ length: view.getUint32(FPROG, true) }, (_, index): FilterInstruction => {
    const at = INSTRUCTIONS + 8 * index;
    return [
      view.getUint16(at, true),
      view.getUint8(at + 2),
      view.getUint8(at + 3),
      view.getUint32(at + 4, true),
    ];
  });
}

/**
 * How many packets the kernel could not put into this socket's receive queue, modulo 2^32
 * (SO_MEMINFO, Linux 4.12). Costs nothing per packet.
 *
 * @throws SystemError
 */
export function socketDrops(fd: number): number {
  // u32 sk_meminfo[9]; the last one, SK_MEMINFO_DROPS, is the count.
  const memory = scratch();
  memory.view.setUint32(LENGTH, 36, true);
  memory.view.setUint32(MEMINFO + 32, 0, true);
  const result = libc().getsockopt(
    fd,
    SOL_SOCKET,
    SO_MEMINFO,
    memory.addressAt(MEMINFO),
    memory.addressAt(LENGTH),
  );
  if (result < 0) throw new SystemError("packet drop counter", "getsockopt", lastErrno());
  return memory.view.getUint32(MEMINFO + 32, true);
}
