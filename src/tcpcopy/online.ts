/** Online replay: the live packets of this host. */

import { dropRoot } from "../../ffi/privileges.ts";
import { restingConnections } from "../capture/open_connections.ts";
import { announceReady } from "../cli/daemon.ts";
import { onSignals } from "../loop/signals.ts";
import type { Transfer } from "../session/transfer.ts";
import { VERSION } from "../version.ts";
import { type LiveCapture, openCapture } from "./live_capture.ts";
import { describeTransfers, type Replay } from "./replay.ts";

/** How long sessions may go on after the capture was stopped. */
const DRAIN_MS = 3_000;

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
  const { sources, description, warnings } = openCapture(
    transfers.map(({ onlineAddress, onlinePort }) => ({
      address: onlineAddress,
      port: onlinePort,
    })),
    live,
  );
  if (live.stripsTunnels) replay.stripTunnels();
  // Only now: what these connections send from here on is captured.
  for (const open of restingConnections(new Set(transfers.map(({ onlinePort }) => onlinePort)))) {
    table.noteResting(open.clientAddress, open.clientPort, open.serviceAddress, open.servicePort);
  }
  dropRoot();
  for (const warning of warnings) log.warn(warning);
  replay.captureDropped = () =>
    sources.reduce((total, source) => total + source.stats().droppedByKernel, 0);

  let signals = 0;
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    if (++signals > 1) {
      replay.finish();
      return;
    }
    log.info(`${signal}: no more packets are captured; ${table.openSessions} sessions are open`);
    for (const source of sources) source.close();
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
      for (const source of sources) {
        source.start(
          loop,
          (bytes, view, offset, length) =>
            replay.onCaptured(source.linkType, bytes, view, offset, length),
        );
      }
      loop.wake();
      log.info(
        `ready: version ${VERSION}, ${describeTransfers(transfers)}, ` +
          `capturing with ${description}`,
      );
      announceReady();
    }
    await running;
    replay.throwFailure();
  } finally {
    unsubscribe();
    for (const source of sources) source.close();
    loop.stop();
  }
  return 0;
}
