/** Says in the log what the interlock does: what happened, why, and what to do about it. */

import type { Logger } from "@logtape/logtape";
import { formatEndpoint } from "../cli/addresses.ts";
import { type InterlockListener, StopCause } from "../session/interlock.ts";
import { ProbeResult } from "../session/probe.ts";
import type { TransferMap } from "../session/transfer.ts";
import { formatIpv4 } from "../wire/ipv4.ts";

/** Networks named in the log. */
const MAX_SILENT_NETWORKS = 20;

/** Makes the listener. `intercepts` are the addresses intercept runs at, int32. */
export function interlockLog(
  log: Logger,
  transfers: TransferMap,
  intercepts: readonly number[],
): InterlockListener {
  const nameOf = (target: number): string => {
    const { address, port } = transfers.target(target);
    return `target ${formatEndpoint(address, port)}`;
  };
  const gateways = intercepts.map(formatIpv4).join(" or ");
  /** Intercept on the target itself sees the answers as they leave. */
  const isBeside = (target: number): boolean =>
    intercepts.includes(transfers.target(target).address);
  /** What the target's routes are to say. */
  const routeOf = (target: number): string =>
    isBeside(target) ? "dev and a device of intercept's -i" : `via ${gateways}`;
  let silentNetworks = 0;
  return {
    onStop(target, cause, unanswered) {
      const why = cause === StopCause.Silent
        ? `nothing comes from it by way of intercept, after ${unanswered} packets that want an ` +
          `answer. Is it there, do its routes to the clients say ${routeOf(target)}, does ` +
          "intercept's filter let its answers through?"
        : "its connections are reset as soon as they are there, and not by itself. So somebody else " +
          "gets its answers and resets what he does not know: real clients, a router, or an " +
          "assistant that forwards (net.ipv4.ip_forward) or has the clients' addresses.";
      log.warn(`${nameOf(target)}: sending stops: ${why} It is probed until it answers again`);
    },
    onProbing(target, clientAddress) {
      const client = formatIpv4(clientAddress);
      log.info(
        `${
          nameOf(target)
        }: one probe as client ${client}; all else waits until its answer has come ` +
          "by way of intercept",
      );
    },
    onFailedProbe(target, result, clientAddress, nextInMs) {
      const route = routeOf(target);
      const why = explain(result, formatIpv4(clientAddress), route, isBeside(target));
      const isLast = nextInMs === Infinity;
      const next = isLast ? "that was the last one" : `next probe in ${nextInMs / 1000} s`;
      log.warn(`${nameOf(target)}: nothing is sent there: ${why}; ${next}`);
    },
    onGo(target) {
      log.info(`${nameOf(target)}: its answers come by way of intercept: sending`);
    },
    onSilentNetwork(target, clientAddress) {
      if (silentNetworks++ === MAX_SILENT_NETWORKS) {
        log.warn("clients of more networks are left out");
      }
      if (silentNetworks > MAX_SILENT_NETWORKS) return;
      const client = formatIpv4(clientAddress);
      log.warn(
        `${
          nameOf(target)
        }: clients near ${client} are left out but for a SYN every 10 s: nothing ` +
          `comes back for them, though it does for others. On the target, "ip route get ${client}" ` +
          `must say ${routeOf(target)}; else they get its answers themselves`,
      );
    },
  };
}

function explain(
  result: ProbeResult,
  client: string,
  route: string,
  isBeside: boolean,
): string {
  switch (result) {
    case ProbeResult.Refused:
      return "it refuses connections: does the service listen on that port?";
    case ProbeResult.CutOff:
      return `its answers come by way of intercept, but somebody else gets them, too, and resets ` +
        `the connections: client ${client} itself, or a router. On the target, the routes to all ` +
        `clients must say ${route}; where they lead nobody may forward what comes ` +
        "(net.ipv4.ip_forward=0)";
    case ProbeResult.Lost:
      return "it answered a probe once by way of intercept, and then no more: has it one route to " +
        `the clients only, which says ${route}?`;
    default:
      return `no answer to a probe as client ${client} came by way of intercept. Either the target ` +
        `is not there, or its answers go elsewhere: there, "ip route get ${client}" must say ` +
        `${route}${
          isBeside ? "" : ` ("ip route add ${client} ${route}", or the clients' network)`
        }` +
        ", and intercept's filter (-F) must let them through";
  }
}
