/**
 * Where tcpcopy processes connect: accepts what comes. Touches sockets and the event loop.
 *
 * Anybody can connect a thousand times a second, so what each connection costs matters. Linux hands
 * the options of the listening socket down to those it accepts.
 */

import { Errno } from "../../ffi/errno.ts";
import {
  acceptConnection,
  AF_INET,
  bindIpv4,
  closeFd,
  type Endpoint,
  listenOn,
  localEndpoint,
  openSocket,
  setOption,
  SO_REUSEADDR,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../ffi/socket.ts";
import { EPOLLIN, type EventLoop, type TimerHandle } from "../loop/event_loop.ts";
import { formatIpv4 } from "../wire/ipv4.ts";
import { prepareTunnelSocket } from "./tunnel_socket.ts";

const MAX_ACCEPTS_PER_TURN = 256;
/**
 * Connections are accepted at once when none came for so long, else together: each wake of the loop
 * costs more than a connection, and anybody can connect a thousand times a second.
 */
const ACCEPT_EVERY_MS = 50;
/** How long no connection is accepted after the kernel had no descriptor or memory for one. */
const ACCEPT_PAUSE_MS = 200;
const BACKLOG = 1024;

export class TunnelListener {
  readonly #loop: EventLoop;
  readonly #onAccept: (fd: number, peer: Endpoint) => void;
  /** -1 once closed. */
  #fd: number;
  /** Set while nothing is accepted. */
  #resume: TimerHandle | undefined;

  /**
   * Begins to listen.
   *
   * @param address int32; 0 for every address of the host
   * @param port 0 lets the kernel choose
   * @param onAccept takes each connection's descriptor, prepared as by `prepareTunnelSocket`, and
   * where it comes from
   * @throws SystemError when the address or port cannot be had
   */
  constructor(
    loop: EventLoop,
    address: number,
    port: number,
    onAccept: (fd: number, peer: Endpoint) => void,
  ) {
    const what = `tunnel on ${formatIpv4(address)}:${port}`;
    this.#loop = loop;
    this.#onAccept = onAccept;
    const fd = openSocket(AF_INET, SOCK_STREAM, 0, what);
    try {
      setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      prepareTunnelSocket(fd);
      bindIpv4(fd, address, port, what);
      listenOn(fd, BACKLOG, what);
      loop.add(fd, EPOLLIN, () => this.#accept());
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    this.#fd = fd;
  }

  /** The port listened on. */
  get port(): number {
    return localEndpoint(this.#fd).port;
  }

  close(): void {
    if (this.#fd < 0) return;
    if (this.#resume !== undefined) this.#loop.clear(this.#resume);
    this.#loop.remove(this.#fd);
    closeFd(this.#fd);
    this.#fd = -1;
  }

  #accept(): void {
    // Before anything is accepted: what comes meanwhile is left for later.
    this.#pause(ACCEPT_EVERY_MS);
    for (let accepted = 0; accepted < MAX_ACCEPTS_PER_TURN && this.#fd >= 0; accepted++) {
      const peer: Endpoint = { address: 0, port: 0 };
      const fd = acceptConnection(this.#fd, peer);
      if (fd === -Errno.EAGAIN) return;
      if (fd === -Errno.ECONNABORTED || fd === -Errno.EINTR) continue;
      if (fd < 0) {
        this.#pause(ACCEPT_PAUSE_MS);
        return;
      }
      this.#onAccept(fd, peer);
    }
  }

  /**
   * Accepts nothing for a while. Out of descriptors or memory, a waiting connection would wake the
   * loop again and again.
   */
  #pause(forMs: number): void {
    if (this.#resume === undefined) this.#loop.modify(this.#fd, 0);
    else this.#loop.clear(this.#resume);
    this.#resume = this.#loop.after(forMs, () => {
      this.#resume = undefined;
      this.#loop.modify(this.#fd, EPOLLIN);
    });
  }
}
