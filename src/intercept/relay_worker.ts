/**
 * A relay in a thread of its own: `RelayWorker` stands for it in the main thread, `serveRelay` is
 * what the thread does. They talk in messages; requests and headers pass through socket pairs.
 */

import type { Logger } from "@logtape/logtape";
import { dropOwnCapabilities } from "../../ffi/privileges.ts";
import type { Endpoint } from "../../ffi/socket.ts";
import { faultOfWorker } from "../cli/fatal.ts";
import { type ForwardedLevel, openForwardedLog } from "../observe/log.ts";
import { noRelayFigures, type RelayFigures } from "./figures.ts";
import { Relay, type RelayOptions } from "./relay.ts";

/** How often a worker says what it has counted. */
const FIGURES_EVERY_MS = 500;

/** What a worker's relay is made from. */
export type RelaySetup = Omit<RelayOptions, "log">;

/** From the main thread; `open` comes first. */
type Order =
  | { kind: "open"; setup: RelaySetup }
  | { kind: "run" }
  | { kind: "limit"; maxCombined: number }
  | { kind: "adopt"; fd: number; peer: Endpoint }
  | { kind: "stop" };

/** From the worker. */
type Message =
  | { kind: "opened" }
  | { kind: "ended"; figures: RelayFigures }
  | { kind: "failed"; error: unknown }
  | { kind: "figures"; figures: RelayFigures }
  | { kind: "log"; level: ForwardedLevel; text: string };

export class RelayWorker {
  /** Counted until a moment ago. */
  figures = noRelayFigures();
  /** Resolves when the devices are open; rejects when the worker comes to grief before. */
  readonly opened: Promise<void>;
  /** Resolves after `stop`; rejects when the worker comes to grief. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #log: Logger;
  readonly #opening = Promise.withResolvers<void>();
  readonly #ending = Promise.withResolvers<void>();

  /** @param moduleUrl the program's main module, which calls `serveRelay` when it runs in a worker */
  constructor(moduleUrl: string, setup: RelaySetup, log: Logger) {
    this.opened = this.#opening.promise;
    this.ended = this.#ending.promise;
    // Whoever waits for the other one at that time hears of it from there.
    this.opened.catch(() => {});
    this.ended.catch(() => {});
    this.#log = log;
    this.#worker = new Worker(moduleUrl, {
      type: "module",
      name: `worker ${setup.partition.index + 1}`,
    });
    this.#worker.onmessage = ({ data }: MessageEvent<Message>) => this.#onMessage(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.error ?? faultOfWorker(`worker ${setup.partition.index + 1}`, event));
    };
    this.#order({ kind: "open", setup });
  }

  /** Begins to relay. */
  run(): void {
    this.#order({ kind: "run" });
  }

  /** Hands over a connection that leads to a tcpcopy. */
  adopt(fd: number, peer: Endpoint): void {
    this.#order({ kind: "adopt", fd, peer });
  }

  /** Most headers in one tunnel frame, for connections from now on. */
  limitFrames(maxCombined: number): void {
    this.#order({ kind: "limit", maxCombined });
  }

  stop(): void {
    this.#order({ kind: "stop" });
  }

  #order(order: Order): void {
    this.#worker.postMessage(order);
  }

  #fail(error: unknown): void {
    this.#opening.reject(error);
    this.#ending.reject(error);
  }

  #onMessage(message: Message): void {
    if (message.kind === "figures") this.figures = message.figures;
    else if (message.kind === "log") this.#log[message.level](message.text);
    else if (message.kind === "opened") this.#opening.resolve();
    else if (message.kind === "failed") this.#fail(message.error);
    else {
      this.figures = message.figures;
      this.#ending.resolve();
      this.#worker.terminate();
    }
  }
}

/** The part of the scope of a worker that is used here; Deno's types know only that of a window. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<Order>) => void) | null;
  postMessage(message: Message): void;
}

/** What a worker does: as it is told. */
export function serveRelay(): void {
  const scope = globalThis as unknown as WorkerScope;
  const log = openForwardedLog(
    "intercept",
    (level, text) => scope.postMessage({ kind: "log", level, text }),
  );
  let relay: Relay | undefined;

  const open = (setup: RelaySetup): void => {
    relay = new Relay({ ...setup, log });
    dropOwnCapabilities();
    scope.postMessage({ kind: "opened" });
  };
  const run = async (running: Relay): Promise<void> => {
    const timer = setInterval(
      () => scope.postMessage({ kind: "figures", figures: running.figures() }),
      FIGURES_EVERY_MS,
    );
    try {
      await running.run();
      scope.postMessage({ kind: "ended", figures: running.figures() });
    } catch (error) {
      scope.postMessage({ kind: "failed", error });
    } finally {
      clearInterval(timer);
    }
  };

  scope.onmessage = ({ data: order }) => {
    if (order.kind === "open") {
      try {
        open(order.setup);
      } catch (error) {
        scope.postMessage({ kind: "failed", error });
      }
    } else if (order.kind === "run") run(relay!);
    else if (order.kind === "limit") relay!.limitFrames(order.maxCombined);
    else if (order.kind === "adopt") relay!.adopt(order.fd, order.peer);
    else relay!.stop();
  };
}
