/**
 * intercept's main thread when several workers relay: it listens for tcpcopy, and splits and joins
 * the tunnels.
 */

import type { Logger } from "@logtape/logtape";
import { closeFd, peerEndpoint } from "../../ffi/socket.ts";
import { formatEndpoint } from "../cli/addresses.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { DEFAULT_TUNNEL_FORM, type TunnelForm } from "../tunnel/form.ts";
import { TunnelListener } from "../tunnel/listener.ts";
import { SplitConnection } from "../tunnel/splitter.ts";
import { prepareTunnelSocket } from "../tunnel/tunnel_socket.ts";
import type { RelaySetup, RelayWorker } from "./relay_worker.ts";

/** As many as each worker takes. */
const MAX_CONNECTIONS = 64;

export class SplitRelay {
  readonly #loop = new EventLoop();
  readonly #workers: readonly RelayWorker[];
  readonly #listener: TunnelListener;
  readonly #connections = new Set<SplitConnection>();
  readonly #form: TunnelForm;
  readonly #log: Logger;

  /**
   * Begins to listen.
   *
   * @throws SystemError when the address or port cannot be had
   */
  constructor(
    workers: readonly RelayWorker[],
    setup: Pick<RelaySetup, "bindAddress" | "port" | "tunnelForm">,
    log: Logger,
  ) {
    const { bindAddress, port } = setup;
    this.#workers = workers;
    this.#form = setup.tunnelForm ?? DEFAULT_TUNNEL_FORM;
    this.#log = log;
    this.#listener = new TunnelListener(this.#loop, bindAddress, port, (fd) => this.#welcome(fd));
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Splits and joins until `stop`. */
  async run(): Promise<void> {
    try {
      await this.#loop.run();
    } finally {
      this.#listener.close();
      for (const connection of this.#connections) connection.close();
      this.#loop.close();
    }
  }

  stop(): void {
    this.#loop.stop();
  }

  #welcome(fd: number): void {
    const peer = peerEndpoint(fd);
    if (peer === undefined || this.#connections.size >= MAX_CONNECTIONS) {
      closeFd(fd);
      return;
    }
    const name = `tcpcopy ${formatEndpoint(peer.address, peer.port)}`;
    try {
      prepareTunnelSocket(fd);
      const connection = new SplitConnection(
        this.#loop,
        fd,
        peer,
        this.#workers.length,
        (worker, branch) => this.#workers[worker].adopt(branch, peer),
        (reason) => {
          this.#connections.delete(connection);
          this.#log.info(`${name} is gone: ${reason}`);
        },
        this.#form,
      );
      this.#connections.add(connection);
      this.#log.info(`tcpcopy connected from ${formatEndpoint(peer.address, peer.port)}`);
    } catch (error) {
      closeFd(fd);
      this.#log.warn(`${name} was turned away: ${(error as Error).message}`);
    }
  }
}
