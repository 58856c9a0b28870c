/** Refuses devices that show the same packets. */

import { findOverlap } from "../capture/device_choice.ts";
import type { NetworkDevice } from "../capture/network_devices.ts";
import { UsageError } from "./fatal.ts";

/**
 * Checks the devices of `-i`.
 *
 * @param all the devices of this host
 * @throws UsageError when a packet would be seen on two of them
 */
export function refuseOverlap(
  all: readonly NetworkDevice[],
  devices: readonly NetworkDevice[],
): void {
  const overlap = findOverlap(all, devices);
  if (overlap === undefined) return;
  const [upper, lower] = overlap.map(({ name }) => name);
  throw new UsageError(
    `-i names ${upper} and ${lower}: what passes ${lower} is seen on ${upper} too and would ` +
      "be taken twice; name one of them",
  );
}
