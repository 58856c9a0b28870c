import assert from "node:assert/strict";
import { closeFd } from "../../ffi/socket.ts";
import { EPOLLIN, EPOLLOUT, EventLoop, type TimerSource } from "../../src/loop/event_loop.ts";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { Flag } from "./flag.ts";

/** Runs a body with a loop that stops by itself when a test goes wrong. */
async function withLoop(body: (loop: EventLoop) => void | Promise<void>): Promise<void> {
  const loop = new EventLoop();
  const guard = loop.after(5000, () => {
    throw new Error("the test did not stop the loop");
  });
  try {
    await body(loop);
  } finally {
    loop.clear(guard);
    loop.close();
  }
}

/** CPU time of this process in ms, all threads. */
function cpuMs(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("a handler is called while its descriptor is ready, level-triggered", () =>
  withLoop(async (loop) => {
    using flag = new Flag();
    const seen: number[] = [];
    loop.add(flag.fd, EPOLLIN, (events) => {
      seen.push(events);
      if (seen.length === 3) {
        flag.lower();
        loop.after(5, () => loop.stop());
      }
    });
    flag.raise();
    await loop.run();
    assert.deepEqual(seen, [EPOLLIN, EPOLLIN, EPOLLIN]);
    loop.remove(flag.fd);
    loop.remove(flag.fd);
  }));

Deno.test("modify changes what is watched; 0 watches for nothing", () =>
  withLoop(async (loop) => {
    using flag = new Flag();
    const seen: number[] = [];
    loop.add(flag.fd, EPOLLIN | EPOLLOUT, (events) => {
      seen.push(events);
      loop.modify(flag.fd, seen.length === 1 ? EPOLLOUT : 0);
    });
    flag.raise();
    loop.after(10, () => loop.stop());
    await loop.run();
    assert.deepEqual(seen, [EPOLLIN | EPOLLOUT, EPOLLOUT]);
    assert.throws(() => loop.modify(9999, EPOLLIN), /not in the event loop/);
  }));

Deno.test("adding twice, and what cannot be watched, is refused", () =>
  withLoop((loop) => {
    using flag = new Flag();
    loop.add(flag.fd, EPOLLIN, () => {});
    assert.throws(() => loop.add(flag.fd, EPOLLIN, () => {}), /in the event loop already/);
    assert.throws(() => loop.add(9999, EPOLLIN, () => {}), /epoll_ctl failed: EBADF/);
    // What was refused can be added once it exists, and removed after it was closed.
    const other = new Flag();
    loop.add(other.fd, EPOLLIN, () => {});
    other[Symbol.dispose]();
    loop.remove(other.fd);
  }));

Deno.test("handlers may remove other descriptors whose events are already there", () =>
  withLoop(async (loop) => {
    const flags = [new Flag(), new Flag(), new Flag()];
    const called: number[] = [];
    for (const flag of flags) {
      loop.add(flag.fd, EPOLLIN, () => {
        called.push(flag.fd);
        for (const other of flags) loop.remove(other.fd);
        loop.after(2, () => loop.stop());
      });
      flag.raise();
    }
    await loop.run();
    assert.equal(called.length, 1);
    for (const flag of flags) flag[Symbol.dispose]();
  }));

Deno.test("a stale event is not delivered to a new descriptor of the same number", () =>
  withLoop(async (loop) => {
    const flags = [new Flag(), new Flag()];
    let removed = false;
    let wrong = 0;
    for (const [index, flag] of flags.entries()) {
      loop.add(flag.fd, EPOLLIN, () => {
        assert.equal(removed, false);
        removed = true;
        const other = flags[1 - index];
        const { fd } = other;
        loop.remove(fd);
        other[Symbol.dispose]();
        // The kernel gives out the lowest free number: the one just closed.
        const successor = flags[1 - index] = new Flag();
        assert.equal(successor.fd, fd);
        loop.add(fd, EPOLLIN, () => wrong++);
        flag.lower();
        loop.after(2, () => loop.stop());
      });
      flag.raise();
    }
    await loop.run();
    assert.equal(wrong, 0);
    for (const flag of flags) {
      loop.remove(flag.fd);
      flag[Symbol.dispose]();
    }
  }));

Deno.test("an event no longer asked for is not delivered in the same turn", () =>
  withLoop(async (loop) => {
    using first = new Flag();
    using second = new Flag();
    let called = 0;
    for (const [flag, other] of [[first, second], [second, first]]) {
      loop.add(flag.fd, EPOLLIN, () => {
        called++;
        loop.modify(other.fd, 0);
        flag.lower();
        loop.after(2, () => loop.stop());
      });
      flag.raise();
    }
    await loop.run();
    assert.equal(called, 1);
  }));

Deno.test("an error in a handler, a timer or a turn end rejects run; the loop can run again", () =>
  withLoop(async (loop) => {
    using flag = new Flag();
    loop.add(flag.fd, EPOLLIN, () => {
      flag.lower();
      throw new TypeError("handler");
    });
    flag.raise();
    await assert.rejects(loop.run(), { name: "TypeError", message: "handler" });
    loop.after(0, () => {
      throw new Error("timer");
    });
    await assert.rejects(loop.run(), { message: "timer" });
    const undo = loop.onTurnEnd(() => {
      throw new Error("turn end");
    });
    await assert.rejects(loop.run(), { message: "turn end" });
    undo();
    loop.after(1, () => loop.stop());
    await loop.run();
  }));

Deno.test("timers fire in order, never early, and promptly when busy", () =>
  withLoop(async (loop) => {
    using flag = new Flag();
    loop.add(flag.fd, EPOLLIN, () => {});
    flag.raise();
    const delaysMs = [30, 0, 7, 12.5, 1];
    /** The shortest delay seen beyond each one asked for: others may use the machine, too. */
    const lateMs = delaysMs.map(() => Infinity);
    for (let round = 0; round < 4; round++) {
      const startMs = performance.now();
      const order: number[] = [];
      delaysMs.forEach((delayMs, index) =>
        loop.after(delayMs, () => {
          const late = performance.now() - startMs - delayMs;
          assert.ok(late >= 0, `${-late} ms early`);
          lateMs[index] = Math.min(lateMs[index], late);
          order.push(delayMs);
          if (order.length === delaysMs.length) loop.stop();
        })
      );
      await loop.run();
      assert.deepEqual(order, [0, 1, 7, 12.5, 30]);
    }
    assert.ok(lateMs.every((late) => late < 25), `late: ${lateMs}`);
    loop.remove(flag.fd);
  }));

Deno.test("timers are in time when nothing else happens, without spinning", () =>
  withLoop(async (loop) => {
    let turns = 0;
    loop.onTurnEnd(() => turns++);
    const startMs = performance.now();
    const seen: number[] = [];
    for (const delayMs of [3, 40, 260]) {
      loop.after(delayMs, () => seen.push(performance.now() - startMs - delayMs));
    }
    loop.after(261, () => loop.stop());
    await loop.run();
    assert.ok(seen.every((ms) => ms >= 0 && ms < 2000), `${seen}`);
    assert.ok(turns < 40, `${turns} turns`);
  }));

Deno.test("periods repeat, skip what was missed, and end by clear", () =>
  withLoop(async (loop) => {
    const seen: number[] = [];
    const handle = loop.every(5, () => {
      seen.push(loop.nowMs);
      if (seen.length === 2) {
        const endMs = performance.now() + 22;
        while (performance.now() < endMs);
      }
      if (seen.length === 4) {
        loop.clear(handle);
        loop.clear(handle);
        loop.after(15, () => loop.stop());
      }
    });
    assert.equal(handle.active, true);
    await loop.run();
    assert.equal(handle.active, false);
    assert.equal(seen.length, 4);
    assert.ok(seen[3] - seen[2] >= 4, `${seen}`);
    assert.throws(() => loop.every(0, () => {}), RangeError);
  }));

Deno.test("a cleared timer does not fire, nor does its id's next owner suffer", () =>
  withLoop(async (loop) => {
    let fired = 0;
    const first = loop.after(1, () => fired += 100);
    loop.clear(first);
    const second = loop.after(2, () => fired++);
    loop.clear(first);
    loop.after(5, () => loop.stop());
    await loop.run();
    assert.equal(fired, 1);
    assert.equal(second.active, false);
  }));

Deno.test("timer sources are advanced when due, and decide how long the loop waits", () =>
  withLoop(async (loop) => {
    const wheel = new TimerWheel(0);
    const seen: number[] = [];
    const source: TimerSource = {
      nextDeadlineMs: () => wheel.nextDeadlineMs(),
      advance: (nowMs) =>
        wheel.advance(nowMs, (id) => {
          seen.push(id);
          if (id === 2) loop.stop();
        }),
    };
    wheel.schedule(1, 10);
    wheel.schedule(2, 30);
    loop.addTimerSource(source);
    const startMs = performance.now();
    await loop.run();
    assert.deepEqual(seen, [1, 2]);
    assert.ok(performance.now() - startMs < 2000);
    loop.removeTimerSource(source);
    wheel.schedule(3, 0);
    loop.after(3, () => loop.stop());
    await loop.run();
    assert.deepEqual(seen, [1, 2]);
  }));

Deno.test("the end of a turn comes after handlers and timers, once a turn", () =>
  withLoop(async (loop) => {
    using flag = new Flag();
    const order: string[] = [];
    loop.add(flag.fd, EPOLLIN, () => {
      order.push("handler");
      flag.lower();
    });
    loop.after(0, () => {
      order.push("timer");
      loop.stop();
    });
    loop.onTurnEnd(() => order.push("end"));
    flag.raise();
    await sleep(2);
    await loop.run();
    assert.deepEqual(order, ["handler", "timer", "end"]);
  }));

Deno.test("wake keeps the next wait from blocking", () =>
  withLoop(async (loop) => {
    let turns = 0;
    loop.onTurnEnd(() => {
      if (++turns < 1000) loop.wake();
      else loop.stop();
    });
    const startMs = performance.now();
    await loop.run();
    assert.ok(performance.now() - startMs < 20_000);
  }));

Deno.test("an idle loop is interrupted at once by stop, wake, a new timer", () =>
  withLoop(async (loop) => {
    let turns = 0;
    loop.onTurnEnd(() => turns++);
    /** The quickest of several rounds: others may use the machine, too. */
    let tookMs = Infinity;
    for (let round = 0; round < 8; round++) {
      const running = loop.run();
      await sleep(60);
      const before = turns;
      const startMs = performance.now();
      loop.wake();
      while (turns === before) await sleep(1);
      await new Promise<void>((resolve) => loop.after(1, resolve));
      loop.stop();
      await running;
      tookMs = Math.min(tookMs, performance.now() - startMs);
    }
    // The longest wait is 100 ms; each of the three interrupted one.
    assert.ok(tookMs < 90, `${tookMs} ms`);
  }));

Deno.test("waiting costs next to nothing", () =>
  withLoop(async (loop) => {
    loop.after(1000, () => loop.stop());
    const before = cpuMs();
    await loop.run();
    const used = cpuMs() - before;
    assert.ok(used <= 100, `${used} ms of CPU in a second`);
  }));

Deno.test("Deno's own sockets are served while the loop is idle and while it is busy", () =>
  withLoop(async (loop) => {
    using flag = new Flag();
    const controller = new AbortController();
    const server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      signal: controller.signal,
      onListen: () => {},
    }, () => new Response("alive"));
    const ask = async () => {
      const startMs = performance.now();
      const response = await fetch(`http://127.0.0.1:${server.addr.port}/`);
      assert.equal(await response.text(), "alive");
      return performance.now() - startMs;
    };
    const running = loop.run();
    await ask();
    await sleep(30);
    let idleMs = Infinity;
    for (let round = 0; round < 5; round++) {
      await sleep(30);
      idleMs = Math.min(idleMs, await ask());
    }
    loop.add(flag.fd, EPOLLIN, () => {});
    flag.raise();
    const busyMs = Math.min(await ask(), await ask(), await ask());
    loop.remove(flag.fd);
    // Short waits, one after the other: Deno's side must not wait for dozens of them.
    const timer = loop.every(4, () => {});
    const betweenMs = Math.min(await ask(), await ask(), await ask());
    loop.clear(timer);
    loop.stop();
    await running;
    assert.ok(idleMs < 100, `idle: ${idleMs} ms`);
    assert.ok(busyMs < 100, `busy: ${busyMs} ms`);
    assert.ok(betweenMs < 100, `between short waits: ${betweenMs} ms`);
    controller.abort();
    await server.finished;
  }));

