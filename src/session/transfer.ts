/** Which captured connections are replayed, and to where. Pure. */

/** One pair of online and target service; addresses as int32. */
export interface Transfer {
  /** Address of the online server, or undefined for any. */
  onlineAddress: number | undefined;
  onlinePort: number;
  targetAddress: number;
  targetPort: number;
  /**
   * Hardware addresses, six bytes each, of the device the packets for the target leave by and of the
   * next hop. For those who make frames; sessions do not look at them.
   */
  sourceMac?: Uint8Array;
  targetMac?: Uint8Array;
}

/** 127.0.0.1, int32 */
const LOCALHOST = 0x7f00_0001;

/** For recordings that know ports only: where the services were, as the pairs say. */
export function serviceAddress(transfers: readonly Transfer[]): (port: number) => number {
  return (port) =>
    transfers.find(({ onlinePort }) => onlinePort === port)?.onlineAddress ?? LOCALHOST;
}

/** The online ports that are copied whatever address they are reached at. */
export function portsOfAnyAddress(transfers: readonly Transfer[]): Set<number> {
  return new Set(
    transfers.filter(({ onlineAddress }) => onlineAddress === undefined)
      .map(({ onlinePort }) => onlinePort),
  );
}

/** All pairs, with the distinct targets numbered. */
export class TransferMap {
  readonly transfers: readonly Transfer[];
  /** For every transfer the number of its target. */
  readonly targetOf: readonly number[];
  /** Whether some target is an online service of some transfer: what is sent may be captured. */
  readonly mayLoop: boolean;
  readonly #targets: { address: number; port: number }[] = [];

  constructor(transfers: readonly Transfer[]) {
    this.transfers = transfers;
    this.targetOf = transfers.map(({ targetAddress, targetPort }) => {
      const known = this.targetIndex(targetAddress, targetPort);
      if (known >= 0) return known;
      this.#targets.push({ address: targetAddress, port: targetPort });
      return this.#targets.length - 1;
    });
    this.mayLoop = this.#targets.some(({ address, port }) =>
      transfers.some((_, index) => this.matches(index, address, port))
    );
  }

  /** Whether transfer `index` takes packets sent to this address and port. */
  matches(index: number, address: number, port: number): boolean {
    const transfer = this.transfers[index];
    return transfer.onlinePort === port &&
      (transfer.onlineAddress === undefined || transfer.onlineAddress === address);
  }

  /** Distinct targets. */
  get targetCount(): number {
    return this.#targets.length;
  }

  /** Address and port of target `index`. */
  target(index: number): { readonly address: number; readonly port: number } {
    return this.#targets[index];
  }

  /** The number of the target with this address and port, or -1. */
  targetIndex(address: number, port: number): number {
    const targets = this.#targets;
    for (let i = 0; i < targets.length; i++) {
      if (targets[i].port === port && targets[i].address === address) return i;
    }
    return -1;
  }
}
