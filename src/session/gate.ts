/**
 * A PacketSink in front of the injector that can be shut, target by target. Pure.
 *
 * What a session sends through a shut gate is lost to it, as on any network, and is sent again when
 * its time has come.
 */

import { IPV4_HEADER_BYTES } from "../wire/ipv4.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import { SessionCounters } from "./counters.ts";
import type { PacketSink } from "./sink.ts";
import type { TransferMap } from "./transfer.ts";
import type { UnansweredNetworks } from "./unanswered_networks.ts";

const TCP_OFFSET_AND_FLAGS = IPV4_HEADER_BYTES + 12;

/** The way to one target. */
export class Door {
  /** Whether packets are held back. */
  isShut = false;
  /** Whether it was open once, so that the target may have connections of ours. */
  wasOpen = true;
  /** Packets let through that want an answer (SYN, FIN, data) since `asked` was set to 0. */
  asked = 0;
  /** Source of the packet that was held back last; port 0: there was none. */
  clientAddress = 0;
  clientPort = 0;
  /** Set where the replay has the clients' own addresses: some of them may be left out by a route. */
  networks: UnansweredNetworks | undefined;
}

/** See the top of the file. */
export class Gate implements PacketSink {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** By number of target. */
  readonly doors: readonly Door[];
  /** Where packets held back are counted. */
  counters: Pick<SessionCounters, "heldPackets"> = new SessionCounters();
  readonly #sink: PacketSink;
  readonly #transfers: TransferMap;
  #at = -1;

  constructor(sink: PacketSink, transfers: TransferMap) {
    this.bytes = sink.bytes;
    this.view = sink.view;
    this.#sink = sink;
    this.#transfers = transfers;
    this.doors = Array.from({ length: transfers.targetCount }, () => new Door());
  }

  reserve(maxBytes: number): number {
    return this.#at = this.#sink.reserve(maxBytes);
  }

  commit(lengthBytes: number): void {
    const { view } = this;
    const at = this.#at;
    const door = this.doors.length === 1 ? this.doors[0] : this.#doorOf(at);
    const offsetAndFlags = view.getUint16(at + TCP_OFFSET_AND_FLAGS);
    // A reset draws no answer, and closes what is open.
    if (door.isShut && !(door.wasOpen && (offsetAndFlags & TcpFlag.Rst) !== 0)) {
      this.counters.heldPackets++;
      door.clientAddress = view.getInt32(at + 12);
      door.clientPort = view.getUint16(at + IPV4_HEADER_BYTES);
      return;
    }
    const { networks } = door;
    if (
      networks !== undefined && (offsetAndFlags & TcpFlag.Syn) !== 0 &&
      !networks.mayOpen(view.getInt32(at + 12))
    ) {
      this.counters.heldPackets++;
      return;
    }
    const headerBytes = IPV4_HEADER_BYTES + ((offsetAndFlags >>> 12) << 2);
    if (lengthBytes > headerBytes || (offsetAndFlags & (TcpFlag.Syn | TcpFlag.Fin)) !== 0) {
      door.asked++;
    }
    this.#sink.commit(lengthBytes);
  }

  #doorOf(at: number): Door {
    const { view } = this;
    const port = view.getUint16(at + IPV4_HEADER_BYTES + 2);
    return this.doors[this.#transfers.targetIndex(view.getInt32(at + 16), port)];
  }
}
