/** Where tcpcopy processes connect: accepts what comes. Touches sockets and the event loop. */

import { Errno } from "../../ffi/errno.ts";
import {
  acceptConnection,
  AF_INET,
  bindIpv4,
  closeFd,
  listenOn,
  localEndpoint,
  openSocket,
  setOption,
  SO_REUSEADDR,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../ffi/socket.ts";
import { EPOLLIN, type EventLoop } from "../loop/event_loop.ts";
import { formatIpv4 } from "../wire/ipv4.ts";

const MAX_ACCEPTS_PER_TURN = 16;
/** How long no connection is accepted after the kernel had no descriptor or memory for one. */
const ACCEPT_PAUSE_MS = 200;
const BACKLOG = 64;

export class TunnelListener {
  readonly #loop: EventLoop;
  readonly #onAccept: (fd: number) => void;
  /** -1 once closed. */
  #fd: number;

  /**
   * Begins to listen.
   *
   * @param address int32; 0 for every address of the host
   * @param port 0 lets the kernel choose
   * @param onAccept takes the descriptor of each connection
   * @throws SystemError when the address or port cannot be had
   */
  constructor(loop: EventLoop, address: number, port: number, onAccept: (fd: number) => void) {
    const what = `tunnel on ${formatIpv4(address)}:${port}`;
    this.#loop = loop;
    this.#onAccept = onAccept;
    const fd = openSocket(AF_INET, SOCK_STREAM, 0, what);
    try {
      setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
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
    this.#loop.remove(this.#fd);
    closeFd(this.#fd);
    this.#fd = -1;
  }

  #accept(): void {
    for (let accepted = 0; accepted < MAX_ACCEPTS_PER_TURN && this.#fd >= 0; accepted++) {
      const fd = acceptConnection(this.#fd);
      if (fd === -Errno.EAGAIN) return;
      if (fd === -Errno.ECONNABORTED || fd === -Errno.EINTR) continue;
      if (fd < 0) {
        this.#pause();
        return;
      }
      this.#onAccept(fd);
    }
  }

  /** Out of descriptors or memory: the waiting connection would wake the loop again and again. */
  #pause(): void {
    this.#loop.modify(this.#fd, 0);
    this.#loop.after(ACCEPT_PAUSE_MS, () => {
      if (this.#fd >= 0) this.#loop.modify(this.#fd, EPOLLIN);
    });
  }
}
