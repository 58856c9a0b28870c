/**
 * What intercept's log says about its port: who comes and goes, who is turned away, what looks like
 * somebody who should not be there. Anybody who reaches the port can cause these lines, so each kind
 * is limited.
 */

import type { Logger } from "@logtape/logtape";
import type { Endpoint } from "../../ffi/socket.ts";
import { formatEndpoint } from "../cli/addresses.ts";
import { LineLimit } from "../observe/line_limit.ts";
import { formatIpv4 } from "../wire/ipv4.ts";

/** A tcpcopy with many workers comes with many connections at once. */
const BURST_LINES = 40;
const LINE_EVERY_MS = 3000;
/** The others are seldom news twice. */
const WARNING_BURST_LINES = 5;
const WARNING_EVERY_MS = 30_000;

export class PortLog {
  readonly #nowMs: () => number;
  readonly #comings: LineLimit;
  readonly #refusals: LineLimit;
  readonly #claims: LineLimit;

  constructor(log: Logger, nowMs: () => number) {
    const warn = (line: string) => log.warn(line);
    this.#nowMs = nowMs;
    this.#comings = new LineLimit((line) => log.info(line), BURST_LINES, LINE_EVERY_MS);
    this.#refusals = new LineLimit(warn, WARNING_BURST_LINES, WARNING_EVERY_MS);
    this.#claims = new LineLimit(warn, WARNING_BURST_LINES, WARNING_EVERY_MS);
  }

  connected({ address, port }: Endpoint): void {
    this.#comings.say(`tcpcopy connected from ${formatEndpoint(address, port)}`, this.#nowMs());
  }

  closed({ address, port }: Endpoint, reason: string): void {
    this.#comings.say(`tcpcopy ${formatEndpoint(address, port)} is gone: ${reason}`, this.#nowMs());
  }

  refused({ address, port }: Endpoint, reason: string): void {
    this.#refusals.say(
      `a connection from ${formatEndpoint(address, port)} was turned away: ${reason}`,
      this.#nowMs(),
    );
  }

  /** A connection was announced from two addresses. */
  shared({ address }: Endpoint, earlier: Endpoint): void {
    this.#claims.say(
      `${formatIpv4(address)} announced connections that ${formatIpv4(earlier.address)} had ` +
        "announced: both get their headers. Give each tcpcopy its own addresses (-c) or ports (-f); " +
        "if one of them is a stranger, keep it out with --allow",
      this.#nowMs(),
    );
  }
}
