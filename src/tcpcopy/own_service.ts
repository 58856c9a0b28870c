/**
 * Refuses a target that is the captured service itself. Pure.
 *
 * What is sent there would be captured like every client's request, and replayed again without end;
 * and it would be production that gets it.
 */

import { formatEndpoint } from "../cli/addresses.ts";
import { UsageError } from "../cli/fatal.ts";
import type { Transfer } from "../session/transfer.ts";
import { parseIpv4 } from "../wire/ipv4.ts";

const LOOPBACK_NETWORK = 127;

/**
 * Checks the pairs of `-x` for an online replay.
 *
 * @param ownAddresses addresses of this host, as text; those of IPv6 are skipped
 * @throws UsageError when a target is among the services that are captured
 */
export function refuseOwnService(
  transfers: readonly Transfer[],
  ownAddresses: readonly string[],
): void {
  const own = new Set(ownAddresses.map(parseIpv4));
  for (const { targetAddress, targetPort } of transfers) {
    if (targetAddress >>> 24 !== LOOPBACK_NETWORK && !own.has(targetAddress)) continue;
    const isCaptured = transfers.some(({ onlineAddress, onlinePort }) =>
      onlinePort === targetPort && (onlineAddress === undefined || onlineAddress === targetAddress)
    );
    if (!isCaptured) continue;
    throw new UsageError(
      `-x: the target ${formatEndpoint(targetAddress, targetPort)} is on this host and is itself ` +
        "captured: the replay would be replayed without end; name another server or port",
    );
  }
}
