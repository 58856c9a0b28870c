import assert from "node:assert/strict";
import fc from "fast-check";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";

function fired(wheel: TimerWheel, nowMs: number): number[] {
  const ids: number[] = [];
  wheel.advance(nowMs, (id) => ids.push(id));
  return ids;
}

Deno.test("timers fire in order of their deadlines, never early", () => {
  const wheel = new TimerWheel(1000);
  wheel.schedule(1, 1500);
  wheel.schedule(2, 1001);
  wheel.schedule(3, 61_000);
  wheel.schedule(4, 1500);
  assert.equal(wheel.size, 4);
  assert.equal(wheel.nextDeadlineMs(), 1001);
  assert.deepEqual(fired(wheel, 1000), []);
  assert.deepEqual(fired(wheel, 1001), [2]);
  assert.deepEqual(fired(wheel, 1499), []);
  assert.deepEqual(fired(wheel, 70_000), [1, 4, 3]);
  assert.equal(wheel.size, 0);
  assert.equal(wheel.nextDeadlineMs(), Infinity);
});

Deno.test("setting anew moves a timer, cancelling removes it", () => {
  const wheel = new TimerWheel(0);
  wheel.schedule(1, 10);
  wheel.schedule(1, 100);
  wheel.schedule(2, 20);
  wheel.cancel(2);
  wheel.cancel(2);
  wheel.cancel(77_777);
  wheel.cancel(-1);
  assert.equal(wheel.isScheduled(1), true);
  assert.equal(wheel.isScheduled(2), false);
  assert.equal(wheel.isScheduled(77_777), false);
  assert.deepEqual(fired(wheel, 99), []);
  assert.deepEqual(fired(wheel, 100), [1]);
  assert.equal(wheel.isScheduled(1), false);
});

Deno.test("a deadline in the past fires on the next advance, once", () => {
  const wheel = new TimerWheel(500);
  wheel.schedule(1, 100);
  wheel.schedule(2, 500);
  assert.equal(wheel.nextDeadlineMs(), 500);
  assert.deepEqual(fired(wheel, 500), [1, 2]);
  assert.deepEqual(fired(wheel, 600), []);
});

Deno.test("a timer that sets itself to now does not keep advance from returning", () => {
  const wheel = new TimerWheel(0);
  let count = 0;
  wheel.schedule(1, 5);
  const fire = (id: number) => {
    count++;
    wheel.schedule(id, 10);
  };
  wheel.advance(10, fire);
  assert.equal(count, 1);
  assert.equal(wheel.nextDeadlineMs(), 10);
  wheel.advance(10, fire);
  assert.equal(count, 2);
});

Deno.test("fire may cancel and move timers that are due at the same moment", () => {
  const wheel = new TimerWheel(0);
  const ids: number[] = [];
  for (let id = 0; id < 5; id++) wheel.schedule(id, 10);
  wheel.advance(20, (id) => {
    ids.push(id);
    if (id === 0) {
      wheel.cancel(1);
      wheel.schedule(2, 30);
      wheel.schedule(0, 25);
    }
  });
  assert.deepEqual(ids, [0, 3, 4]);
  assert.deepEqual(fired(wheel, 30), [0, 2]);
});

Deno.test("an error in fire passes through and loses no other timer", () => {
  const wheel = new TimerWheel(0);
  for (let id = 0; id < 3; id++) wheel.schedule(id, 10);
  wheel.schedule(3, 11);
  assert.throws(() =>
    wheel.advance(20, () => {
      throw new Error("no");
    }), /no/);
  assert.equal(wheel.size, 3);
  assert.equal(wheel.nextDeadlineMs(), 20);
  assert.deepEqual(fired(wheel, 20), [1, 2, 3]);
});

Deno.test("ids make room as they grow; nonsense is refused", () => {
  const wheel = new TimerWheel(0, 1);
  wheel.schedule(0, 5);
  wheel.schedule(10_000, 4);
  assert.deepEqual(fired(wheel, 5), [10_000, 0]);
  assert.throws(() => wheel.schedule(-1, 5), RangeError);
  assert.throws(() => wheel.schedule(1.5, 5), RangeError);
  assert.throws(() => wheel.schedule(1, NaN), RangeError);
});

Deno.test("fractions never fire early; Infinity never fires", () => {
  const wheel = new TimerWheel(0.5);
  wheel.schedule(1, 10.2);
  wheel.schedule(2, Infinity);
  assert.deepEqual(fired(wheel, 10.9), []);
  assert.deepEqual(fired(wheel, 11), [1]);
  assert.deepEqual(fired(wheel, 1e12), []);
  assert.ok(wheel.isScheduled(2));
});

