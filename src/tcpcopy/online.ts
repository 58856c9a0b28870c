/** Online replay: the live packets of this host. */

import { dropRoot } from "../../ffi/privileges.ts";
import { restingConnections } from "../capture/open_connections.ts";
import { RawSocketCapture } from "../capture/raw_socket.ts";
import { RingCapture } from "../capture/ring.ts";
import type { CaptureSource } from "../capture/source.ts";
import { onSignals } from "../loop/signals.ts";
import type { Transfer } from "../session/transfer.ts";
import { VERSION } from "../version.ts";
import { describeTransfers, type Replay } from "./replay.ts";

/** How long sessions may go on after the capture was stopped. */
const DRAIN_MS = 3_000;
const SOCKET_BUFFER_BYTES = 64 << 20;
/**
 * A ring takes its memory from the start, within the cap: this share of what payload may take, which
 * with the default cap is as many packets as the socket's buffer has room for.
 */
const RING_SHARE_OF_PAYLOAD = 3 / 8;
const MAX_RING_BYTES = 192 << 20;

/** How live packets are captured. */
export interface LiveCapture {
  way: "raw" | "ring";
  /** How much captured payload may wait, bytes. */
  maxPayloadBytes: number;
  /** Whether files of root's are read again while it runs. */
  keepReading?: boolean;
}

/**
 * Captures and replays until a signal says stop; then what was captured is brought to its end.
 *
 * @returns the exit code
 */
export async function runOnline(
  replay: Replay,
  transfers: readonly Transfer[],
  live: LiveCapture,
): Promise<number> {
  const { loop, log, table } = replay;
  // Opened before anything is promised: without the privilege this is where it ends.
  const { capture, description } = openCapture(transfers, live);
  // Only now: what these connections send from here on is captured.
  for (const open of restingConnections(new Set(transfers.map(({ onlinePort }) => onlinePort)))) {
    table.noteResting(open.clientAddress, open.clientPort, open.serviceAddress, open.servicePort);
  }
  dropRoot({ keepReading: live.keepReading });
  replay.captureDropped = () => capture.stats().droppedByKernel;

  let signals = 0;
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    if (++signals > 1) {
      replay.finish();
      return;
    }
    log.info(`${signal}: no more packets are captured; ${table.openSessions} sessions are open`);
    capture.close();
    const deadlineMs = loop.nowMs + DRAIN_MS;
    loop.every(10, () => {
      if (table.payloadBytes === 0 || loop.nowMs >= deadlineMs) replay.finish();
    });
    loop.wake();
  });
  const running = loop.run();
  try {
    // Whichever fails first ends the program.
    await Promise.race([replay.connect(), running]);
    if (signals === 0) {
      capture.start(
        loop,
        (bytes, view, offset, length) =>
          replay.onCaptured(capture.linkType, bytes, view, offset, length),
      );
      loop.wake();
      log.info(
        `ready: version ${VERSION}, ${describeTransfers(transfers)}, ` +
          `capturing with ${description}`,
      );
    }
    await running;
  } finally {
    unsubscribe();
    capture.close();
    loop.stop();
  }
  return 0;
}

function openCapture(
  transfers: readonly Transfer[],
  live: LiveCapture,
): { capture: CaptureSource; description: string } {
  const pairs = transfers.map(({ onlineAddress, onlinePort }) => ({
    address: onlineAddress,
    port: onlinePort,
  }));
  if (live.way === "ring") {
    const share = Math.floor(live.maxPayloadBytes * RING_SHARE_OF_PAYLOAD);
    const bufferBytes = Math.min(share, MAX_RING_BYTES);
    const capture = RingCapture.toDestinations({ pairs, bufferBytes });
    return { capture, description: `a packet ring (${capture.bufferBytes >>> 20} MB)` };
  }
  const capture = new RawSocketCapture({ pairs, receiveBufferBytes: SOCKET_BUFFER_BYTES });
  const bufferMb = (capture.receiveBufferBytes / (1 << 20)).toFixed(1);
  return { capture, description: `a raw socket (buffer ${bufferMb} MB)` };
}
