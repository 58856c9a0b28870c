/** Settings of the session layer. Pure. */

import { type Partition, WHOLE } from "../wire/partition.ts";
import type { SamplingRules } from "./client_sample.ts";

/**
 * How sessions behave; see DEFAULT_SESSION_CONFIG.
 *
 * The sampling rules, `joins`, the session time-outs, `answerTimeoutMs` and `maxLagMs` may be changed while sessions are open.
 */
export interface SessionConfig extends SamplingRules {
  /** Largest IP packet sent to a target, bytes. */
  mtuBytes: number;
  /** Largest MSS announced to a target, bytes. */
  mssBytes: number;
  /** Cap of the payload memory, bytes. */
  maxPayloadBytes: number;
  /** Most sessions at a time. */
  maxSessions: number;
  /** Copies of every captured connection. */
  copies: number;
  /** Whether connections that were open before the capture began are replayed from some request on. */
  joins: boolean;
  /** Source addresses of the replay, int32; empty: the clients' own. */
  clientAddresses: Int32Array;
  /** Source address in place of 127.0.0.0/8, int32; 0: none. */
  localhostAddress: number;
  /** The captured port is moved up by this much. */
  portShift: number;
  /** Only ports with this remainder when divided by `portClasses` are used. */
  portClass: number;
  portClasses: number;
  /** Whether the target may answer from another address than the one it was sent to. */
  anyTargetAddress: boolean;
  /** The part of all client ports that this table may use, towards the targets. */
  partition: Partition;
  /** Whether a request waits for the answer its client had read. */
  waitForAnswers: boolean;
  /** A session in which nothing happens for so long ends. */
  sessionTimeoutMs: number;
  /** The same while everything sent was answered and nothing waits, if longer. */
  keepAliveTimeoutMs: number;
  /** A SYN that is not answered for so long ends the session. */
  connectTimeoutMs: number;
  /** A missing captured segment is waited for this long. */
  gapTimeoutMs: number;
  /** An answer that has not begun is waited for this long beyond the time it took online. */
  answerTimeoutMs: number;
  /** A session further behind its capture stops waiting for answers; 0: none does. */
  maxLagMs: number;
  /**
   * Whether captured packets with a wrong checksum are left out, as their server did: always, or only
   * while most are right (files may have been made or edited without).
   */
  checksums: "must be right" | "mostly right" | "do not matter";
  /** Replays by other tcpcopies in a row that are replayed again, 0 to MAX_GENERATIONS. */
  maxGenerations: number;
  /** Whether connections that begin with TLS are replayed like any other. */
  replaysTls: boolean;
  /** Connections in a row that the target may end without having answered. */
  maxFruitless: number;
  /** Pause before the connection after the first such one; it doubles with each. */
  firstBackoffMs: number;
  /** Most connections after such ones that are opened in a second, to each target. */
  maxRetriesPerSecond: number;
  /** For so long after its end a connection's port is avoided and its route kept. */
  recentlyClosedMs: number;
  /** Added to the clock for sequence numbers and timestamps, so that both grow across restarts. */
  clockOffsetMs: number;
  /** Secret mixed into initial sequence numbers (RFC 6528). */
  secret: number;
}

export const DEFAULT_SESSION_CONFIG: SessionConfig = {
  mtuBytes: 1500,
  mssBytes: 1460,
  maxPayloadBytes: 512 << 20,
  maxSessions: 1_000_000,
  copies: 1,
  percentage: 100,
  percentageRampMs: 0,
  sampleConnections: true,
  includeClients: new Int32Array(0),
  excludeClients: new Int32Array(0),
  joins: true,
  clientAddresses: new Int32Array(0),
  localhostAddress: 0,
  portShift: 0,
  portClass: 0,
  portClasses: 1,
  anyTargetAddress: false,
  partition: WHOLE,
  waitForAnswers: true,
  sessionTimeoutMs: 600_000,
  keepAliveTimeoutMs: 0,
  connectTimeoutMs: 20_000,
  gapTimeoutMs: 5_000,
  answerTimeoutMs: 5_000,
  maxLagMs: 30_000,
  checksums: "must be right",
  maxGenerations: 0,
  replaysTls: false,
  maxFruitless: 3,
  firstBackoffMs: 100,
  maxRetriesPerSecond: 100,
  recentlyClosedMs: 5_000,
  clockOffsetMs: 0,
  secret: 0,
};
