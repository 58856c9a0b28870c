/**
 * The replay itself, without a source of packets: sessions, injector and tunnels on one event loop.
 *
 * A turn of the loop is: captured packets and responses are handed to the session table, then every
 * touched session is served once, then announcements leave, then packets. In this order a route is
 * on its way before the SYN whose answer needs it.
 */

import type { Logger } from "@logtape/logtape";
import { formatEndpoint } from "../cli/addresses.ts";
import type { RawIpInjector } from "../inject/raw_ip.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { TimerWheel } from "../loop/timer_wheel.ts";
import type { ReplayFigures } from "../observe/report.ts";
import type { SamplingRules } from "../session/client_sample.ts";
import type { SessionConfig } from "../session/config.ts";
import { Gate } from "../session/gate.ts";
import { Interlock, type InterlockRules } from "../session/interlock.ts";
import { SegmentWriter } from "../session/segment_writer.ts";
import { SessionTable } from "../session/session_table.ts";
import { portsOfAnyAddress, type Transfer, TransferMap } from "../session/transfer.ts";
import { DEFAULT_TUNNEL_FORM, type TunnelForm } from "../tunnel/form.ts";
import { formatIpv4 } from "../wire/ipv4.ts";
import { Packet, ParseResult } from "../wire/packet.ts";
import { isInPartition } from "../wire/partition.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import { type InjectWay, openInjector } from "./injector.ts";
import { interlockLog } from "./interlock_log.ts";
import { type InterceptAddress, Tunnels } from "./tunnels.ts";

/** What a replay is made from. */
export interface ReplayOptions {
  transfers: readonly Transfer[];
  intercepts: readonly InterceptAddress[];
  /** Parallel connections to each intercept. */
  tunnelConnections: number;
  /** The form of the tunnel; the original's by default. */
  tunnelForm?: TunnelForm;
  /** Whether `connect` also resolves while no intercept is there. Default false. */
  startsWithoutIntercept?: boolean;
  /** Whether `onLonely` is called when the last intercept is gone. Default false. */
  endsWithoutIntercept?: boolean;
  session: SessionConfig;
  /** Probes of a target that may fail in a row; see InterlockRules. Default: all of them. */
  maxFailedProbes?: InterlockRules["maxFailures"];
  /** How packets leave: by raw IP, or as frames where that is possible. */
  inject: InjectWay;
  /** The device frames leave by; by default what the routing table says. */
  outputDevice?: string;
  /** The libpcap to inject with instead of the system's. */
  libpcapPath?: string;
  log: Logger;
}

/** What may change while a replay runs. */
export interface Reconfiguration extends SamplingRules {
  joins: boolean;
  sessionTimeoutMs: number;
  keepAliveTimeoutMs: number;
  answerTimeoutMs: number;
  maxLagMs: number;
  /** How much captured payload may wait in this replay, bytes. */
  maxPayloadBytes: number;
}

/** How long, at the end, the network may take for the resets of all open connections. */
const RESETS_MS = 2_000;

const SYN_ACK = TcpFlag.Syn | TcpFlag.Ack;
const UNUSABLE_REASONS: readonly string[] = [
  "",
  "that are not IP",
  "that are not TCP",
  "that are IP fragments",
  "that are malformed",
  "whose headers were cut off",
  "of an unknown link type",
];

/** "port 80 to 198.18.0.2:8080, …" */
export function describeTransfers(transfers: readonly Transfer[]): string {
  return transfers.map(({ onlinePort, targetAddress, targetPort }) =>
    `port ${onlinePort} to ${formatEndpoint(targetAddress, targetPort)}`
  ).join(", ");
}

export class Replay {
  readonly loop = new EventLoop();
  readonly table: SessionTable;
  readonly log: Logger;
  readonly #injector: RawIpInjector;
  readonly #tunnels: Tunnels;
  readonly #interlock: Interlock;
  readonly #wheel: TimerWheel;
  readonly #packet = new Packet();
  readonly #response = new Packet();
  readonly #answer = new Packet();
  readonly #unusable = new Int32Array(UNUSABLE_REASONS.length);
  #captured = 0;
  /** SYNs over IPv6 among the captured packets, to the ports that have no address in -x. */
  readonly #ipv6Ports: ReadonlySet<number>;
  #openedOverIpv6 = 0;
  readonly #endsWithoutIntercept: boolean;
  #finished = false;

