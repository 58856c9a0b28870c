/** Settings of the session layer. Pure. */

import { type Partition, WHOLE } from "../wire/partition.ts";

/** How sessions behave; see DEFAULT_SESSION_CONFIG. */
export interface SessionConfig {
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
  /** Share of the captured connections that is replayed, 1..100. */
  percentage: number;
  /** Source addresses of the replay, int32; empty: the clients' own. */
  clientAddresses: Int32Array;
  /** The part of all client ports that this table may use, towards the targets. */
  partition: Partition;
  /** Whether a request waits for the answer its client had read. */
  waitForAnswers: boolean;
  /** A session in which nothing happens for so long ends. */
  sessionTimeoutMs: number;
  /** A SYN that is not answered for so long ends the session. */
  connectTimeoutMs: number;
  /** A missing captured segment is waited for this long. */
  gapTimeoutMs: number;
  /** An answer shorter than the online server's counts as whole after so much silence. */
  answerPatienceMs: number;
  /** The same where answers have proved to be shorter. */
  answerQuietMs: number;
  /** How long a session whose capture ended waits for an answer that may never come. */
  endWaitMs: number;
  /** Reconnections in a row without an acknowledged byte. */
  maxFruitlessReconnects: number;
  /** For so long after its end a connection's port is avoided and its route kept. */
  recentlyClosedMs: number;
  /** Added to the clock for sequence numbers and timestamps, so that both grow across restarts. */
  clockOffsetMs: number;
  /** Secret mixed into initial sequence numbers (RFC 6528) and sampling. */
  secret: number;
}

export const DEFAULT_SESSION_CONFIG: SessionConfig = {
  mtuBytes: 1500,
  mssBytes: 1460,
  maxPayloadBytes: 512 << 20,
  maxSessions: 1_000_000,
  copies: 1,
  percentage: 100,
  clientAddresses: new Int32Array(0),
  partition: WHOLE,
  waitForAnswers: true,
  sessionTimeoutMs: 600_000,
  connectTimeoutMs: 20_000,
  gapTimeoutMs: 5_000,
  answerPatienceMs: 1_500,
  answerQuietMs: 50,
  endWaitMs: 5_000,
  maxFruitlessReconnects: 3,
  recentlyClosedMs: 5_000,
  clockOffsetMs: 0,
  secret: 0,
};
