/**
 * Refuses source addresses of the replay that belong to somebody: a server under one of them gets the
 * target's answers, knows nothing of such connections and resets them, or takes part in them. Pure.
 */

import { UsageError } from "../cli/fatal.ts";
import type { Transfer } from "../session/transfer.ts";
import { formatIpv4, parseIpv4 } from "../wire/ipv4.ts";

/** Whose an address may be, by the names that `--allow-unsafe-clients` knows. */
export const UNSAFE_KINDS = ["target", "intercept", "online", "own-address", "loopback"] as const;
/** One of them. */
export type UnsafeKind = typeof UNSAFE_KINDS[number];

/** What the source addresses are compared with; addresses as int32. */
export interface Surroundings {
  transfers: readonly Pick<Transfer, "onlineAddress" | "targetAddress">[];
  /** Where intercept runs. */
  intercepts: readonly { address: number }[];
  /** Addresses of this host, as text; those of IPv6 are skipped. */
  ownAddresses: readonly string[];
}

const OWNERS: Readonly<Record<UnsafeKind, string>> = {
  target: "the target's own address",
  intercept: "the address of intercept's host",
  online: "the online server's address",
  "own-address": "an address of this host",
  loopback: "a loopback address, which no other host answers to",
};

const LOOPBACK_NETWORK = 127;

/**
 * Reads the value of `--allow-unsafe-clients`.
 *
 * @throws UsageError for a name that is none
 */
export function parseUnsafeKinds(text: string): Set<UnsafeKind> {
  const kinds = new Set<UnsafeKind>();
  for (const name of text.split(",").map((item) => item.trim())) {
    const kind = UNSAFE_KINDS.find((known) => known === name);
    if (kind === undefined) {
      throw new UsageError(
        `--allow-unsafe-clients: expected some of ${UNSAFE_KINDS.join(", ")}, separated by ` +
          `commas, got "${name}"`,
      );
    }
    kinds.add(kind);
  }
  return kinds;
}

/**
 * Checks source addresses. Where all targets are on the loopback device, so may the clients be: what
 * they send does not leave the host.
 *
 * @param option the option that names them
 * @param addresses int32
 * @param allowed what the user takes the risk of
 * @throws UsageError for the first address that is somebody's
 */
export function refuseUnsafeClients(
  option: string,
  addresses: Iterable<number>,
  { transfers, intercepts, ownAddresses }: Surroundings,
  allowed: ReadonlySet<UnsafeKind>,
): void {
  const owners = new Map<number, UnsafeKind>();
  const add = (address: number | undefined, kind: UnsafeKind): void => {
    if (address !== undefined && !owners.has(address)) owners.set(address, kind);
  };
  for (const { targetAddress } of transfers) add(targetAddress, "target");
  for (const { address } of intercepts) add(address, "intercept");
  for (const { onlineAddress } of transfers) add(onlineAddress, "online");
  for (const text of ownAddresses) add(parseIpv4(text), "own-address");
  const staysHere = transfers.every(({ targetAddress }) => isLoopback(targetAddress));
  for (const address of addresses) {
    if (isLoopback(address) && staysHere) continue;
    const kind = isLoopback(address) ? "loopback" : owners.get(address);
    if (kind === undefined || allowed.has(kind)) continue;
    throw new UsageError(
      `${option}: ${formatIpv4(address)} is ${
        OWNERS[kind]
      }: replayed clients need addresses that ` +
        "nobody has, and that the target routes to intercept's host; name others, or take the " +
        `risk with --allow-unsafe-clients ${kind}`,
    );
  }
}

function isLoopback(address: number): boolean {
  return address >>> 24 === LOOPBACK_NETWORK;
}
