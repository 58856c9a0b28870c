/** What intercept counts, and the words for it. Pure. */

import { formatCount } from "../observe/report.ts";
import type { AnnouncedConnection } from "../tunnel/latest_announcements.ts";
import { TunnelServerStats } from "../tunnel/stats.ts";

/** The counts of one relay. */
export interface RelayFigures {
  /** Packets the captures delivered, and those they had to drop. */
  received: number;
  dropped: number;
  /** Packets that could not be parsed. */
  unusable: number;
  /** Announced connections that had to give way to newer ones. */
  routesEvicted: number;
  /** Early answers whose connection nobody announced in time. */
  heldLost: number;
  tunnel: TunnelServerStats;
  /** Connections announced last. */
  lastAnnounced: readonly AnnouncedConnection[];
}

/** The counts of nothing. */
export function noRelayFigures(): RelayFigures {
  return {
    received: 0,
    dropped: 0,
    unusable: 0,
    routesEvicted: 0,
    heldLost: 0,
    tunnel: new TunnelServerStats(),
    lastAnnounced: [],
  };
}

/** Adds up what several relays counted. */
export function mergeRelayFigures(parts: readonly RelayFigures[]): RelayFigures {
  const whole = noRelayFigures();
  const { tunnel } = whole;
  for (const part of parts) {
    whole.received += part.received;
    whole.dropped += part.dropped;
    whole.unusable += part.unusable;
    whole.routesEvicted += part.routesEvicted;
    whole.heldLost += part.heldLost;
    for (const key of Object.keys(tunnel) as (keyof TunnelServerStats)[]) {
      tunnel[key] += part.tunnel[key];
    }
  }
  whole.lastAnnounced = parts.flatMap(({ lastAnnounced }) => lastAnnounced);
  return whole;
}

/** One line for the log. */
export function summarizeRelay(figures: RelayFigures): string {
  const { received, dropped, unusable, tunnel } = figures;
  const parts = [
    `packets captured ${formatCount(received)}`,
    `headers sent ${formatCount(tunnel.records)}`,
    `routes announced ${formatCount(tunnel.announced)}, forgotten ${formatCount(tunnel.forgotten)}`,
  ];
  const add = (count: number, what: string) => {
    if (count > 0) parts.push(`${formatCount(count)} ${what}`);
  };
  add(tunnel.unrouted, "of connections nobody announced");
  add(tunnel.held, `held for their route (${formatCount(tunnel.heldDelivered)} delivered)`);
  add(figures.heldLost, "of them lost, as nobody announced their connection in time");
  add(figures.routesEvicted, "announced connections given up for newer ones (there are too many)");
  add(tunnel.shared, "connections announced from two addresses");
  add(tunnel.protocolErrors, "peers sent away that did not speak the protocol");
  add(tunnel.evicted, "idle peers sent away for newer ones");
  add(tunnel.refused, "connections turned away");
  add(dropped, "packets dropped by the capture (the kernel had no room: raise --buffer)");
  add(tunnel.dropped, "headers dropped because a tcpcopy reads too slowly");
  add(unusable, "packets that could not be parsed");
  add(tunnel.notIpv4, "packets over IPv6");
  return parts.join("; ");
}
