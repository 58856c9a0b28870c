/** Online replay: the live packets of this host. */

import type { Logger } from "@logtape/logtape";
import { SystemError } from "../../ffi/errno.ts";
import { listeningPorts } from "../capture/open_connections.ts";
import { announceReady } from "../cli/daemon.ts";
import { giveUpPrivileges, type LaterFiles } from "../cli/privileges.ts";
import { onSignals } from "../loop/signals.ts";
import { formatCount } from "../observe/report.ts";
import type { Transfer } from "../session/transfer.ts";
import { VERSION } from "../version.ts";
import { isServiceHere, type LiveCapture } from "./live_capture.ts";
import { describeTransfers } from "./replay.ts";
import type { Watch } from "./watch.ts";

/**
 * Captures and replays until a signal says stop. After SIGINT what was captured is brought to its end,
 * within a bound; after SIGTERM, or a second signal, nothing more is sent but resets of what is open.
 *
 * @param files what it needs of the file system while it runs
 * @returns the exit code
 */
export async function runOnline(
  watch: Watch,
  transfers: readonly Transfer[],
  source: LiveCapture,
  log: Logger,
  files: LaterFiles,
): Promise<number> {
  // Whatever fails first ends the program.
  const { parts, failed, lonely } = watch;
  const stop = Promise.withResolvers<void>();
  const atOnce = Promise.withResolvers<void>();
  // Opened before anything is promised: without the privilege this is where it ends.
  const [from] = await Promise.all(parts.map((part) => part.open()));
  giveUpPrivileges(log, files);
  let signals = 0;
  let isUrgent = false;
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => {
    isUrgent ||= signal === "SIGTERM" || signals > 0;
    if (isUrgent) atOnce.resolve();
    if (++signals > 1) return;
    const open = formatCount(watch.figures().ledger.open);
    const what = isUrgent ? "the replay ends here" : "no more packets are captured";
    log.info(`${signal}: ${what}; ${open} sessions are open`);
    stop.resolve();
  });
  try {
    const connected = Promise.all(parts.map((part) => part.connect()));
    await Promise.race([connected, failed, stop.promise]);
    if (signals === 0) {
      await Promise.all(parts.map((part) => part.play(Date.now())));
      const through = parts.length === 1 ? from : `${parts.length} workers, each with ${from}`;
      log.info(
        `ready: version ${VERSION}, ${describeTransfers(transfers)}, capturing with ${through}`,
      );
      announceReady();
      watch.lookForSigns({
        ports: transfers.map(({ onlinePort }) => onlinePort),
        listening: isServiceHere(source) ? (ports) => listeningAmong(ports, log) : undefined,
      });
    }
    await Promise.race([stop.promise, lonely, failed]);
    if (signals > 0 && !isUrgent) {
      const drained = Promise.all(parts.map((part) => part.drain()));
      await Promise.race([drained, atOnce.promise, lonely, failed]);
    }
    watch.report(await Promise.all(parts.map((part) => part.finish())));
    watch.assertIntercept();
  } finally {
    unsubscribe();
  }
  return 0;
}

/** Which of the ports have a service here; all of them, when the kernel does not tell. */
function listeningAmong(ports: ReadonlySet<number>, log: Logger): ReadonlySet<number> {
  try {
    return listeningPorts(ports);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    log.warn(`whether services listen on the ports of -x is not known (${error.message})`);
    return ports;
  }
}