  /** @throws SystemError without the privilege to send packets */
  constructor(options: ReplayOptions) {
    this.log = options.log;
    this.#ipv6Ports = portsOfAnyAddress(options.transfers);
    this.#endsWithoutIntercept = options.endsWithoutIntercept ?? false;
    this.#injector = openInjector(
      options,
      this.loop,
      (text, isTrouble) => {
        if (isTrouble) this.log.warn(text);
        // All workers have the same to tell.
        else if (options.session.partition.index === 0) this.log.info(text);
      },
    );
    this.#wheel = new TimerWheel(this.loop.nowMs, 4096);
    this.#tunnels = new Tunnels(
      this.loop,
      {
        intercepts: options.intercepts,
        connections: options.tunnelConnections,
        form: options.tunnelForm ?? DEFAULT_TUNNEL_FORM,
        startsWithout: options.startsWithoutIntercept ?? false,
      },
      {
        onRecord: (bytes, view, offset, length) => this.#onRecord(bytes, view, offset, length),
        routePlaces: () => this.table.routePlaces,
        visitRoute: (place, visit) => this.table.visitRoute(place, visit),
        onWayBack: (works) => this.#onWayBack(works),
      },
      options.log,
    );
    const { session } = options;
    const transfers = new TransferMap(options.transfers);
    const gate = new Gate(this.#injector, transfers);
    this.table = new SessionTable(session, transfers, gate, this.#wheel, this.#tunnels);
    this.table.wayBackWorks = false;
    gate.counters = this.table.counters;
    this.#interlock = this.#makeInterlock(options, gate, transfers);
    this.loop.addTimerSource({
      nextDeadlineMs: () => this.#interlock.nextDeadlineMs(),
      advance: (nowMs) => {
        if (!this.#finished) this.#interlock.advance(nowMs);
      },
    });
    this.table.onEncrypted = (transfer) => {
      // Each worker sees some of such connections; one of them says so.
      if (options.session.partition.index > 0) return;
      const { onlinePort } = options.transfers[transfer];
      this.log.warn(
        `port ${onlinePort}: clients speak TLS, which cannot be replayed as it was captured (the ` +
          "target has other keys); such connections are left out and counted as encrypted. Copy " +
          "the traffic behind what ends TLS, or replay it all the same with --tls-as-is",
      );
    };
    this.table.onUnproven = (transfer) => {
      if (options.session.partition.index > 0) return;
      this.log.info(
        `port ${options.transfers[transfer].onlinePort}: the service's answers are not seen, so ` +
          "that what follows a SYN in order is taken for a client it has accepted",
      );
    };
    this.table.onForeign = ({ sourceAddress, destinationAddress, destinationPort }) => {
      const service = formatEndpoint(destinationAddress, destinationPort);
      const client = formatIpv4(sourceAddress);
      this.log.warn(
        `what another tcpcopy sends to ${service} (as client ${client}) is left out: replays of ` +
          "replays may go on for ever. --replay-replayed is for chains on purpose",
      );
    };
    const fire = (slot: number) => this.table.onTimer(slot);
    this.loop.addTimerSource({
      nextDeadlineMs: () => this.#wheel.nextDeadlineMs(),
      advance: (nowMs) => this.#wheel.advance(nowMs, fire),
    });
    // The loop may finish a turn that was under way: nothing is written any more by then.
    this.loop.onTurnEnd(() => {
      if (this.#finished) return;
      this.table.flush(this.loop.nowMs);
      this.#interlock.serve(this.loop.nowMs);
    });
  }

  #makeInterlock(
    { session, intercepts, maxFailedProbes }: ReplayOptions,
    gate: Gate,
    transfers: TransferMap,
  ): Interlock {
    const { store, counters } = this.table.context;
    const maxFailures = maxFailedProbes ?? { first: Infinity, later: Infinity };
    const listener = interlockLog(this.log, transfers, intercepts.map(({ address }) => address));
    return new Interlock(
      { probesFirst: session.clientAddresses.length === 0, maxFailures },
      gate,
      transfers,
      this.table,
      new SegmentWriter(this.#injector, store, counters, session.clockOffsetMs),
      {
        ...listener,
        onFailedProbe: (target, result, clientAddress, nextInMs) => {
          listener.onFailedProbe(target, result, clientAddress, nextInMs);
          if (nextInMs === Infinity) this.onHopeless();
        },
      },
    );
  }

  /** Whether what is captured waits for a target to prove itself. */
  get holds(): boolean {
    return this.#interlock.holds;
  }

  /** Connects to the intercepts; the loop must run. Rejects when one cannot be reached. */
  async connect(): Promise<void> {
    const connected = this.#tunnels.connect();
    this.loop.onTurnEnd(() => {
      if (!this.#finished) this.#injector.flush();
    });
    await connected;
  }

  /** Looks for TCP inside VXLAN, GRE, ERSPAN and IP in IP too, from now on. */
  stripTunnels(): void {
    this.#packet.stripsTunnels = true;
  }

  /** Takes a captured packet with the given link header. */
  onCaptured(
    linkType: number,
    bytes: Uint8Array,
    view: DataView,
    offset: number,
    length: number,
  ): void {
    this.#take(this.#packet.parse(linkType, bytes, view, offset, length));
  }

  /** Takes a packet if its client is of this replay's part; the first part takes what has none. */
  onUnsorted(
    linkType: number,
    bytes: Uint8Array,
    view: DataView,
    offset: number,
    length: number,
  ): void {
    const packet = this.#packet;
    const result = packet.parse(linkType, bytes, view, offset, length);
    const { partition } = this.table.config;
    const clientPort = isSynAck(packet) ? packet.destinationPort : packet.sourcePort;
    const isOwn = result === ParseResult.Tcp
      ? isInPartition(clientPort, partition)
      : partition.index === 0;
    if (isOwn) this.#take(result);
  }

  /** Takes an IPv4 packet of an online service. */
  onServiceAnswer(bytes: Uint8Array, view: DataView, offset: number, length: number): void {
    if (this.#finished) return;
    const packet = this.#answer;
    if (packet.parseIp(bytes, view, offset, length) === ParseResult.Tcp) {
      this.table.onServiceAccepts(packet, this.loop.nowMs);
    }
  }

  /** Packets the capture lost; set by the owner of the source. */
  captureDropped = (): number => 0;

  /** Connections over IPv6 that the source knows of and does not capture; set by its owner. */
  unseenIpv6 = (): number => 0;

  /** Told when the last intercept is gone and the replay is to end then; set by its owner. */
  onLonely = (): void => {};

  /** Told when a target is given up; set by the owner. */
  onHopeless = (): void => {};

  figures(): ReplayFigures {
    const unusable = new Map<string, number>();
    this.#unusable.forEach((count, result) => {
      if (count > 0) unusable.set(UNUSABLE_REASONS[result] || "over IPv6", count);
    });
    const injected = this.#injector.stats();
    const captureDropped = this.captureDropped();
    if (captureDropped > 0) this.table.context.missesPackets = true;
    return {
      ledger: this.table.ledger,
      counters: this.table.counters,
      delays: this.table.delays,
      captured: this.#captured,
      captureDropped,
      overIpv6: this.#openedOverIpv6 + this.unseenIpv6(),
      unusable,
      injected: injected.sent,
      injectErrors: injected.errors,
    };
  }

  /**
   * Ends every session at once and stops the loop. Resolves when the resets of the targets' connections
   * have left, or the network takes them too slowly.
   */
  async finish(): Promise<void> {
    if (this.#finished) return;
    this.#finished = true;
    const untilMs = performance.now() + RESETS_MS;
    this.#interlock.close(this.loop.nowMs);
    for (const _ of this.table.abortInBatches(this.loop.nowMs)) await this.#sendAll(untilMs);
    await this.#sendAll(untilMs);
    this.#tunnels.close();
    this.#injector.close();
    this.loop.stop();
  }

  async #sendAll(untilMs: number): Promise<void> {
    this.#injector.flush();
    while (this.#injector.stats().queued > 0 && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      this.#injector.flush();
    }
  }

  /** Takes the packet of the cursor, or counts why it is of no use. */
  #take(result: ParseResult): void {
    if (this.#finished) return;
    this.#captured++;
    const packet = this.#packet;
    if (result === ParseResult.Tcp && packet.ipVersion === 4) {
      this.table.onCaptured(packet, this.loop.nowMs);
      return;
    }
    this.#unusable[result]++;
    if (result !== ParseResult.Tcp || (packet.flags & SYN_ACK) !== TcpFlag.Syn) return;
    if (this.#ipv6Ports.has(packet.destinationPort)) this.#openedOverIpv6++;
  }

  #onRecord(bytes: Uint8Array, view: DataView, offset: number, length: number): void {
    if (this.#finished) return;
    const packet = this.#response;
    if (packet.parseIp(bytes, view, offset, length) !== ParseResult.Tcp) return;
    const { nowMs } = this.loop;
    if (!this.#interlock.onResponse(packet, nowMs)) this.table.onResponse(packet, nowMs);
  }

  /** Puts other settings in force. */
  reconfigure(next: Reconfiguration): void {
    const { maxPayloadBytes, ...rest } = next;
    this.table.limitPayload(maxPayloadBytes);
    Object.assign(this.table.config, rest);
    // Time-outs may have become shorter than what the timers stand at.
    this.table.touchAll();
    this.loop.wake();
  }

  #onWayBack(works: boolean): void {
    this.table.wayBackWorks = works;
    this.#interlock.setWayBack(works, this.loop.nowMs);
    if (!works && this.#endsWithoutIntercept && !this.#finished) this.onLonely();
    // Also when another intercept was there all the time: it may not have seen these answers.
    if (works) this.table.kickAll(this.loop.nowMs);
  }
}

/** Whether a packet is a service's answer to a client's SYN. */
function isSynAck({ flags }: Packet): boolean {
  return (flags & SYN_ACK) === SYN_ACK;
}
