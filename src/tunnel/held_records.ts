/**
 * Records of SYN-ACKs and RSTs, held for those who ask for their connection later. Pure; allocates
 * nothing per record.
 *
 * The announcement travels over the tunnel while the SYN travels to the target, so a fast target's
 * answer can win the race. What is held is bounded in number and age, and stays when somebody has
 * got it: another one may ask, too. There is at most one record for a connection, the newest: a
 * target repeats its SYN-ACK, and when ports are used again an older answer belongs to an earlier
 * connection.
 */

import type { Packet } from "../wire/packet.ts";
import { type RecordBytes, writeRecord } from "./record.ts";
import { ConnectionMap } from "./connection_map.ts";

/** A slot without a record, with one that nobody has got, with one that somebody has. */
const Held = { Free: 0, Waiting: 1, Delivered: 2 } as const;

const SOURCE_AT = 12;
const DESTINATION_AT = 16;
const SOURCE_PORT_AT = 20;
const DESTINATION_PORT_AT = 22;

/** A bounded ring of records, oldest first, with an index by connection. */
export class HeldRecords {
  /** The records; `find` returns offsets into it. */
  readonly view: DataView;
  /** Records that newer ones pushed out before anybody had asked for them. */
  evicted: number;
  /** Records that nobody asked for in time. */
  expired: number;
  readonly #bytes: Uint8Array;
  readonly #recordBytes: RecordBytes;
  readonly #isAnyTarget: boolean;
  readonly #capacity: number;
  readonly #maxAgeMs: number;
  /** Connection to slot number plus one. */
  readonly #slots: ConnectionMap;
  /** When each slot's record was held. */
  readonly #heldAtMs: Float64Array;
  /** What became of each slot's record, one of the values of `Held`. */
  readonly #states: Uint8Array;
  /** The slot the next record goes into; it is the oldest. */
  #next: number;

  /**
   * @param capacity how many records are held at most, above 0
   * @param maxAgeMs how long a record is worth delivering
   * @param seed see {@link ConnectionMap}
   * @param anyTargetAddress whether connections are told apart without the target's address; `find`
   * is then called with 0 for it
   */
  constructor(
    capacity: number,
    recordBytes: RecordBytes,
    maxAgeMs: number,
    seed: number,
    anyTargetAddress = false,
  ) {
    this.#isAnyTarget = anyTargetAddress;
    this.evicted = 0;
    this.expired = 0;
    this.#bytes = new Uint8Array(capacity * recordBytes);
    this.view = new DataView(this.#bytes.buffer);
    this.#recordBytes = recordBytes;
    this.#capacity = capacity;
    this.#maxAgeMs = maxAgeMs;
    this.#slots = new ConnectionMap(seed);
    this.#heldAtMs = new Float64Array(capacity);
    this.#states = new Uint8Array(capacity);
    this.#next = 0;
  }

  /** How many records are held, overdue ones included. */
  get size(): number {
    return this.#slots.size;
  }

  /**
   * Holds the record of an IPv4 packet from the target.
   *
   * @param isDelivered whether somebody has got it already
   */
  hold(packet: Packet, isDelivered: boolean, nowMs: number): void {
    const slot = this.#next;
    this.#next = slot + 1 === this.#capacity ? 0 : slot + 1;
    if (this.#states[slot] !== Held.Free) this.#giveUp(slot, nowMs);
    const earlier = this.#slots.set(
      packet.destinationAddress,
      packet.destinationPort,
      this.#isAnyTarget ? 0 : packet.sourceAddress,
      packet.sourcePort,
      slot + 1,
    );
    if (earlier !== 0) this.#states[earlier - 1] = Held.Free;
    this.#states[slot] = isDelivered ? Held.Delivered : Held.Waiting;
    this.#heldAtMs[slot] = nowMs;
    writeRecord(packet, this.#bytes, this.view, slot * this.#recordBytes, this.#recordBytes);
  }

  /**
   * Finds a connection's record.
   *
   * @returns its offset in `view`, valid until the next call of `hold`; -1 when there is none or it
   * is too old
   */
  find(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
    nowMs: number,
  ): number {
    if (this.#slots.size === 0) return -1;
    const value = this.#slots.get(clientAddress, clientPort, targetAddress, targetPort);
    if (value === 0) return -1;
    const slot = value - 1;
    if (nowMs - this.#heldAtMs[slot] > this.#maxAgeMs) {
      this.#giveUp(slot, nowMs);
      return -1;
    }
    this.#states[slot] = Held.Delivered;
    return slot * this.#recordBytes;
  }

  /** Frees a slot. */
  #giveUp(slot: number, nowMs: number): void {
    const at = slot * this.#recordBytes;
    const view = this.view;
    this.#slots.remove(
      view.getInt32(at + DESTINATION_AT),
      view.getUint16(at + DESTINATION_PORT_AT),
      this.#isAnyTarget ? 0 : view.getInt32(at + SOURCE_AT),
      view.getUint16(at + SOURCE_PORT_AT),
    );
    const wasWaiting = this.#states[slot] === Held.Waiting;
    this.#states[slot] = Held.Free;
    if (!wasWaiting) return;
    if (nowMs - this.#heldAtMs[slot] > this.#maxAgeMs) this.expired++;
    else this.evicted++;
  }
}
