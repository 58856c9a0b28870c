/**
 * The connections of the one tcpcopy that a tunnel server in single mode serves. Touches its peers
 * only.
 *
 * Nothing tells whose a connection is. As in the original, those that come within 3 s of the first
 * are of the same tcpcopy; a later one is another's.
 */

import type { Packet } from "../wire/packet.ts";
import type { TunnelPeer } from "./peer.ts";

const SAME_CLIENT_MS = 3000;

export class SinglePeers {
  readonly #peers: TunnelPeer[] = [];
  readonly #isProtected: boolean;
  #sinceMs = -Infinity;

  /** @param isProtected whether a later tcpcopy is refused instead of taking the place */
  constructor(isProtected: boolean) {
    this.#isProtected = isProtected;
  }

  /** Whether a new connection is let in; it may put the others out. */
  admits(nowMs: number): boolean {
    if (this.#peers.length > 0 && nowMs - this.#sinceMs <= SAME_CLIENT_MS) return true;
    if (this.#peers.length > 0 && this.#isProtected) return false;
    this.#sinceMs = nowMs;
    for (const peer of [...this.#peers]) peer.end("another tcpcopy has taken its place");
    return true;
  }

  add(peer: TunnelPeer): void {
    this.#peers.push(peer);
  }

  remove(peer: TunnelPeer): void {
    const at = this.#peers.indexOf(peer);
    if (at >= 0) this.#peers.splice(at, 1);
  }

  /** The way of a packet; those of one connection always take the same, so they stay in order. */
  choose({ destinationAddress, destinationPort, sourcePort }: Packet): TunnelPeer | undefined {
    const count = this.#peers.length;
    if (count === 0) return undefined;
    return this.#peers[((destinationAddress + destinationPort + sourcePort) >>> 0) % count];
  }
}