Deno.test("a loop gives back what it took, also when closed while running", async () => {
  const before = openFileCount();
  const idle = new EventLoop();
  idle.close();
  idle.close();
  await assert.rejects(idle.run(), /closed/);
  assert.throws(() => idle.add(0, EPOLLIN, () => {}), /closed/);
  idle.remove(0);

  const loop = new EventLoop();
  const running = loop.run();
  await sleep(40);
  loop.close();
  await running;
  const inside = new EventLoop();
  inside.after(1, () => inside.close());
  await inside.run();
  assert.equal(openFileCount(), before);
});

Deno.test("run is exclusive; stop before run lets it return at once", () =>
  withLoop(async (loop) => {
    loop.stop();
    await loop.run();
    const running = loop.run();
    await assert.rejects(loop.run(), /running already/);
    loop.stop();
    await running;
  }));

Deno.test("more ready descriptors than fit into one turn are all served", () =>
  withLoop(async (loop) => {
    const flags = Array.from({ length: 600 }, () => new Flag());
    const served = new Set<number>();
    for (const flag of flags) {
      loop.add(flag.fd, EPOLLIN, () => {
        served.add(flag.fd);
        if (served.size === flags.length) loop.stop();
      });
      flag.raise();
    }
    await loop.run();
    for (const flag of flags) {
      loop.remove(flag.fd);
      flag[Symbol.dispose]();
    }
  }));

Deno.test("a descriptor that was closed too early does no harm", () =>
  withLoop(async (loop) => {
    const flag = new Flag();
    loop.add(flag.fd, EPOLLIN, () => assert.fail("called"));
    flag.raise();
    closeFd(flag.fd);
    loop.after(3, () => loop.stop());
    await loop.run();
    loop.remove(flag.fd);
  }));
