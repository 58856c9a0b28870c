/** Adds up what several parts of one replay counted. Pure. */

import { SessionCounters } from "../session/counters.ts";
import { Delays } from "../session/delays.ts";
import { Ledger } from "../session/ledger.ts";
import type { ReplayFigures } from "./report.ts";

/**
 * The figures of the whole. Those of the parts may have come from another thread, that is, as bare
 * data without methods; the result has them.
 */
export function mergeFigures(parts: readonly PlainFigures[]): ReplayFigures {
  const ledger = new Ledger();
  const counters = new SessionCounters();
  const delays = new Delays();
  const unusable = new Map<string, number>();
  const injectErrors = new Map<string, number>();
  const whole = { captured: 0, captureDropped: 0, overIpv6: 0, injected: 0 };
  for (const part of parts) {
    ledger.seen += part.ledger.seen;
    part.ledger.ended.forEach((count, outcome) => ledger.ended[outcome] += count);
    for (const key of Object.keys(counters) as (keyof SessionCounters)[]) {
      counters[key] += part.counters[key];
    }
    delays.add(part.delays);
    whole.captured += part.captured;
    whole.captureDropped += part.captureDropped;
    whole.overIpv6 += part.overIpv6;
    whole.injected += part.injected;
    addTo(unusable, part.unusable);
    addTo(injectErrors, part.injectErrors);
  }
  return { ...whole, ledger, counters, delays, unusable, injectErrors };
}

/** Figures as they arrive from another thread. */
export interface PlainFigures extends Omit<ReplayFigures, "ledger" | "delays"> {
  ledger: Pick<Ledger, "seen" | "ended">;
  delays: Pick<Delays, "counts" | "maxMs">;
}

function addTo(sums: Map<string, number>, counts: ReadonlyMap<string, number>): void {
  for (const [name, count] of counts) sums.set(name, (sums.get(name) ?? 0) + count);
}
