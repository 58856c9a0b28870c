/** Host names to IPv4 addresses, the way every other program on the host does it. */

import { lookup } from "node:dns/promises";
import { parseIpv4 } from "../wire/ipv4.ts";
import { UsageError } from "./fatal.ts";

/**
 * The IPv4 address of a host, int32.
 *
 * @throws UsageError when the name is unknown or has no IPv4 address
 */
export async function resolveIpv4(host: string, option: string): Promise<number> {
  const literal = parseIpv4(host);
  if (literal !== undefined) return literal;
  try {
    const { address } = await lookup(host, { family: 4 });
    return parseIpv4(address)!;
  } catch (error) {
    const code = (error as { code?: string }).code ?? "unknown";
    throw new UsageError(`${option} ${host}: the name has no IPv4 address here (${code})`);
  }
}
