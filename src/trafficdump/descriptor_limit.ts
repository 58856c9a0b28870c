/**
 * Shares out the descriptors this process may open (RLIMIT_NOFILE): the proxies get what the rest
 * can do without, so that neither can take the other's. Reads /proc.
 */

import { UsageError } from "../cli/fatal.ts";

/** Connections to the endpoint, on all its listeners together. */
export const MAX_ENDPOINT_CONNECTIONS = 64;
/** Kept for files, threads, capture, user filters and the runtime. */
const OTHERS = 136;
/** One towards the client, one towards the service. */
const PER_CONNECTION = 2;

/** The soft limit of this process's descriptors; Infinity for none. */
export function descriptorLimit(): number {
  // getrlimit(2), as proc_pid_limits(5) shows it: soft limit, hard limit.
  const limits = Deno.readTextFileSync("/proc/self/limits");
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
}

/**
 * Connections each of the proxies may have: what was asked for, or its share of what the limit allows.
 *
 * @throws UsageError when not one is left for each
 */
export function connectionsPerProxy(wanted: number, proxies: number, limit: number): number {
  const reserved = MAX_ENDPOINT_CONNECTIONS + OTHERS;
  const share = Math.floor((limit - reserved) / PER_CONNECTION / proxies);
  if (share >= 1) return Math.min(wanted, share);
  throw new UsageError(
    `--proxy: expected at least ${reserved + PER_CONNECTION * proxies} open files to be allowed, ` +
      `came ${limit}: raise the limit (ulimit -n, LimitNOFILE= of systemd)`,
  );
}
