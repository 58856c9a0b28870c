import assert from "node:assert/strict";
import { EPOLLIN, EventLoop } from "../../src/loop/event_loop.ts";
import { onSignals } from "../../src/loop/signals.ts";
import { Flag } from "./flag.ts";

Deno.test("signals stop a loop, idle or busy, within moments", async () => {
  for (const busy of [false, true]) {
    using flag = new Flag();
    const loop = new EventLoop();
    loop.add(flag.fd, EPOLLIN, () => {});
    if (busy) flag.raise();
    const seen: Deno.Signal[] = [];
    const unsubscribe = onSignals(["SIGUSR1", "SIGUSR2"], (signal) => {
      seen.push(signal);
      loop.stop();
    });
    let sentMs = 0;
    const sender = setTimeout(() => {
      sentMs = performance.now();
      Deno.kill(Deno.pid, "SIGUSR2");
    }, 50);
    const guard = loop.after(4000, () => loop.stop());
    await loop.run();
    const tookMs = performance.now() - sentMs;
    clearTimeout(sender);
    loop.clear(guard);
    unsubscribe();
    unsubscribe();
    loop.close();
    assert.deepEqual(seen, ["SIGUSR2"]);
    assert.ok(tookMs < 2000, `${tookMs} ms`);
  }
});

Deno.test("a signal that cannot be caught is refused, and nothing stays behind", () => {
  assert.throws(() => onSignals(["SIGUSR1", "SIGKILL"], () => {}), TypeError);
});
