/** Lists of networks on the command line. Pure. */

import { parseIpv4 } from "../wire/ipv4.ts";
import { UsageError } from "./fatal.ts";

/** Most networks in one list: every new client is compared with each. */
export const MAX_NETWORKS = 4096;

/**
 * Reads addresses and CIDR networks, separated by commas.
 *
 * @returns pairs of address and mask, int32
 * @throws UsageError for anything else
 */
export function parseNetworks(text: string, option: string): Int32Array {
  const items = text.split(",").map((item) => item.trim());
  if (items.length > MAX_NETWORKS) {
    throw new UsageError(`${option}: ${items.length} networks, expected at most ${MAX_NETWORKS}`);
  }
  const pairs = new Int32Array(items.length * 2);
  items.forEach((item, index) => {
    const parts = item.split("/");
    const address = parseIpv4(parts[0]);
    const bits = parts.length === 1 ? 32 : Number(parts[1]);
    const isForm = parts.length <= 2 && /^\d{1,2}$/.test(parts[1] ?? "32") && bits <= 32;
    if (address === undefined || !isForm) {
      throw new UsageError(
        `${option} "${item}": expected addresses or networks such as 192.0.2.0/24, ` +
          "separated by commas",
      );
    }
    const mask = bits === 0 ? 0 : -(2 ** (32 - bits)) | 0;
    if ((address & mask) !== address) {
      throw new UsageError(`${option} "${item}": bits are set behind the prefix of ${bits}`);
    }
    pairs[index * 2] = address;
    pairs[index * 2 + 1] = mask;
  });
  return pairs;
}
