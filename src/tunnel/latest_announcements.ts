/** The connections that were announced last. Pure; allocates nothing per announcement. */

/** A connection of a tcpcopy's; addresses are int32, the target's is 0 where it does not count. */
export interface AnnouncedConnection {
  client: number;
  clientPort: number;
  target: number;
  targetPort: number;
}

const REMEMBERED = 8;
const WORDS = 4;

export class LatestAnnouncements {
  readonly #words = new Int32Array(REMEMBERED * WORDS);
  #count = 0;

  add(client: number, clientPort: number, target: number, targetPort: number): void {
    const at = (this.#count++ % REMEMBERED) * WORDS;
    this.#words[at] = client;
    this.#words[at + 1] = clientPort;
    this.#words[at + 2] = target;
    this.#words[at + 3] = targetPort;
  }

  /** The last ones, at most eight, latest first. */
  list(): AnnouncedConnection[] {
    const words = this.#words;
    return Array.from({ length: Math.min(this.#count, REMEMBERED) }, (_, age) => {
      const at = ((this.#count - 1 - age) % REMEMBERED) * WORDS;
      const [client, clientPort, target, targetPort] = words.subarray(at, at + WORDS);
      return { client, clientPort, target, targetPort };
    });
  }
}
