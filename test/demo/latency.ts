/**
 * Measures how long a server takes, from the packets on its network card alone. Pure.
 *
 * One measure is the time from the last packet of a request to the first packet of its response. It
 * knows nothing of who sent the request, so that a replayed one counts like a real one.
 */

import { seqLess } from "../../src/wire/sequence.ts";
import type { Packet } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

/** Percentiles of what was measured, µs; NaN when nothing was. */
export interface LatencyReport {
  count: number;
  p50Us: number;
  p99Us: number;
}

interface Flow {
  /** Ends of the newest payload seen each way, int32 sequence numbers. */
  requestEnd: number | undefined;
  responseEnd: number | undefined;
  /** When the newest packet of a request without a response came, µs; 0: none waits. */
  askedUs: number;
}

export class LatencyMeter {
  readonly #port: number;
  readonly #flows = new Map<number, Flow>();
  #measuresUs: number[] = [];

  /** @param port the server's */
  constructor(port: number) {
    this.#port = port;
  }

  /** Takes a packet of either direction, in order of time. */
  onPacket(packet: Packet, timestampUs: number): void {
    const isRequest = packet.destinationPort === this.#port;
    const address = isRequest ? packet.sourceAddress : packet.destinationAddress;
    const port = isRequest ? packet.sourcePort : packet.destinationPort;
    const key = (address >>> 0) * 65536 + port;
    // A new connection, or the last of an old one: what was known of this client port is over.
    if (packet.flags & (TcpFlag.Syn | TcpFlag.Rst)) this.#flows.delete(key);
    if (packet.payloadLength === 0) return;
    let flow = this.#flows.get(key);
    if (flow === undefined) {
      flow = { requestEnd: undefined, responseEnd: undefined, askedUs: 0 };
      this.#flows.set(key, flow);
    }
    const end = (packet.sequence + packet.payloadLength) | 0;
    if (isRequest) {
      if (flow.requestEnd !== undefined && !seqLess(flow.requestEnd, end)) return; // sent again
      flow.requestEnd = end;
      flow.askedUs = timestampUs;
    } else {
      if (flow.responseEnd !== undefined && !seqLess(flow.responseEnd, end)) return;
      flow.responseEnd = end;
      if (flow.askedUs > 0) this.#measuresUs.push(timestampUs - flow.askedUs);
      flow.askedUs = 0;
    }
  }

  /** What was measured since the last report. */
  report(): LatencyReport {
    const sorted = Float64Array.from(this.#measuresUs).sort();
    this.#measuresUs = [];
    return {
      count: sorted.length,
      p50Us: percentile(sorted, 0.5),
      p99Us: percentile(sorted, 0.99),
    };
  }
}

/** The smallest value that at least `share` of the values do not exceed (nearest rank). */
export function percentile(sorted: Float64Array, share: number): number {
  return sorted.length === 0 ? NaN : sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}
