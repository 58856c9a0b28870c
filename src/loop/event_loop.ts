/**
 * The event loop: epoll for descriptors, a timer wheel for time, one flush at the end of a turn.
 * It may touch `ffi` and the monotonic clock, nothing else.
 *
 * There are two ways to wait. A synchronous `epoll_wait` costs least, but Deno's side (signals, the
 * metrics endpoint, terminal, files) stands still meanwhile. `epoll_wait` on a thread costs some
 * 60 µs more; meanwhile Deno's event loop sleeps and wakes as in any program. While there is work
 * the loop waits synchronously and briefly, yielding with `setImmediate`. That alone does not keep
 * Deno's side alive: as long as a task is ready, Deno's runtime asks the kernel for I/O only on
 * every 61st yield. So every few ms one wait goes to a thread, and all of them do when idle.
 *
 * What always holds: a timer never fires early; a handler is never called for a descriptor that
 * was removed, or for events it no longer asks for; an error thrown by a handler ends `run` with
 * that error.
 */

import { setImmediate } from "node:timers";
import { Arena } from "../../ffi/arena.ts";
import { Errno, SystemError } from "../../ffi/errno.ts";
import { InvariantError } from "../../ffi/invariant.ts";
import { lastErrno, libc } from "../../ffi/libc.ts";
import { closeFd } from "../../ffi/socket.ts";
import { TimerWheel } from "./timer_wheel.ts";

/** Event bits (epoll_ctl(2)). ERR and HUP are always reported, asked for or not. */
export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

/** struct epoll_event is packed on x86-64 only: u32 events, then u64 data, here fd and generation. */
const EVENT_DATA = Deno.build.arch === "x86_64" ? 4 : 8;
const EVENT_BYTES = EVENT_DATA + 8;
/** Descriptors served per turn; the others keep their events for the next. */
const EVENTS_PER_TURN = 256;

/** The longest synchronous wait: what Deno's side may have to wait while there is work. */
const BUSY_WAIT_MS = 5;
/** Without events and timers for this long, the loop counts as idle. */
const IDLE_AFTER_MS = 20;
/** The longest wait on a thread. Bounds what a timer source loses that changes outside a turn. */
const IDLE_WAIT_MS = 100;
/** How long Deno's event loop may go without a turn: its promises and finished file operations. */
const YIELD_EVERY_MS = 5;
/** How long Deno's event loop may go without asking the kernel for sockets and signals. */
const THREAD_WAIT_EVERY_MS = 10;

/** Something that keeps timers of its own, such as a table of sessions with a `TimerWheel`. */
export interface TimerSource {
  /** When `advance` is needed next, on the clock of `EventLoop.nowMs`; Infinity for never. */
  nextDeadlineMs(): number;
  /** Fires what is due. Called once a turn if the deadline has come. */
  advance(nowMs: number): void;
}

/** A timer of the loop, to be handed to `clear`. */
export interface TimerHandle {
  /** Whether it will still fire. */
  readonly active: boolean;
}

/** Called with the events (EPOLL… bits) that hold for the descriptor. */
export type FdHandler = (events: number) => void;

interface Registration {
  readonly handler: FdHandler;
  /** Tells this registration from an earlier one of the same descriptor number. */
  readonly generation: number;
  events: number;
}

class LoopTimer implements TimerHandle {
  active = true;
  constructor(
    readonly id: number,
    /** 0 for a timer that fires once. */
    readonly periodMs: number,
    public deadlineMs: number,
    readonly callback: () => void,
  ) {}
}

/**
 * ```ts
 * const loop = new EventLoop();
 * loop.after(10, () => loop.stop());
 * await loop.run();
 * loop.close();
 * ```
 */
export class EventLoop {
  /**
   * Whole ms since the loop was made, monotonic, taken after each wait. Exact enough inside
   * handlers, timers and turn ends; between turns (in Deno's own callbacks) up to 100 ms old.
   */
  nowMs = 0;

  readonly #startMs = performance.now();
  readonly #memory = new Arena((EVENTS_PER_TURN + 1) * EVENT_BYTES + 32);
  readonly #events: number;
  readonly #eventsAddress: bigint;
  /** One struct epoll_event for epoll_ctl. */
  readonly #control: number;
  readonly #controlAddress: bigint;
  /** Eight bytes for reading and writing the wake-up descriptor. */
  readonly #counterAddress: bigint;
  readonly #epollFd: number;
  /** An eventfd, written to when something must end a wait on a thread. */
  readonly #wakeFd: number;

