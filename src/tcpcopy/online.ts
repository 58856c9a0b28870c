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
/** Of a raw socket; a ring has its own default. */
const CAPTURE_BUFFER_BYTES = 64 << 20;

/**
 * Captures and replays until a signal says stop; then what was captured is brought to its end.
 *
 * @returns the exit code
 */
export async function runOnline(
  replay: Replay,
  transfers: readonly Transfer[],
  way: "raw" | "ring",
): Promise<number> {
  const { loop, log, table } = replay;
  // Opened before anything is promised: without the privilege this is where it ends.
  const { capture, description } = openCapture(transfers, way);
  // Only now: what these connections send from here on is captured.
  for (const open of restingConnections(new Set(transfers.map(({ onlinePort }) => onlinePort)))) {
    table.noteResting(open.clientAddress, open.clientPort, open.serviceAddress, open.servicePort);
  }
  dropRoot();
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
  way: "raw" | "ring",
): { capture: CaptureSource; description: string } {
  const pairs = transfers.map(({ onlineAddress, onlinePort }) => ({
    address: onlineAddress,
    port: onlinePort,
  }));
  if (way === "ring") {
    const capture = RingCapture.toDestinations({ pairs });
    return { capture, description: `a packet ring (${capture.bufferBytes >>> 20} MB)` };
  }
  const capture = new RawSocketCapture({ pairs, receiveBufferBytes: CAPTURE_BUFFER_BYTES });
  const bufferMb = (capture.receiveBufferBytes / (1 << 20)).toFixed(1);
  return { capture, description: `a raw socket (buffer ${bufferMb} MB)` };
}
