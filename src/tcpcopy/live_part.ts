/** A part that replays live packets. */

import type { Logger } from "@logtape/logtape";
import { SystemError } from "../../ffi/errno.ts";
import type { CapturePair } from "../capture/bpf.ts";
import { Ipv6Clients } from "../capture/ipv6_clients.ts";
import { connectionsOverIpv6, restingConnections } from "../capture/open_connections.ts";
import type { CaptureSource } from "../capture/source.ts";
import { portsOfAnyAddress } from "../session/transfer.ts";
import { isInPartition } from "../wire/partition.ts";
import { HostEvidence } from "./host_evidence.ts";
import { isServiceHere, type LiveCapture, openCapture } from "./live_capture.ts";
import { NOTHING_PLAYED } from "./playing_time.ts";
import type { ReplayOptions } from "./replay.ts";
import { ReplayPart } from "./replay_part.ts";

/** How live packets are captured. */
export interface LiveSource extends LiveCapture {
  kind: "live";
}

/** How long sessions may go on after the capture was stopped. */
const DRAIN_MS = 3_000;
/** How often SYN-ACKs that nobody needed are taken out of the way. */
const TIDY_EVERY_MS = 100;

export class LivePart extends ReplayPart {
  protected readonly played = NOTHING_PLAYED;
  readonly #options: Omit<ReplayOptions, "log">;
  readonly #source: LiveSource;
  #captures: readonly CaptureSource[] = [];
  #evidence: HostEvidence | undefined;
  #ipv6Clients: Ipv6Clients | undefined;
  #isSorted = true;

  constructor(options: Omit<ReplayOptions, "log">, source: LiveSource, log: Logger) {
    super(options, log);
    this.#options = options;
    this.#source = source;
  }

  open(): Promise<string> {
    const { transfers, session: { partition, maxPayloadBytes } } = this.#options;
    const { table, log } = this.replay;
    const pairs = transfers.map(({ onlineAddress, onlinePort }) => ({
      address: onlineAddress,
      port: onlinePort,
    }));
    const opened = openCapture(pairs, this.#source, { partition, maxPayloadBytes });
    const { sources, description, warnings } = opened;
    this.#captures = sources;
    this.#isSorted = opened.isSorted;
    if (this.#source.stripsTunnels) this.replay.stripTunnels();
    this.#watchService(pairs);
    // Only now: what these connections send from here on is captured.
    for (const open of restingConnections(new Set(transfers.map(({ onlinePort }) => onlinePort)))) {
      if (!isInPartition(open.clientPort, partition)) continue;
      table.noteResting(open.clientAddress, open.clientPort, open.serviceAddress, open.servicePort);
    }
    if (partition.index === 0 && !this.#source.stripsTunnels) this.#countIpv6Clients();
    // The others would say the same.
    if (partition.index === 0) { for (const warning of warnings) log.warn(warning); }
    this.replay.captureDropped = () =>
      sources.reduce(
        (total, source) => total + source.stats().droppedByKernel,
        this.#evidence?.dropped ?? 0,
      );
    return Promise.resolve(description);
  }

  play(): Promise<void> {
    const { replay } = this;
    for (const capture of this.#captures) {
      capture.start(
        this.loop,
        this.#isSorted
          ? (bytes, view, offset, length) =>
            replay.onCaptured(capture.linkType, bytes, view, offset, length)
          : (bytes, view, offset, length) =>
            replay.onUnsorted(capture.linkType, bytes, view, offset, length),
      );
    }
    this.loop.wake();
    return Promise.resolve();
  }

  async drain(): Promise<void> {
    this.stopSource();
    const deadlineMs = this.loop.nowMs + DRAIN_MS;
    this.loop.wake();
    await this.until(() => this.replay.table.payloadBytes === 0 || this.loop.nowMs >= deadlineMs);
  }

  protected stopSource(): void {
    for (const capture of this.#captures) capture.close();
    this.#evidence?.close();
    this.#ipv6Clients?.close();
  }

  /** Who comes to this host's services over IPv6 is not captured: it is said, and counted. */
  #countIpv6Clients(): void {
    const { replay } = this;
    const ports = portsOfAnyAddress(this.#options.transfers);
    if (ports.size === 0) return;
    for (const [port, count] of connectionsOverIpv6(ports)) {
      replay.log.warn(
        `port ${port}: connections open over IPv6: ${count}; only IPv4 is replayed, so that they ` +
          "and those to come are left out",
      );
    }
    try {
      const clients = new Ipv6Clients(ports);
      this.#ipv6Clients = clients;
      replay.unseenIpv6 = () => clients.count;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      replay.log.warn(`connections over IPv6 are left out without being counted: ${error.message}`);
    }
  }

  /** Only whom the service has accepted is replayed, where this host can tell. */
  #watchService(pairs: readonly CapturePair[]): void {
    const { replay } = this;
    const { table } = replay;
    const { partition } = this.#options.session;
    // What a raw socket sees has come to a service of this host.
    const isAllHere = this.#source.way === "raw";
    table.context.missesPackets = !isServiceHere(this.#source);
    try {
      this.#evidence = new HostEvidence(
        pairs,
        partition,
        isAllHere,
        (bytes, view, offset, length) => replay.onServiceAnswer(bytes, view, offset, length),
      );
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (partition.index > 0) return;
      replay.log.warn(
        `whom the service accepts cannot be watched (${error.message}): what follows a SYN in ` +
          "order is taken for a client",
      );
      return;
    }
    table.evidence = this.#evidence;
    const { loop } = this;
    loop.every(TIDY_EVERY_MS, () => this.#evidence?.tidy());
  }
}