  readonly #registrations = new Map<number, Registration>();
  #generation = 0;

  readonly #wheel = new TimerWheel(0);
  /** Timers of the loop itself by wheel id; freed ids are used again. */
  readonly #timers: (LoopTimer | undefined)[] = [];
  readonly #freeIds: number[] = [];
  #timerSources: readonly TimerSource[] = [];
  #turnEnds: readonly (() => void)[] = [];

  #running = false;
  #stopping = false;
  #closing = false;
  #closed = false;
  /** The next wait must not block. */
  #wakePending = false;
  /** A thread sits in epoll_wait; JavaScript runs meanwhile. */
  #waitingOnThread = false;
  /** Whether something happened in this turn. */
  #active = false;
  #lastActiveMs = 0;
  #lastYieldMs = 0;
  #lastThreadWaitMs = 0;

  /** @throws SystemError when no descriptor is left */
  constructor() {
    this.#events = this.#memory.allocate(EVENTS_PER_TURN * EVENT_BYTES, 8);
    this.#eventsAddress = this.#memory.addressAt(this.#events);
    this.#control = this.#memory.allocate(EVENT_BYTES, 8);
    this.#controlAddress = this.#memory.addressAt(this.#control);
    this.#counterAddress = this.#memory.addressAt(this.#memory.allocate(8, 8));

    const c = libc();
    this.#epollFd = c.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epollFd < 0) {
      const errno = lastErrno();
      this.#memory.free();
      throw new SystemError("event loop", "epoll_create1", errno);
    }
    this.#wakeFd = c.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.#wakeFd < 0) {
      const errno = lastErrno();
      closeFd(this.#epollFd);
      this.#memory.free();
      throw new SystemError("event loop", "eventfd", errno);
    }
    this.add(this.#wakeFd, EPOLLIN, () => {
      libc().read(this.#wakeFd, this.#counterAddress, 8n);
    });
  }

  /**
   * Watches a descriptor, level-triggered.
   *
   * @param events EPOLL… bits; 0 watches for errors and hang-ups only
   * @throws SystemError when the descriptor cannot be watched, Error when it is watched already
   */
  add(fd: number, events: number, handler: FdHandler): void {
    this.#assertOpen();
    if (this.#registrations.has(fd)) {
      throw new InvariantError(
        `File descriptor ${fd} is in the event loop already: remove it before adding it again.`,
      );
    }
    const generation = this.#generation = (this.#generation + 1) | 0;
    this.#controlEpoll(EPOLL_CTL_ADD, fd, events, generation);
    this.#registrations.set(fd, { handler, generation, events });
  }

  /**
   * Changes what a descriptor is watched for; takes effect at once, in the running turn too.
   *
   * @throws Error when it is not watched
   */
  modify(fd: number, events: number): void {
    const registration = this.#registrations.get(fd);
    if (registration === undefined) {
      throw new InvariantError(
        `File descriptor ${fd} is not in the event loop: add it before changing it.`,
      );
    }
    if (registration.events === events) return;
    this.#controlEpoll(EPOLL_CTL_MOD, fd, events, registration.generation);
    registration.events = events;
  }

  /** Stops watching a descriptor; to be called before it is closed. Harmless if not watched. */
  remove(fd: number): void {
    if (!this.#registrations.delete(fd) || this.#closed) return;
    const result = libc().epoll_ctl(this.#epollFd, EPOLL_CTL_DEL, fd, this.#controlAddress);
    const errno = result < 0 ? lastErrno() : 0;
    // A descriptor that was closed too early has left the kernel's set by itself.
    if (errno !== 0 && errno !== Errno.EBADF && errno !== Errno.ENOENT) {
      throw new SystemError(`event loop: file descriptor ${fd}`, "epoll_ctl", errno);
    }
  }

  /** Lets something with timers of its own take part in waiting and firing. */
  addTimerSource(source: TimerSource): void {
    this.#timerSources = [...this.#timerSources, source];
    this.#interrupt();
  }

  removeTimerSource(source: TimerSource): void {
    this.#timerSources = this.#timerSources.filter((other) => other !== source);
  }

  /** Calls back once, not before `delayMs` have passed, counted from now. */
  after(delayMs: number, callback: () => void): TimerHandle {
    return this.#startTimer(delayMs, 0, callback);
  }

  /**
   * Calls back again and again. A period missed because the loop was busy is skipped, not made up.
   *
   * @param periodMs 1 or more
   */
  every(periodMs: number, callback: () => void): TimerHandle {
    if (!(periodMs >= 1)) throw new RangeError(`A period is at least 1 ms, not ${periodMs}.`);
    return this.#startTimer(periodMs, periodMs, callback);
  }

  /** Stops a timer; harmless when it has fired or was cleared before. */
  clear(handle: TimerHandle): void {
    if (handle instanceof LoopTimer && this.#timers[handle.id] === handle) this.#endTimer(handle);
  }

  /**
   * Has a function called at the end of every turn, after all handlers and timers: the place to
   * flush what they have gathered.
   *
   * @returns a function that ends this
   */
  onTurnEnd(callback: () => void): () => void {
    this.#turnEnds = [...this.#turnEnds, callback];
    return () => {
      this.#turnEnds = this.#turnEnds.filter((other) => other !== callback);
    };
  }

  /** Makes the next wait, or the one going on, return at once. */
  wake(): void {
    this.#wakePending = true;
    this.#interrupt();
  }

  /**
   * Runs until `stop`. The turn in which `stop` is called is finished first.
   *
   * @throws whatever a handler, timer or turn-end callback throws; the loop can be run again
   */
  async run(): Promise<void> {
    this.#assertOpen();
    if (this.#running) throw new InvariantError("The event loop is running already.");
    this.#running = true;
    try {
      this.#lastActiveMs = this.#lastYieldMs = this.#exactNowMs();
      while (!this.#stopping) {
        const count = await this.#wait();
        this.#turn(count);
        if (this.#exactNowMs() - this.#lastYieldMs >= YIELD_EVERY_MS) await this.#yield();
      }
    } finally {
      this.#running = false;
      this.#stopping = false;
      if (this.#closing) this.#release();
    }
  }

  /** Lets `run` return after the current turn; before `run`, lets it return at once. */
  stop(): void {
    this.#stopping = true;
    this.wake();
  }

  /** Gives everything back. A running loop is stopped first and closed when `run` returns. */
  close(): void {
    if (this.#closed) return;
    this.#closing = true;
    if (this.#running) this.stop();
    else this.#release();
  }

  #release(): void {
    this.#closed = true;
    closeFd(this.#wakeFd);
    closeFd(this.#epollFd);
    this.#registrations.clear();
    this.#memory.free();
  }

  #assertOpen(): void {
    if (this.#closed) throw new InvariantError("The event loop was closed.");
  }

  #exactNowMs(): number {
    return performance.now() - this.#startMs;
  }

  #controlEpoll(operation: number, fd: number, events: number, generation: number): void {
    const view = this.#memory.view;
    view.setUint32(this.#control, events, true);
    view.setInt32(this.#control + EVENT_DATA, fd, true);
    view.setInt32(this.#control + EVENT_DATA + 4, generation, true);
    if (libc().epoll_ctl(this.#epollFd, operation, fd, this.#controlAddress) < 0) {
      const errno = lastErrno();
      throw new SystemError(`event loop: file descriptor ${fd}`, "epoll_ctl", errno);
    }
  }

  /** Ends a wait that goes on while JavaScript runs. */
  #interrupt(): void {
    if (!this.#waitingOnThread) return;
    this.#memory.view.setBigUint64(Number(this.#counterAddress - this.#memory.base), 1n, true);
    libc().write(this.#wakeFd, this.#counterAddress, 8n);
  }

  /** Waits for events; returns how many there are, by a promise when a thread does the waiting. */
  #wait(): number | Promise<number> {
    const now = this.#exactNowMs();
    let timeoutMs = 0;
    if (this.#wakePending) {
      this.#wakePending = false;
    } else {
      // Rounded up to whole ms: epoll_wait then never returns before the deadline for lack of events.
      const untilDeadline = Math.ceil(this.#nextDeadlineMs() - now);
      timeoutMs = Math.max(0, Math.min(untilDeadline, IDLE_WAIT_MS));
    }
    const idle = timeoutMs > BUSY_WAIT_MS && now - this.#lastActiveMs >= IDLE_AFTER_MS;
    if (idle || now - this.#lastThreadWaitMs >= THREAD_WAIT_EVERY_MS) {
      return this.#waitOnThread(timeoutMs);
    }
    return this.#waitHere(Math.min(timeoutMs, BUSY_WAIT_MS));
  }

  #waitHere(timeoutMs: number): number {
    const count = libc().epoll_wait(
      this.#epollFd,
      this.#eventsAddress,
      EVENTS_PER_TURN,
      timeoutMs,
    );
    if (count >= 0) return count;
    const errno = lastErrno();
    if (errno !== Errno.EINTR) throw new SystemError("event loop", "epoll_wait", errno);
    return 0;
  }

  async #waitOnThread(timeoutMs: number): Promise<number> {
    this.#waitingOnThread = true;
    const count = await libc().epoll_wait_on_thread(
      this.#epollFd,
      this.#eventsAddress,
      EVENTS_PER_TURN,
      timeoutMs,
    );
    this.#waitingOnThread = false;
    this.#lastYieldMs = this.#lastThreadWaitMs = this.#exactNowMs();
    // The thread's errno is out of reach. Asking again here either works or shows the error.
    return count >= 0 ? count : this.#waitHere(0);
  }

  #turn(count: number): void {
    const exactNow = this.#exactNowMs();
    this.nowMs = Math.floor(exactNow);
    this.#active = count > 0;
    this.#dispatch(count);
    this.#fireTimers();
    for (const callback of this.#turnEnds) callback();
    if (this.#active) this.#lastActiveMs = exactNow;
  }

  #dispatch(count: number): void {
    const view = this.#memory.view;
    for (let index = 0; index < count; index++) {
      const at = this.#events + index * EVENT_BYTES;
      const registration = this.#registrations.get(view.getInt32(at + EVENT_DATA, true));
      if (registration === undefined) continue;
      if (registration.generation !== view.getInt32(at + EVENT_DATA + 4, true)) continue;
      const events = view.getUint32(at, true) & (registration.events | EPOLLERR | EPOLLHUP);
      if (events !== 0) registration.handler(events);
    }
  }

  #nextDeadlineMs(): number {
    let earliest = this.#wheel.nextDeadlineMs();
    for (const source of this.#timerSources) {
      const deadline = source.nextDeadlineMs();
      if (deadline < earliest) earliest = deadline;
    }
    return earliest;
  }

  #fireTimers(): void {
    const now = this.nowMs;
    if (this.#wheel.nextDeadlineMs() <= now) this.#wheel.advance(now, this.#fire);
    for (const source of this.#timerSources) {
      if (source.nextDeadlineMs() > now) continue;
      this.#active = true;
      source.advance(now);
    }
  }

  readonly #fire = (id: number): void => {
    const timer = this.#timers[id];
    if (timer === undefined) throw new InvariantError(`Timer ${id} fired without being set.`);
    this.#active = true;
    if (timer.periodMs === 0) {
      this.#endTimer(timer);
    } else {
      const next = timer.deadlineMs + timer.periodMs;
      timer.deadlineMs = next > this.nowMs ? next : this.nowMs + timer.periodMs;
      this.#wheel.schedule(id, timer.deadlineMs);
    }
    timer.callback();
  };

  #startTimer(delayMs: number, periodMs: number, callback: () => void): TimerHandle {
    this.#assertOpen();
    const id = this.#freeIds.pop() ?? this.#timers.length;
    const deadlineMs = Math.ceil(this.#exactNowMs() + Math.max(0, delayMs));
    const timer = new LoopTimer(id, periodMs, deadlineMs, callback);
    this.#timers[id] = timer;
    this.#wheel.schedule(id, deadlineMs);
    this.#interrupt();
    return timer;
  }

  #endTimer(timer: LoopTimer): void {
    timer.active = false;
    this.#wheel.cancel(timer.id);
    this.#timers[timer.id] = undefined;
    this.#freeIds.push(timer.id);
  }

  async #yield(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#lastYieldMs = this.#exactNowMs();
  }
}
