/** What this host knows of the services it captures the requests of. */

import type { CapturePair } from "../capture/bpf.ts";
import { ConnectionLookup } from "../capture/connection_lookup.ts";
import { type OnAnswer, ServiceAnswers } from "../capture/service_answers.ts";
import type { ServiceEvidence } from "../session/service_evidence.ts";
import type { Partition } from "../wire/partition.ts";

/** Captured packets are not read later than this, if all is well. */
const KEPT_MS = 1_000;

/** Watches the services' SYN-ACKs, and asks the kernel where that does not help. */
export class HostEvidence implements ServiceEvidence {
  readonly #answers: ServiceAnswers;
  readonly #lookup: ConnectionLookup;
  /** Whether every captured packet is one for this host: what the kernel does not know, is not. */
  readonly #isAllHere: boolean;

  /** @throws SystemError, EPERM without root or CAP_NET_RAW */
  constructor(
    pairs: readonly CapturePair[],
    partition: Partition,
    isAllHere: boolean,
    onAnswer: OnAnswer,
  ) {
    this.#isAllHere = isAllHere;
    this.#answers = new ServiceAnswers(pairs, partition, onAnswer);
    try {
      this.#lookup = new ConnectionLookup();
    } catch (error) {
      this.#answers.close();
      throw error;
    }
  }

  lookAgain(isFound: () => boolean): void {
    this.#answers.look(isFound);
  }

  /** Takes SYN-ACKs that nobody has looked for; to be called now and then, so that there is room. */
  tidy(): void {
    this.#answers.handOld((Date.now() - KEPT_MS) * 1000);
  }

  hasConnection(
    clientAddress: number,
    clientPort: number,
    serviceAddress: number,
    servicePort: number,
  ): boolean | undefined {
    const nowMs = performance.now();
    const has = this.#lookup.has(clientAddress, clientPort, serviceAddress, servicePort, nowMs);
    return has || this.#isAllHere ? has : undefined;
  }

  /** SYN-ACKs that found no room. */
  get dropped(): number {
    return this.#answers.dropped;
  }

  close(): void {
    this.#answers.close();
    this.#lookup.close();
  }
}
