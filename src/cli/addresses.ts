/**
 * Reads the addresses people write on the command line. Pure; errors say what was expected, what
 * came and what to do.
 */

import type { Transfer } from "../session/transfer.ts";
import { formatIpv4, parseIpv4 } from "../wire/ipv4.ts";
import { UsageError } from "./fatal.ts";

/** Most source addresses that `-c` may name. */
export const MAX_CLIENT_ADDRESSES = 1 << 16;

/** Reads a port, 1..65535. */
export function parsePort(text: string, where: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65535) {
    throw new UsageError(`${where}: expected a port from 1 to 65535, got "${text}"`);
  }
  return port;
}

/** Reads an IPv4 address. */
export function parseAddress(text: string, where: string): number {
  const address = parseIpv4(text);
  if (address === undefined) {
    throw new UsageError(`${where}: expected an IPv4 address such as 192.0.2.1, got "${text}"`);
  }
  return address;
}

/** Refuses what is no address of a single host: 0.0.0.0/8, multicast, reserved and broadcast. */
function assertUnicast(address: number, where: string): void {
  const network = address >>> 24;
  if (network >= 1 && network < 224) return;
  throw new UsageError(`${where}: ${formatIpv4(address)} is not the address of a host`);
}

const TRANSFER_FORM = "[onlineIP:]onlinePort-targetIP:targetPort, for example 80-192.0.2.10:8080";

/**
 * Reads the pairs of `-x`: `[onlineIP:]onlinePort-targetIP:targetPort`, separated by commas. Each side
 * may have "@" and a hardware address at its end: of the device packets leave by, and of the next hop.
 *
 * @throws UsageError for anything else
 */
export function parseTransfers(text: string): Transfer[] {
  const transfers: Transfer[] = [];
  for (const pair of splitList(text, "-x", TRANSFER_FORM)) {
    const where = `-x ${pair}`;
    // A hardware address on the right may have dashes of its own.
    const sides = /^([^-]*)-([^@]*(?:@.*)?)$/.exec(pair);
    if (sides === null) throw new UsageError(`${where}: expected ${TRANSFER_FORM}`);
    const [onlineText, sourceMac] = splitHardwareAddress(sides[1], where);
    const [targetText, targetMac] = splitHardwareAddress(sides[2], where);
    const online = onlineText.split(":");
    const target = targetText.split(":");
    if (online.length > 2 || target.length !== 2) {
      throw new UsageError(`${where}: expected ${TRANSFER_FORM}`);
    }
    const transfer: Transfer = {
      onlineAddress: online.length === 2 ? parseAddress(online[0], where) : undefined,
      onlinePort: parsePort(online[online.length - 1], where),
      targetAddress: parseAddress(target[0], where),
      targetPort: parsePort(target[1], where),
      ...(sourceMac !== undefined && { sourceMac }),
      ...(targetMac !== undefined && { targetMac }),
    };
    if (transfer.onlineAddress !== undefined) assertUnicast(transfer.onlineAddress, where);
    assertUnicast(transfer.targetAddress, where);
    if (
      transfer.onlineAddress === transfer.targetAddress &&
      transfer.onlinePort === transfer.targetPort
    ) throw new UsageError(`${where}: online and target server are the same`);
    if (transfers.some((other) => isSame(other, transfer))) {
      throw new UsageError(`${where}: this pair is named twice; to send everything twice use -n 2`);
    }
    transfers.push(transfer);
  }
  return transfers;
}

function isSame(one: Transfer, other: Transfer): boolean {
  return one.onlineAddress === other.onlineAddress && one.onlinePort === other.onlinePort &&
    one.targetAddress === other.targetAddress && one.targetPort === other.targetPort;
}

/** Takes "…@hardware address" apart; the address is optional. */
function splitHardwareAddress(text: string, where: string): [string, Uint8Array | undefined] {
  const at = text.indexOf("@");
  if (at < 0) return [text, undefined];
  const address = text.slice(at + 1);
  if (!/^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(address)) {
    throw new UsageError(
      `${where}: expected a hardware address such as 02:00:00:00:00:01 behind @, got "${address}"`,
    );
  }
  const mac = Uint8Array.from(address.split(/[:-]/), (byte) => parseInt(byte, 16));
  // The lowest bit of the first byte: a group of stations, broadcast among them.
  if ((mac[0] & 1) !== 0 || mac.every((byte) => byte === 0)) {
    throw new UsageError(`${where}: ${address} is not the hardware address of one station`);
  }
  return [text.slice(0, at), mac];
}

const CLIENT_FORM =
  "addresses (198.18.0.7), ranges a.b.c.x (198.18.0.x is .1 to .254) or CIDR (198.18.0.0/24)";

/**
 * Reads the source addresses of `-c`: addresses, `a.b.c.x` and CIDR ranges, separated by commas.
 * Network and broadcast address of a range are left out.
 *
 * @returns the addresses as int32, each once
 */
export function parseClientAddresses(text: string): Int32Array {
  const addresses = new Set<number>();
  for (const item of splitList(text, "-c", CLIENT_FORM)) {
    for (const address of expandClientRange(item)) {
      assertUnicast(address, `-c ${item}`);
      addresses.add(address);
      if (addresses.size > MAX_CLIENT_ADDRESSES) {
        throw new UsageError(
          `-c ${text}: more than ${MAX_CLIENT_ADDRESSES} addresses; name a smaller range`,
        );
      }
    }
  }
  return Int32Array.from(addresses);
}

function* expandClientRange(item: string): Generator<number> {
  const where = `-c ${item}`;
  if (item.endsWith(".x")) {
    const base = parseIpv4(`${item.slice(0, -1)}0`);
    if (base === undefined) throw new UsageError(`${where}: expected ${CLIENT_FORM}`);
    for (let host = 1; host <= 254; host++) yield (base + host) | 0;
    return;
  }
  const slash = item.indexOf("/");
  if (slash < 0) {
    const address = parseIpv4(item);
    if (address === undefined) throw new UsageError(`${where}: expected ${CLIENT_FORM}`);
    yield address;
    return;
  }
  const bits = Number(item.slice(slash + 1));
  if (!/^\d{1,2}$/.test(item.slice(slash + 1)) || bits < 8 || bits > 32) {
    throw new UsageError(`${where}: expected a prefix length from 8 to 32 behind the slash`);
  }
  const size = 2 ** (32 - bits);
  const base = parseAddress(item.slice(0, slash), where) & -size;
  const [first, last] = size <= 2 ? [0, size - 1] : [1, size - 2];
  for (let host = first; host <= last; host++) yield (base + host) | 0;
}

/** A host by name or address, with a port. */
export interface HostPort {
  host: string;
  port: number;
}

/** Reads `host[:port],…`. */
export function parseHosts(text: string, option: string, defaultPort: number): HostPort[] {
  return splitList(text, option, "host[:port]").map((item) => {
    const parts = item.split(":");
    if (parts.length > 2 || parts[0] === "") {
      throw new UsageError(`${option} ${item}: expected host[:port]`);
    }
    const port = parts.length === 2 ? parsePort(parts[1], `${option} ${item}`) : defaultPort;
    return { host: parts[0], port };
  });
}

/** Formats an address and a port. */
export function formatEndpoint(address: number, port: number): string {
  return `${formatIpv4(address)}:${port}`;
}

function splitList(text: string, option: string, form: string): string[] {
  const items = text.split(",").map((item) => item.trim());
  if (items.some((item) => item === "")) {
    throw new UsageError(`${option} "${text}": expected ${form}; an item of the list is empty`);
  }
  return items;
}
