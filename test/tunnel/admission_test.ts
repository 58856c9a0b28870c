import assert from "node:assert/strict";
import {
  Admission,
  type AdmissionRules,
  type Guest,
  Usefulness,
  usefulnessOf,
} from "../../src/tunnel/admission.ts";

const { Silent, Idle, Waiting, Serving } = Usefulness;
const TOO_MANY = "there are too many, and all are in use";

/** Connections by name; those sent away are noted. */
class House {
  readonly gone: string[] = [];
  readonly stats = { evicted: 0 };
  readonly #admission: Admission<Guest>;

  constructor(rules: Partial<AdmissionRules>) {
    const all = { maxConnections: 100, maxPerAddress: 100, allow: undefined };
    this.#admission = new Admission({ ...all, ...rules }, this.stats);
  }

  add(name: string, address: number, usefulness: Usefulness, heardAtMs = 0): this {
    const guest: Guest = {
      address,
      heardAtMs,
      usefulness: () => usefulness,
      end: () => {
        this.gone.push(name);
        this.#admission.remove(guest);
      },
    };
    this.#admission.add(guest);
    return this;
  }

  /** Somebody comes, and is of use at once. Returns why not. */
  come(address: number): string {
    const refusal = this.#admission.refusalOf(address, 0);
    if (refusal === "") this.add("newcomer", address, Serving);
    return refusal;
  }
}

Deno.test("usefulness is what a connection has done", () => {
  assert.equal(usefulnessOf(false, false, false, 999), Idle, "there was no time to say hello");
  assert.equal(usefulnessOf(false, false, false, 1000), Silent);
  assert.equal(usefulnessOf(true, false, false, 1e9), Idle);
  assert.equal(usefulnessOf(true, true, false, 1e9), Waiting);
  assert.equal(usefulnessOf(true, false, true, 1e9), Serving, "its sessions may be over for now");
});

Deno.test("the silent go first, then the idle, then those that wait; who serves stays", () => {
  const house = new House({ maxConnections: 4 })
    .add("serves", 1, Serving)
    .add("waits", 2, Waiting)
    .add("idle", 3, Idle)
    .add("silent", 4, Silent);
  const refusals = [11, 12, 13, 14].map((address) => house.come(address));
  assert.deepEqual(house.gone, ["silent", "idle", "waits"]);
  assert.deepEqual(refusals, ["", "", "", TOO_MANY]);
  assert.equal(house.stats.evicted, 3);
});

Deno.test("nobody goes while there is room", () => {
  const house = new House({ maxConnections: 3 }).add("silent", 1, Silent).add("idle", 1, Idle);
  assert.equal(house.come(1), "");
  assert.deepEqual(house.gone, []);
});

Deno.test("a host with many takes the room from itself, its oldest first", () => {
  const house = new House({ maxConnections: 4 })
    .add("tcpcopy", 1, Idle, 0)
    .add("newest", 2, Idle, 9)
    .add("oldest", 2, Idle, 5)
    .add("newer", 2, Idle, 7);
  for (const address of [11, 12]) house.come(address);
  assert.deepEqual(house.gone, ["oldest", "newer"]);
});

Deno.test("an address that has its share makes room among its own", () => {
  const house = new House({ maxPerAddress: 2 })
    .add("other", 2, Silent)
    .add("own, serving", 1, Serving)
    .add("own, idle", 1, Idle);
  assert.deepEqual([house.come(2), house.come(1), house.come(1)], ["", "", TOO_MANY]);
  assert.deepEqual(house.gone, ["own, idle"]);
});

Deno.test("who is not allowed is not let in, and nobody goes for it", () => {
  const house = new House({
    maxConnections: 1,
    allow: Int32Array.of(0x0a000000, 0xff000000 | 0, 0x7f000001, -1),
  }).add("silent", 1, Silent);
  assert.equal(house.come(0x7f000002), "its address is not among those of --allow");
  assert.deepEqual(house.gone, []);
  assert.equal(house.come(0x0a010203), "");
});