Deno.test("time may be large and may jump over many horizons", () => {
  const start = 1_700_000_000_000;
  const wheel = new TimerWheel(start);
  wheel.schedule(1, start + 40 * 86_400_000);
  wheel.schedule(2, start + 2 ** 31);
  wheel.schedule(3, start + 1);
  assert.deepEqual(fired(wheel, start + 2 ** 31 - 1), [3]);
  assert.deepEqual(fired(wheel, start + 2 ** 31), [2]);
  assert.deepEqual(fired(wheel, start + 400 * 86_400_000), [1]);
  wheel.schedule(1, start + 400 * 86_400_000 + 5);
  assert.deepEqual(fired(wheel, start + 400 * 86_400_000 + 5), [1]);
});

Deno.test("waiting for nextDeadlineMs reaches a far timer in few wake-ups", () => {
  const wheel = new TimerWheel(0);
  wheel.schedule(1, 123_456_789);
  let wakeUps = 0;
  let now = 0;
  for (; wheel.size > 0 && wakeUps < 10; wakeUps++) {
    const next = wheel.nextDeadlineMs();
    assert.ok(next > now && next <= 123_456_789);
    now = next;
    fired(wheel, now);
  }
  assert.equal(now, 123_456_789);
  assert.ok(wakeUps <= 5);
});

// The wheel against a list that is searched anew each time.

type Action =
  | { kind: "schedule"; id: number; delayMs: number }
  | { kind: "cancel"; id: number };
type Step = Action | { kind: "advance"; byMs: number };

/** Times of every magnitude, on both sides of the wheel's block boundaries. */
const span = fc.oneof(
  fc.integer({ min: 0, max: 130 }),
  fc.integer({ min: 0, max: 10_000 }),
  fc.integer({ min: 0, max: 20_000_000 }),
  fc.integer({ min: 0, max: 2 ** 31 }),
  fc.constantFrom(63, 64, 65, 4095, 4096, 4097, 2 ** 29, 2 ** 30 - 1, 2 ** 30),
);
const id = fc.integer({ min: 0, max: 11 });
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({
    kind: fc.constant("schedule" as const),
    id,
    delayMs: fc.oneof({ weight: 6, arbitrary: span }, fc.integer({ min: -100, max: 0 })),
  }),
  fc.record({ kind: fc.constant("cancel" as const), id }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: action },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("advance" as const), byMs: span }) },
);

/** What the wheel promises, done the slow way. */
class NaiveTimers {
  reached: number;
  /** Id to the time it counts as due, and the advance before which it must not fire. */
  readonly due = new Map<number, { deadline: number; notBefore: number }>();
  round = 0;

  constructor(startMs: number) {
    this.reached = startMs;
  }

  apply(action: Action): void {
    if (action.kind === "cancel") {
      this.due.delete(action.id);
      return;
    }
    const deadline = this.reached + action.delayMs;
    const overdue = deadline <= this.reached;
    this.due.set(action.id, {
      deadline: Math.max(deadline, this.reached),
      notBefore: overdue ? this.round + 1 : this.round,
    });
  }

  /** The ids that may fire next; all of them are due at the same ms. */
  candidates(): number[] {
    const due = [...this.due].filter(([, timer]) =>
      timer.deadline <= this.reached && timer.notBefore <= this.round
    );
    const earliest = Math.min(...due.map(([, timer]) => timer.deadline));
    return due.filter(([, timer]) => timer.deadline === earliest).map(([id]) => id);
  }

  earliest(): number {
    return Math.min(Infinity, ...[...this.due.values()].map((timer) => timer.deadline));
  }
}

Deno.test("the wheel does what a naive list of timers does", () => {
  const reactions = fc.array(fc.array(action, { maxLength: 3 }), { minLength: 12, maxLength: 12 });
  const start = fc.constantFrom(0, 1, 63, 4095, 2 ** 29 - 5, 1_700_000_000_000);
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 40 }), reactions, (startMs, steps, react) => {
      const wheel = new TimerWheel(startMs, 4);
      const model = new NaiveTimers(startMs);
      const apply = (action: Action) => {
        model.apply(action);
        if (action.kind === "cancel") wheel.cancel(action.id);
        else wheel.schedule(action.id, model.reached + action.delayMs);
      };
      for (const step of steps) {
        if (step.kind !== "advance") {
          apply(step);
        } else {
          model.reached += step.byMs;
          model.round++;
          wheel.advance(model.reached, (id) => {
            assert.ok(model.candidates().includes(id), `timer ${id} fired out of turn`);
            model.due.delete(id);
            assert.equal(wheel.isScheduled(id), false);
            react[id].forEach(apply);
          });
          assert.deepEqual(model.candidates(), [], "timers that are due have not fired");
        }
        assert.equal(wheel.size, model.due.size);
        for (let id = 0; id < 12; id++) assert.equal(wheel.isScheduled(id), model.due.has(id));
        const next = wheel.nextDeadlineMs();
        assert.ok(next <= model.earliest(), "nextDeadlineMs is late");
        assert.ok(next >= model.reached, "nextDeadlineMs lies in the past");
        if (model.due.size === 0) assert.equal(next, Infinity);
      }
    }),
    { numRuns: 2000 },
  );
});
