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
import { formatLedger, type ReplayFigures, summarize } from "../observe/report.ts";
import type { SamplingRules } from "../session/client_sample.ts";
import type { SessionConfig } from "../session/config.ts";
import { Outcome } from "../session/ledger.ts";
import { SessionTable } from "../session/session_table.ts";
import { type Transfer, TransferMap } from "../session/transfer.ts";
import { DEFAULT_TUNNEL_FORM, type TunnelForm } from "../tunnel/form.ts";
import { Packet, ParseResult } from "../wire/packet.ts";
import { type InjectWay, openInjector } from "./injector.ts";
import { MemoryGuard } from "./memory_guard.ts";
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
  /** Whether the replay ends when the last intercept is gone. Default false. */
  endsWithoutIntercept?: boolean;
  session: SessionConfig;
  /** How packets leave: by raw IP, or as frames where that is possible. */
  inject: InjectWay;
  /** The device frames leave by; by default what the routing table says. */
  outputDevice?: string;
  /** The libpcap to inject with instead of the system's. */
  libpcapPath?: string;
  /** Above this resident size no new session begins, bytes. */
  maxMemoryBytes: number;
  log: Logger;
  /** Whether the ledger is logged, too: a daemon's standard output leads nowhere. Default false. */
  logsLedger?: boolean;
}

/** What may change while a replay runs. */
export interface Reconfiguration extends SamplingRules {
  joins: boolean;
  sessionTimeoutMs: number;
  keepAliveTimeoutMs: number;
  maxMemoryBytes: number;
  maxPayloadBytes: number;
}

const REPORT_EVERY_MS = 30_000;
const WATCH_MEMORY_EVERY_MS = 500;

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
  readonly #memoryGuard: MemoryGuard;
  readonly #injector: RawIpInjector;
  readonly #tunnels: Tunnels;
  readonly #wheel: TimerWheel;
  readonly #packet = new Packet();
  readonly #response = new Packet();
  readonly #unusable = new Int32Array(UNUSABLE_REASONS.length);
  #captured = 0;
  readonly #endsWithoutIntercept: boolean;
  readonly #logsLedger: boolean;
  #finished = false;
  /** Why the replay ended by itself before its time. */
  #failure: Error | undefined;

  /** @throws SystemError without the privilege to send packets */
  constructor(options: ReplayOptions) {
    this.#memoryGuard = new MemoryGuard(options.maxMemoryBytes);
    this.log = options.log;
    this.#endsWithoutIntercept = options.endsWithoutIntercept ?? false;
    this.#logsLedger = options.logsLedger ?? false;
    this.#injector = openInjector(
      options,
      this.loop,
      (text, isTrouble) => isTrouble ? this.log.warn(text) : this.log.info(text),
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
        forEachRoute: (visit) => this.table.forEachRoute(visit),
        onWayBack: (works) => this.#onWayBack(works),
      },
      options.log,
    );
    this.table = new SessionTable(
      options.session,
      new TransferMap(options.transfers),
      this.#injector,
      this.#wheel,
      this.#tunnels,
    );
    this.table.wayBackWorks = false;
    const fire = (slot: number) => this.table.onTimer(slot);
    this.loop.addTimerSource({
      nextDeadlineMs: () => this.#wheel.nextDeadlineMs(),
      advance: (nowMs) => this.#wheel.advance(nowMs, fire),
    });
    this.loop.onTurnEnd(() => this.table.flush(this.loop.nowMs));
  }

  /** Connects to the intercepts; the loop must run. Rejects when one cannot be reached. */
  async connect(): Promise<void> {
    const connected = this.#tunnels.connect();
    this.loop.onTurnEnd(() => this.#injector.flush());
    this.loop.every(REPORT_EVERY_MS, () => this.log.info(summarize(this.figures())));
    this.loop.every(WATCH_MEMORY_EVERY_MS, () => this.#watchMemory());
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
    this.#captured++;
    const packet = this.#packet;
    const result = packet.parse(linkType, bytes, view, offset, length);
    if (result === ParseResult.Tcp && packet.ipVersion === 4) {
      this.table.onCaptured(packet, this.loop.nowMs);
    } else this.#unusable[result]++;
  }

  /** Packets the capture lost; set by the owner of the source. */
  captureDropped = (): number => 0;

  figures(): ReplayFigures {
    const unusable = new Map<string, number>();
    this.#unusable.forEach((count, result) => {
      if (count > 0) unusable.set(UNUSABLE_REASONS[result] || "over IPv6", count);
    });
    const injected = this.#injector.stats();
    return {
      ledger: this.table.ledger,
      counters: this.table.counters,
      captured: this.#captured,
      captureDropped: this.captureDropped(),
      unusable,
      injected: injected.sent,
      injectErrors: injected.errors,
    };
  }

  /** Ends every session at once, reports, and stops the loop. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.table.abortAll(this.loop.nowMs);
    this.#injector.flush();
    const figures = this.figures();
    this.log.info(summarize(figures));
    const ledger = formatLedger(figures);
    console.log(ledger);
    if (this.#logsLedger) { for (const line of ledger.split("\n")) this.log.info(line); }
    this.#tunnels.close();
    this.#injector.close();
    this.loop.stop();
  }

  #onRecord(bytes: Uint8Array, view: DataView, offset: number, length: number): void {
    const packet = this.#response;
    if (packet.parseIp(bytes, view, offset, length) === ParseResult.Tcp) {
      this.table.onResponse(packet, this.loop.nowMs);
    }
  }

  /** Puts other settings in force. */
  reconfigure(next: Reconfiguration): void {
    const { maxMemoryBytes, maxPayloadBytes, ...rest } = next;
    this.#memoryGuard.capBytes = maxMemoryBytes;
    this.table.limitPayload(maxPayloadBytes);
    Object.assign(this.table.config, rest);
    // Time-outs may have become shorter than what the timers stand at.
    this.table.touchAll();
    this.loop.wake();
  }

  /** @throws Error when the replay ended by itself before its time */
  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #onWayBack(works: boolean): void {
    if (!works && this.#endsWithoutIntercept && !this.#finished) {
      this.#failure = new Error("the last intercept is gone: ending (--exit-without-intercept)");
      this.finish();
      return;
    }
    this.table.wayBackWorks = works;
    // Also when another intercept was there all the time: it may not have seen these answers.
    if (works) this.table.kickAll(this.loop.nowMs);
  }

  #watchMemory(): void {
    const { table } = this;
    const notice = this.#memoryGuard.look({
      residentBytes: Deno.memoryUsage().rss,
      sparePayloadBytes: table.sparePayloadBytes,
      payloadBytes: table.payloadBytes,
      maxPayloadBytes: table.config.maxPayloadBytes,
      shedSessions: table.ledger.ended[Outcome.Shed],
    }, this.loop.nowMs);
    table.shedding = this.#memoryGuard.isShort;
    if (notice === undefined) return;
    if (notice.isTrouble) this.log.warn(notice.text);
    else this.log.info(notice.text);
  }
}
