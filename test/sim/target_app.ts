/**
 * The application on the target: reads requests, compares every byte with the script, watches that no
 * request comes before the answers its client had read have been written, and answers.
 */

import type { Agenda } from "./agenda.ts";
import type { Random } from "./random.ts";
import { recognise, type Script } from "./script.ts";
import type { ConnectionUser, TargetConnection } from "./target_connection.ts";
import type { SynPolicy, TargetApplication } from "./target_host.ts";

/** How the application behaves. */
export interface AppPlan {
  syn: SynPolicy;
  /** What it says unasked, bytes, and after how long. */
  greetingBytes: number;
  greetingMs: number;
  /** Longest time from a request to its answer. */
  serviceMs: number;
  /** An answer is written in so many parts, with a pause between them. */
  parts: number;
  pauseMs: number;
  /** Gives a connection up after so many answers; 0: never. */
  answersPerConnection: number;
  /** Gives it up by a reset. */
  resets: boolean;
  /** Resets a script's first connection after having read so many bytes; 0: never. */
  resetAtByte: number;
  /** Reads so many bytes, then pauses; 0: everything at once. */
  readBytes: number;
  readPauseMs: number;
  /** Whether it keeps its end open when the client has closed. */
  ignoresEof: boolean;
  /** Says something unasked about so often, at its own times; 0: never. */
  unaskedMs: number;
}

/** What became of one accepted connection. */
export interface Delivery {
  readonly acceptedAtMs: number;
  readonly clientAddress: number;
  /** Undefined until the first request was recognised. */
  script: Script | undefined;
  /** The part [from, upTo) of the script's stream that was read. */
  from: number;
  upTo: number;
  /** How the client's direction ended. */
  ending: "none" | "eof" | "reset";
  /** Whether the application gave the connection up. */
  gaveUp: boolean;
}

/** When a request's first byte was read, and when its answer was written; for judging latency. */
export interface RequestTimes {
  firstByteMs: number;
  answeredMs: number;
}

export class TargetApp implements TargetApplication {
  readonly deliveries: Delivery[] = [];
  readonly plan: AppPlan;
  readonly agenda: Agenda;
  readonly random: Random;
  readonly report: (text: string) => void;
  readonly strictTurns: boolean;
  /** Requests that had to wait for answers, and those that came before these were written. */
  awaiting = 0;
  early = 0;
  /** Scripts whose first connection was reset on purpose. */
  readonly wasReset = new Set<number>();
  readonly #scripts: ReadonlyMap<number, Script>;
  readonly #times = new Map<number, RequestTimes[]>();

  constructor(
    agenda: Agenda,
    plan: AppPlan,
    scripts: readonly Script[],
    strictTurns: boolean,
    random: Random,
    report: (text: string) => void,
  ) {
    this.agenda = agenda;
    this.plan = plan;
    this.strictTurns = strictTurns;
    this.random = random;
    this.report = report;
    this.#scripts = new Map(scripts.map((script) => [script.id, script]));
  }

  synPolicy(): SynPolicy {
    return this.plan.syn;
  }

  accept(connection: TargetConnection, nowMs: number): ConnectionUser {
    const delivery: Delivery = {
      acceptedAtMs: nowMs,
      clientAddress: connection.remoteAddress,
      script: undefined,
      from: 0,
      upTo: 0,
      ending: "none",
      gaveUp: false,
    };
    this.deliveries.push(delivery);
    return new Conversation(this, connection, delivery);
  }

  script(id: number): Script | undefined {
    return this.#scripts.get(id);
  }

  /** The times of a script's requests, by index; of copies the first. */
  times(script: Script): RequestTimes[] {
    let times = this.#times.get(script.id);
    if (times === undefined) {
      times = script.requests.map(() => ({ firstByteMs: -1, answeredMs: -1 }));
      this.#times.set(script.id, times);
    }
    return times;
  }
}

/** The application's side of one connection. */
class Conversation implements ConnectionUser {
  readonly #app: TargetApp;
  readonly #connection: TargetConnection;
  readonly #delivery: Delivery;
  /** Bytes read before the first request was recognised. */
  #head = new Uint8Array(0);
  /** Next request to begin, and next one to be answered. */
  #nextRequest = 0;
  #nextAnswer = 0;
  /** Answers written, the greeting included; those of earlier connections count too. */
  #answersWritten = 0;
  #answersHere = 0;
  #greeted: boolean;
  #isBusy = false;
  #isEof = false;
  #isOver = false;
  #readingIsPlanned = false;

