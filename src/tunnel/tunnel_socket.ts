/**
 * What both ends of a tunnel connection have in common: the socket options (no delay, and a dead peer
 * is noticed) and words for failures. Touches the socket only.
 *
 * A host that vanishes says nothing. With nothing to send, keepalive probes find out within about
 * 14 s; with something on the way, the user timeout (RFC 5482) does within 15 s.
 */

import { errnoCode, errnoText } from "../../ffi/errno.ts";
import { IPPROTO_TCP, setOption, SO_KEEPALIVE, SOL_SOCKET, TCP_NODELAY } from "../../ffi/socket.ts";

/* tcp(7); the numbers are those of linux/tcp.h. */
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;

/** How long intercept waits for the version message, which is the first that tcpcopy sends. */
export const GREETING_TIMEOUT_MS = 10_000;

const IDLE_BEFORE_PROBE_S = 5;
const PROBE_INTERVAL_S = 3;
const PROBES = 3;
const USER_TIMEOUT_MS = 15_000;

/**
 * Prepares a connected or connecting socket.
 *
 * @throws SystemError when the kernel refuses an option
 */
export function prepareTunnelSocket(fd: number): void {
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, IDLE_BEFORE_PROBE_S);
  setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_INTERVAL_S);
  setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
  setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

/** The reason a connection ended, as a clause: `recv failed: ECONNRESET (Connection reset by peer)`. */
export function describeFailure(call: string, errno: number): string {
  return `${call} failed: ${errnoCode(errno)} (${errnoText(errno)})`;
}
