/**
 * A part in a thread of its own: `WorkerPart` stands for it in the main thread, `servePart` is what
 * the thread does. They talk in messages; packets never pass between threads.
 */

import type { Logger } from "@logtape/logtape";
import { dropOwnCapabilities } from "../../ffi/privileges.ts";
import { faultOfWorker } from "../cli/fatal.ts";
import { type ForwardedLevel, openForwardedLog } from "../observe/log.ts";
import { EarlyOrders } from "./early_orders.ts";
import { makePart } from "./make_part.ts";
import type { Part, PartSetup, PartStatus } from "./part.ts";
import { mergeFigures } from "../observe/merge.ts";
import { NOTHING_PLAYED } from "./playing_time.ts";
import type { Reconfiguration } from "./replay.ts";

/** How often a part says how it is doing. */
const STATUS_EVERY_MS = 500;

type Method = "open" | "connect" | "play" | "drain" | "finish" | "sample" | "rest";

/** From the main thread; the setup comes first. */
type Order =
  | { kind: "setup"; setup: PartSetup }
  | { kind: "shed"; shedding: boolean }
  | { kind: "reconfigure"; next: Reconfiguration }
  | { kind: "call"; id: number; method: Method; argument: number };

/** From the part. */
type Message =
  | { kind: "done"; id: number; value: unknown }
  | { kind: "refused"; id: number; error: unknown }
  | { kind: "failed"; error: unknown }
  | { kind: "lonely" }
  | { kind: "status"; status: PartStatus }
  | { kind: "log"; level: ForwardedLevel; text: string };

export class WorkerPart implements Part {
  readonly failed: Promise<never>;
  readonly lonely: Promise<void>;
  status: PartStatus = {
    figures: mergeFigures([]),
    payloadBytes: 0,
    played: NOTHING_PLAYED,
    requestsOf: [],
  };
  readonly #worker: Worker;
  readonly #name: string;
  readonly #log: Logger;
  readonly #failure: PromiseWithResolvers<never> = Promise.withResolvers();
  readonly #loneliness: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  #nextCall = 0;

  /** @param moduleUrl the program's main module, which calls `servePart` when it runs in a worker */
  constructor(moduleUrl: string, setup: PartSetup, log: Logger) {
    this.lonely = this.#loneliness.promise;
    this.failed = this.#failure.promise;
    this.failed.catch(() => {});
    this.#log = log;
    this.#name = `worker ${setup.replay.session.partition.index + 1}`;
    this.#worker = new Worker(moduleUrl, { type: "module", name: this.#name });
    this.#worker.onmessage = ({ data }: MessageEvent<Message>) => this.#onMessage(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#failure.reject(event.error ?? faultOfWorker(this.#name, event));
    };
    this.#order({ kind: "setup", setup });
  }

  setShedding(shedding: boolean): void {
    this.#order({ kind: "shed", shedding });
  }

  async setSampling(sampling: boolean): Promise<void> {
    const status = await this.#ask(sampling ? "sample" : "rest");
    if (status !== undefined) this.status = status as PartStatus;
  }

  reconfigure(next: Reconfiguration): void {
    this.#order({ kind: "reconfigure", next });
  }

  open(): Promise<string> {
    return this.#call("open") as Promise<string>;
  }

  async connect(): Promise<void> {
    await this.#call("connect");
  }

  async play(startAtMs: number): Promise<void> {
    await this.#call("play", startAtMs);
  }

  async drain(): Promise<void> {
    await this.#call("drain");
  }

  async finish(): Promise<PartStatus> {
    this.status = await this.#call("finish") as PartStatus;
    this.#worker.terminate();
    return this.status;
  }

  #call(method: Method, argument = 0): Promise<unknown> {
    return Promise.race([this.#ask(method, argument), this.failed]);
  }

  /** As `#call`, but never settles when the part fails. Leaves nothing behind on `failed`. */
  #ask(method: Method, argument = 0): Promise<unknown> {
    const call = Promise.withResolvers<unknown>();
    const id = this.#nextCall++;
    this.#calls.set(id, call);
    this.#order({ kind: "call", id, method, argument });
    return call.promise;
  }

  #order(order: Order): void {
    this.#worker.postMessage(order);
  }

  #onMessage(message: Message): void {
    if (message.kind === "status") this.status = message.status;
    else if (message.kind === "lonely") this.#loneliness.resolve();
    else if (message.kind === "log") this.#log[message.level](`${this.#name}: ${message.text}`);
    else if (message.kind === "done") this.#take(message.id)?.resolve(message.value);
    else if (message.kind === "refused") this.#take(message.id)?.reject(message.error);
    else this.#failure.reject(message.error);
  }

  /** A call that is answered; there may be any number of them. */
  #take(id: number): PromiseWithResolvers<unknown> | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }
}

/** The part of the scope of a worker that is used here; Deno's types know only that of a window. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<Order>) => void) | null;
  postMessage(message: Message): void;
}

/** What a worker does: as it is told, until it is ended from outside. */
export function servePart(program: string): void {
  const scope = globalThis as unknown as WorkerScope;
  const log = openForwardedLog(
    program,
    (level, text) => scope.postMessage({ kind: "log", level, text }),
  );
  let part: Part | undefined;
  let setup: PartSetup | undefined;
  const orders = new EarlyOrders();

  const open = async (): Promise<string> => {
    const made = makePart(setup!, log);
    made.failed.catch((error) => scope.postMessage({ kind: "failed", error }));
    made.lonely.then(() => scope.postMessage({ kind: "lonely" }));
    await orders.attach(made);
    // Not a timer of the loop: it would keep an idle loop from sleeping.
    setInterval(
      () => scope.postMessage({ kind: "status", status: made.status }),
      STATUS_EVERY_MS,
    );
    part = made;
    const name = await made.open();
    dropOwnCapabilities();
    return name;
  };
  const perform = async (method: Method, argument: number): Promise<unknown> => {
    if (method === "open") return await open();
    if (method !== "sample" && method !== "rest") return await part![method](argument);
    await orders.setSampling(method === "sample");
    return part?.status;
  };

  scope.onmessage = ({ data: order }) => {
    if (order.kind === "setup") setup = order.setup;
    else if (order.kind === "shed") orders.setShedding(order.shedding);
    else if (order.kind === "reconfigure") orders.reconfigure(order.next);
    else {
      const { id, method, argument } = order;
      perform(method, argument).then(
        (value) => scope.postMessage({ kind: "done", id, value }),
        (error) => scope.postMessage({ kind: "refused", id, error }),
      );
    }
  };
}
