/**
 * intercept's main thread when several workers relay: it listens for tcpcopy, and splits and joins
 * the tunnels.
 */

import type { Logger } from "@logtape/logtape";
import { SystemError } from "../../ffi/errno.ts";
import { closeFd, type Endpoint } from "../../ffi/socket.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { Admission, DEFAULT_ADMISSION_RULES } from "../tunnel/admission.ts";
import { DEFAULT_TUNNEL_FORM } from "../tunnel/form.ts";
import { TunnelListener } from "../tunnel/listener.ts";
import { SplitConnection, type SplitOwner } from "../tunnel/splitter.ts";
import { TunnelServerStats } from "../tunnel/stats.ts";
import { GREETING_TIMEOUT_MS } from "../tunnel/tunnel_socket.ts";
import { noRelayFigures, type RelayFigures } from "./figures.ts";
import { PortLog } from "./port_log.ts";
import type { RelaySetup, RelayWorker } from "./relay_worker.ts";

export class SplitRelay {
  readonly #loop = new EventLoop();
  readonly #workers: readonly RelayWorker[];
  readonly #listener: TunnelListener;
  readonly #stats = new TunnelServerStats();
  /** As many as each worker takes. */
  readonly #admission: Admission<SplitConnection>;
  readonly #owner: SplitOwner;
  readonly #log: PortLog;

  /**
   * Begins to listen.
   *
   * @throws SystemError when the address or port cannot be had
   */
  constructor(
    workers: readonly RelayWorker[],
    setup: Pick<RelaySetup, "bindAddress" | "port" | "tunnelForm" | "allow">,
    log: Logger,
  ) {
    const { bindAddress, port } = setup;
    this.#workers = workers;
    this.#admission = new Admission(
      { ...DEFAULT_ADMISSION_RULES, allow: setup.allow },
      this.#stats,
    );
    this.#log = new PortLog(log, () => this.#loop.nowMs);
    this.#owner = this.#makeOwner(setup.tunnelForm ?? DEFAULT_TUNNEL_FORM);
    this.#listener = new TunnelListener(
      this.#loop,
      bindAddress,
      port,
      (fd, peer) => this.#welcome(fd, peer),
    );
  }

  get port(): number {
    return this.#listener.port;
  }

  /** What is counted here and not in the workers. */
  figures(): RelayFigures {
    return { ...noRelayFigures(), tunnel: this.#stats };
  }

  /** Splits and joins until `stop`. */
  async run(): Promise<void> {
    try {
      await this.#loop.run();
    } finally {
      this.#listener.close();
      for (const connection of this.#admission.guests) connection.close();
      this.#loop.close();
    }
  }

  stop(): void {
    this.#loop.stop();
  }

  #makeOwner(form: SplitOwner["form"]): SplitOwner {
    return {
      loop: this.#loop,
      workers: this.#workers.length,
      form,
      greetingTimeoutMs: GREETING_TIMEOUT_MS,
      hand: (worker, branch, peer) => this.#workers[worker].adopt(branch, peer),
      onGreeted: ({ endpoint }) => this.#log.connected(endpoint),
      onEnd: (connection, reason, isProtocolError) => {
        this.#admission.remove(connection);
        // What only a worker could see, it has counted.
        if (isProtocolError && !connection.hasGreeted) this.#stats.protocolErrors++;
        this.#log.closed(connection.endpoint, reason);
      },
    };
  }

  #welcome(fd: number, peer: Endpoint): void {
    const refusal = this.#admission.refusalOf(peer.address, this.#loop.nowMs);
    if (refusal === "") this.#add(fd, peer);
    else this.#refuse(fd, peer, refusal);
  }

  #refuse(fd: number, peer: Endpoint, reason: string): void {
    this.#stats.refused++;
    closeFd(fd);
    this.#log.refused(peer, reason);
  }

  #add(fd: number, peer: Endpoint): void {
    try {
      const connection = new SplitConnection(this.#owner, fd, peer);
      this.#admission.add(connection);
      connection.start();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#refuse(fd, peer, error.message);
    }
  }
}
