/** A part that replays live packets of this host. */

import type { Logger } from "@logtape/logtape";
import { restingConnections } from "../capture/open_connections.ts";
import { RawSocketCapture } from "../capture/raw_socket.ts";
import { RingCapture } from "../capture/ring.ts";
import type { CaptureSource } from "../capture/source.ts";
import { isInPartition, type Partition } from "../wire/partition.ts";
import type { Transfer } from "../session/transfer.ts";
import type { ReplayOptions } from "./replay.ts";
import { ReplayPart } from "./replay_part.ts";

/** How live packets are captured. */
export interface LiveSource {
  kind: "live";
  way: "raw" | "ring";
}

/** How long sessions may go on after the capture was stopped. */
const DRAIN_MS = 3_000;
/** Receive buffer of the raw sockets of all parts. */
const SOCKET_BUFFER_BYTES = 64 << 20;
/**
 * A ring takes its memory from the start, within the cap: this share of what payload may take, which
 * with the default cap is as many packets as the socket's buffer has room for.
 */
const RING_SHARE_OF_PAYLOAD = 3 / 8;
/** Of the rings of all parts. */
const MAX_RING_BYTES = 192 << 20;

export class LivePart extends ReplayPart {
  protected readonly played = 0;
  readonly #options: Omit<ReplayOptions, "log">;
  readonly #way: LiveSource["way"];
  #capture: CaptureSource | undefined;

  constructor(options: Omit<ReplayOptions, "log">, source: LiveSource, log: Logger) {
    super(options, log);
    this.#options = options;
    this.#way = source.way;
  }

  open(): Promise<string> {
    const { transfers, session: { partition, maxPayloadBytes } } = this.#options;
    const { table } = this.replay;
    const { capture, description } = openCapture(
      transfers,
      this.#way,
      partition,
      maxPayloadBytes * RING_SHARE_OF_PAYLOAD,
    );
    this.#capture = capture;
    // Only now: what these connections send from here on is captured.
    for (const open of restingConnections(new Set(transfers.map(({ onlinePort }) => onlinePort)))) {
      if (!isInPartition(open.clientPort, partition)) continue;
      table.noteResting(open.clientAddress, open.clientPort, open.serviceAddress, open.servicePort);
    }
    this.replay.captureDropped = () => capture.stats().droppedByKernel;
    return Promise.resolve(description);
  }

  play(): Promise<void> {
    const capture = this.#capture!;
    capture.start(
      this.loop,
      (bytes, view, offset, length) =>
        this.replay.onCaptured(capture.linkType, bytes, view, offset, length),
    );
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
    this.#capture?.close();
  }
}

function openCapture(
  transfers: readonly Transfer[],
  way: LiveSource["way"],
  partition: Partition,
  ringShareBytes: number,
): { capture: CaptureSource; description: string } {
  const pairs = transfers.map(({ onlineAddress, onlinePort }) => ({
    address: onlineAddress,
    port: onlinePort,
  }));
  const { count } = partition;
  if (way === "ring") {
    const bufferBytes = Math.floor(Math.min(ringShareBytes, MAX_RING_BYTES / count));
    const capture = RingCapture.toDestinations({ pairs, bufferBytes, partition });
    return { capture, description: `a packet ring (${capture.bufferBytes >>> 20} MB)` };
  }
  const receiveBufferBytes = Math.floor(SOCKET_BUFFER_BYTES / count);
  const capture = new RawSocketCapture({ pairs, receiveBufferBytes, partition });
  const bufferMb = (capture.receiveBufferBytes / (1 << 20)).toFixed(1);
  return { capture, description: `a raw socket (buffer ${bufferMb} MB)` };
}