  constructor(app: TargetApp, connection: TargetConnection, delivery: Delivery) {
    this.#app = app;
    this.#connection = connection;
    this.#delivery = delivery;
    this.#greeted = app.plan.greetingBytes === 0;
    if (this.#greeted) this.#answersWritten = 1;
    else app.agenda.after(app.plan.greetingMs, () => this.#greet());
    if (app.plan.unaskedMs > 0) this.#planUnasked();
  }

  #planUnasked(): void {
    const { agenda, random, plan } = this.#app;
    agenda.after(random.int(1, 2 * plan.unaskedMs), () => {
      if (this.#isOver || this.#isEof) return;
      if (this.#greeted) this.#connection.write(random.int(1, 100));
      this.#planUnasked();
    });
  }

  onReadable(nowMs: number): void {
    const { plan, agenda } = this.#app;
    if (plan.readBytes === 0) {
      this.#consume(this.#connection.read(1 << 30), nowMs);
      return;
    }
    if (this.#readingIsPlanned) return;
    this.#readingIsPlanned = true;
    agenda.after(plan.readPauseMs, (laterMs) => {
      this.#readingIsPlanned = false;
      if (this.#isOver) return;
      this.#consume(this.#connection.read(plan.readBytes), laterMs);
      if (this.#connection.readableBytes > 0) this.onReadable(laterMs);
    });
  }

  onEof(): void {
    if (this.#isOver) return;
    this.#isEof = true;
    this.#delivery.ending = "eof";
    this.#serve();
  }

  onReset(): void {
    if (this.#isOver && this.#delivery.ending !== "none") return;
    this.#isOver = true;
    this.#delivery.ending = "reset";
  }

  #greet(): void {
    if (this.#isOver) return;
    this.#greeted = true;
    this.#connection.write(this.#app.plan.greetingBytes);
    this.#answersWritten++;
    this.#serve();
  }

  #consume(bytes: Uint8Array, nowMs: number): void {
    const delivery = this.#delivery;
    if (delivery.script === undefined) {
      const head = new Uint8Array(this.#head.length + bytes.length);
      head.set(this.#head);
      head.set(bytes, this.#head.length);
      this.#head = head;
      bytes = head;
      if (!this.#recognise()) return;
    }
    const script = delivery.script!;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] !== script.stream[delivery.upTo + i]) {
        this.#app.report(`script ${script.id}: byte ${delivery.upTo + i} is not the client's`);
        break;
      }
    }
    delivery.upTo += bytes.length;
    const { resetAtByte } = this.#app.plan;
    if (resetAtByte > 0 && delivery.upTo >= resetAtByte && !this.#app.wasReset.has(script.id)) {
      this.#app.wasReset.add(script.id);
      this.#giveUp(true);
      return;
    }
    this.#noteBegun(script, nowMs);
    this.#serve();
  }

  #recognise(): boolean {
    const found = recognise(this.#head);
    if (found === undefined) return false;
    const script = found === null ? undefined : this.#app.script(found.id);
    const request = found === null ? undefined : script?.requests[found.index];
    if (script === undefined || request === undefined) {
      this.#app.report("a connection does not begin with a request");
      this.#isOver = true;
      this.#connection.abort();
      return false;
    }
    this.#delivery.script = script;
    this.#delivery.from = this.#delivery.upTo = request.start;
    this.#nextRequest = this.#nextAnswer = request.index;
    this.#answersWritten += request.index;
    return true;
  }

  /** Looks at the requests of which the first byte has come. */
  #noteBegun(script: Script, nowMs: number): void {
    const { requests } = script;
    const times = this.#app.times(script);
    while (
      this.#nextRequest < requests.length &&
      requests[this.#nextRequest].start < this.#delivery.upTo
    ) {
      const request = requests[this.#nextRequest++];
      if (times[request.index].firstByteMs < 0) times[request.index].firstByteMs = nowMs;
      const isFirst = request.start === this.#delivery.from && request.index > 0;
      if (isFirst) continue;
      this.#app.awaiting++;
      if (request.answersRead <= this.#answersWritten) continue;
      this.#app.early++;
      if (this.#app.strictTurns) {
        this.#app.report(
          `script ${script.id}: request ${request.index} came after ${this.#answersWritten} ` +
            `answers, its client had read ${request.answersRead}`,
        );
      }
    }
  }

  /** Answers the next request that has come whole, one at a time; then sees to the end. */
  #serve(): void {
    if (this.#isBusy || this.#isOver || !this.#greeted) return;
    const { script, upTo } = this.#delivery;
    const request = script?.requests[this.#nextAnswer];
    if (request !== undefined && request.end <= upTo) {
      this.#isBusy = true;
      const { plan, random, agenda } = this.#app;
      const serviceMs = plan.serviceMs > 0 ? random.int(0, plan.serviceMs) : 0;
      if (serviceMs === 0) this.#writePart(0);
      else agenda.after(serviceMs, () => this.#writePart(0));
      return;
    }
    if (this.#isEof && !this.#app.plan.ignoresEof) {
      this.#isOver = true;
      this.#connection.close();
    }
  }

  #writePart(part: number): void {
    if (this.#isOver) return;
    const { plan, agenda } = this.#app;
    const script = this.#delivery.script!;
    const bytes = script.requests[this.#nextAnswer].targetBytes;
    const parts = Math.max(1, Math.min(plan.parts, bytes));
    const from = Math.floor((bytes * part) / parts);
    const upTo = Math.floor((bytes * (part + 1)) / parts);
    this.#connection.write(upTo - from);
    if (part + 1 < parts) {
      agenda.after(plan.pauseMs, () => this.#writePart(part + 1));
      return;
    }
    this.#app.times(script)[this.#nextAnswer].answeredMs = agenda.nowMs;
    this.#nextAnswer++;
    this.#answersWritten++;
    this.#answersHere++;
    this.#isBusy = false;
    if (this.#isGivenUp(script)) this.#giveUp(plan.resets);
    else this.#serve();
  }

  #giveUp(resets: boolean): void {
    this.#isOver = true;
    this.#delivery.gaveUp = true;
    if (resets) this.#connection.abort();
    else this.#connection.close();
  }

  /** Whether the application is done with the connection, of its own accord. */
  #isGivenUp(script: Script): boolean {
    const { answersPerConnection } = this.#app.plan;
    if (answersPerConnection > 0 && this.#answersHere >= answersPerConnection) return true;
    return script.serverCloses && this.#nextAnswer === script.requests.length;
  }
}
