/**
 * Finds the `tcpcopy` filters of a Layotto (MOSN) configuration, and the listeners they stand in: what
 * they listen on, and whether that can be captured. Pure.
 */

import { unknownName } from "../closest.ts";
import { parseIpv4 } from "../wire/ipv4.ts";
import { StrategyError } from "./strategy.ts";

/** A filter, with what is around it. */
export interface TcpcopyFilter {
  /** Its settings, as they stand there; null for none. */
  config: unknown;
  /** The listener around it, if there is one. */
  listener: Record<string, unknown> | undefined;
}

/** A listener that can be captured. */
export interface CapturedListener {
  /** For messages: its name and address. */
  name: string;
  /** An IPv4 address or a host name; `undefined` for all addresses of this host. */
  host: string | undefined;
  /** 1..65535 */
  port: number;
}

/** All listeners with such a filter. */
export interface Listeners {
  captured: CapturedListener[];
  /** What cannot be captured, or not all of it: a sentence each, with the listener's name. */
  warnings: string[];
}

/** Deeper nesting is no configuration. */
const MAX_DEPTH = 200;

/** The filters in a configuration, in their order. */
export function findFilters(root: Record<string, unknown>): TcpcopyFilter[] {
  const found: TcpcopyFilter[] = [];
  visit(root, undefined, 0, found);
  return found;
}

/**
 * The listeners the filters stand in, each once.
 *
 * @throws StrategyError for an address that is none, as Layotto does
 */
export function listenersOf(root: Record<string, unknown>): Listeners {
  const listeners: Listeners = { captured: [], warnings: [] };
  const around = new Set(findFilters(root).map(({ listener }) => listener));
  for (const listener of around) {
    if (listener !== undefined) readListener(listener, listeners);
  }
  return listeners;
}

/**
 * The strategy in a filter's settings, as it stands there.
 *
 * @returns `undefined` when there is none
 * @throws StrategyError for other settings
 */
export function strategyIn({ config }: TcpcopyFilter): { value: unknown } | undefined {
  if (config === null) return undefined;
  if (!isObject(config)) {
    throw new StrategyError(
      `config of the tcpcopy filter: expected an object with "strategy", came ${
        JSON.stringify(config).slice(0, 80)
      }`,
    );
  }
  for (const name of Object.keys(config)) {
    const refusal = unknownName(name, ["strategy"]);
    if (refusal !== undefined) throw new StrategyError(refusal);
  }
  return "strategy" in config ? { value: config.strategy } : undefined;
}

/** Whether a value is what JSON calls an object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function visit(
  value: unknown,
  listener: Record<string, unknown> | undefined,
  depth: number,
  found: TcpcopyFilter[],
): void {
  if (depth > MAX_DEPTH) return;
  if (Array.isArray(value)) {
    for (const item of value) visit(item, listener, depth + 1, found);
    return;
  }
  if (!isObject(value)) return;
  const { type, config = null } = value;
  const isFilter = type === "tcpcopy" &&
    (listener !== undefined || isObject(config) && "strategy" in config);
  if (isFilter) {
    found.push({ config, listener });
    return;
  }
  const around = "filter_chains" in value ? value : listener;
  for (const item of Object.values(value)) visit(item, around, depth + 1, found);
}

function readListener(listener: Record<string, unknown>, to: Listeners): void {
  const { name, address, network, inspector } = listener;
  const called = typeof name === "string" ? `listener "${name}"` : "a listener without a name";
  if (typeof address !== "string" || address === "") {
    throw new StrategyError(
      `${called}: expected an address such as 127.0.0.1:34904, came ${
        JSON.stringify(address) ?? "nothing"
      }`,
    );
  }
  const where = `${called} (${address})`;
  const protocol = typeof network === "string" && network !== "" ? network.toLowerCase() : "tcp";
  if (protocol !== "tcp") {
    to.warnings.push(`${where} is left out: it is no TCP listener, but "${protocol}"`);
    return;
  }
  const { host, port } = parseAddress(address, called);
  if (hasTls(listener)) {
    if (inspector !== true) {
      to.warnings.push(
        `${where} is left out: it speaks TLS, and what can be captured of that is ciphertext; ` +
          `for plaintext put --proxy behind what ends TLS (-p ${port} records the ciphertext)`,
      );
      return;
    }
    to.warnings.push(`${where}: what comes by TLS is recorded as ciphertext`);
  }
  if (host.includes(":")) {
    if (!isUnspecified(host)) {
      to.warnings.push(`${where} is left out: IPv6 is not captured`);
      return;
    }
    to.warnings.push(`${where}: clients that come by IPv6 are not captured`);
  }
  const isAny = host === "" || host.includes(":") || parseIpv4(host) === 0;
  to.captured.push({ name: where, host: isAny ? undefined : host, port });
}

/** Takes "host:port" and "[address]:port" apart. */
function parseAddress(address: string, called: string): { host: string; port: number } {
  const parts = /^(?:\[([^\]]*)\]|([^:]*)):([^:]*)$/.exec(address);
  if (parts === null) {
    throw new StrategyError(
      `${called}: expected an address such as 127.0.0.1:34904, came "${address}"`,
    );
  }
  const [, bracketed, plain, text] = parts;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) {
    throw new StrategyError(
      `${called}: expected a port from 1 to 65535 behind the colon, came "${address}"`,
    );
  }
  return { host: bracketed ?? plain, port };
}

/** The address of no host, IPv6: all of them. */
function isUnspecified(host: string): boolean {
  return /^[0:]+$/.test(host);
}

function hasTls({ filter_chains: chains }: Record<string, unknown>): boolean {
  if (!Array.isArray(chains)) return false;
  return chains.filter(isObject).some(({ tls_context: one, tls_context_set: several }) =>
    [one, ...Array.isArray(several) ? several : []].some((context) =>
      isObject(context) && context.status === true
    )
  );
}
