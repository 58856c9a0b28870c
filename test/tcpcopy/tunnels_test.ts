import assert from "node:assert/strict";
import type { Logger } from "@logtape/logtape";
import { closeFd } from "../../ffi/socket.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";
import { Tunnels } from "../../src/tcpcopy/tunnels.ts";
import { DEFAULT_TUNNEL_FORM } from "../../src/tunnel/form.ts";
import { TunnelListener } from "../../src/tunnel/listener.ts";
import { TunnelServer } from "../../src/tunnel/server.ts";

const LOOPBACK = 0x7f000001;
const CLIENT = 0x0a000001;
const TARGET = 0x0a000002;
const TARGET_PORT = 8080;
const PORTS = 50_000;
const log = { info: () => {}, warn: () => {} } as unknown as Logger;

/** An intercept that lets in some of the connections, and a tcpcopy with so many routes. */
class Bench {
  readonly loop = new EventLoop();
  readonly server = new TunnelServer({ loop: this.loop, address: LOOPBACK, port: 0 });
  readonly tunnels: Tunnels;
  refused = 0;
  readonly #listener: TunnelListener;

  constructor(connections: number, readonly routes: number, letsIn: (index: number) => boolean) {
    let accepted = 0;
    this.#listener = new TunnelListener(this.loop, LOOPBACK, 0, (fd, peer) => {
      if (letsIn(accepted++)) return this.server.adopt(fd, peer);
      this.refused++;
      closeFd(fd);
    });
    this.tunnels = new Tunnels(
      this.loop,
      {
        intercepts: [{ address: LOOPBACK, port: this.#listener.port }],
        connections,
        form: DEFAULT_TUNNEL_FORM,
        startsWithout: false,
      },
      {
        onRecord: () => {},
        onWayBack: () => {},
        routePlaces: () => routes,
        visitRoute: (place, visit) => visit(...routeAt(place)),
      },
      log,
    );
  }

  async run(steps: () => Promise<void>): Promise<void> {
    const running = this.loop.run();
    try {
      await steps();
    } finally {
      this.tunnels.close();
      this.#listener.close();
      this.server.close();
      this.loop.stop();
      await running;
      this.loop.close();
    }
  }

  /** Looks from within the loop. */
  until(what: string, holds: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const deadlineMs = this.loop.nowMs + 20_000;
    const timer = this.loop.every(2, () => {
      const isLate = this.loop.nowMs > deadlineMs;
      if (!holds() && !isLate) return;
      this.loop.clear(timer);
      if (isLate) reject(new Error(`waited 20 s in vain: ${what}; ${this.server.routes} routes`));
      else resolve();
    });
    return promise;
  }
}

function routeAt(place: number): [number, number, number, number] {
  return [CLIENT + Math.floor(place / PORTS), 1 + place % PORTS, TARGET, TARGET_PORT];
}

Deno.test("while one connection is down the others are told nothing twice", async () => {
  const bench = new Bench(2, 1000, (index) => index === 0);
  await bench.run(async () => {
    await bench.tunnels.connect();
    await bench.until("a route of the connection that is up", () => bench.server.routes > 0);
    const told = bench.server.routes;
    assert.ok(told < 1000);
    const refusedBefore = bench.refused;
    // What is new belongs to either connection.
    for (let place = 0; place < 100; place++) bench.tunnels.announce(...routeAt(place));
    await bench.until("more attempts", () => bench.refused >= refusedBefore + 3);
    const { announced } = bench.server.stats;
    assert.ok(announced <= told + 100, `${announced} announcements of ${told} routes`);
  });
});

Deno.test("more routes than there is room for at once are all announced, the late ones too", async () => {
  const bench = new Bench(1, 600_000, () => true);
  await bench.run(async () => {
    await bench.tunnels.connect();
    await bench.until("all routes", () => bench.server.routes === bench.routes);
    // Each once: what did not fit was gone on with, not begun again.
    assert.equal(bench.server.stats.announced, bench.routes);
  });
});
