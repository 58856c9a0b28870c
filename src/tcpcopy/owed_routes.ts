/**
 * Which routes a tunnel connection still has to be told: all of them when it has come up, or when it had
 * no room for one. Pure.
 *
 * Routes have places, which are visited round and round: what could not be told is gone on with from
 * there, so that none is left behind however many there are. Telling a route twice does no harm.
 */

export class OwedRoutes {
  /** Where to go on. */
  #place = 0;
  /** Places to visit until all were. */
  #left = 0;

  get isOwing(): boolean {
    return this.#left > 0;
  }

  /** Every route is owed, from now on; `places` is how many places there are. */
  oweAll(places: number): void {
    this.#left = places;
  }

  oweNothing(): void {
    this.#left = 0;
  }

  /**
   * Visits places until all were, or one could not be told.
   *
   * @param places how many there are by now
   * @param tell returns whether the route at the place was told, or there is none
   */
  pay(places: number, tell: (place: number) => boolean): void {
    while (this.#left > 0) {
      if (this.#place >= places) this.#place = 0;
      if (!tell(this.#place)) return;
      this.#place++;
      this.#left--;
    }
  }
}
