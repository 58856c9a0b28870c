/**
 * The thread that writes: takes batches, windows and lines from `DumpWriter` and hands them to
 * `DumpFiles`. Is a worker's whole program; the program trafficdump starts it from its own main
 * module, a library user's program from this file.
 */

import { createHash } from "node:crypto";
import { setPriority } from "node:os";
import type { WriterCounters } from "./counters.ts";
import { DumpFiles, type DumpFilesOptions, type LogFile } from "./dump_files.ts";

/** Name of the worker: how a main module knows what it is. */
export const WRITER_THREAD = "trafficdump writer";

/** How far the writer stands back for others when there is not enough CPU time: setpriority(2). */
const NICE = 19;

/** From the dump to the writer. */
export type WriterTask =
  | { type: "start"; options: DumpFilesOptions; dropUpTo: SharedArrayBuffer }
  | { type: "batch"; number: number; buffer: ArrayBuffer; length: number }
  | { type: "open"; window: string; json: ConfigurationTexts }
  | { type: "close" }
  | { type: "line"; log: LogFile; text: string }
  | { type: "end" };

/** What is written once per window if it has changed. */
export interface ConfigurationTexts {
  memory: string;
  static: string;
}

/** From the writer to the dump. */
export type WriterNews =
  | { type: "ready" }
  | { type: "failed"; reason: string }
  | { type: "batch"; buffer: ArrayBuffer; length: number }
  | { type: "line"; length: number }
  | { type: "state"; counters: WriterCounters; trouble: string | undefined }
  | { type: "ended" };

/** What a worker has of its global scope; the library's types know only that of a program. */
interface WorkerScope {
  name: string;
  onmessage: ((event: MessageEvent<WriterTask>) => void) | null;
  postMessage(news: WriterNews, transfer?: Transferable[]): void;
  close(): void;
}

/** Whether this is the writer's thread. */
export function isWriterThread(): boolean {
  const scope = globalThis as unknown as Partial<WorkerScope>;
  return "WorkerGlobalScope" in globalThis && scope.name === WRITER_THREAD;
}

/** Serves the tasks; to be called once, in the writer's thread. */
export function serveWriter(): void {
  const scope = globalThis as unknown as WorkerScope;
  if (scope.onmessage !== null) return; // in a bundle every module counts as the main one
  let thread: WriterThread | undefined;
  scope.onmessage = ({ data }) => {
    try {
      if (data.type === "start") {
        // On Linux 0 is the calling thread: the service on this machine comes first.
        setPriority(0, NICE);
        thread = new WriterThread(scope, data.options, new Int32Array(data.dropUpTo));
        scope.postMessage({ type: "ready" });
      } else thread?.handle(data);
    } catch (error) {
      scope.postMessage({ type: "failed", reason: (error as Error).message });
    }
  };
}

class WriterThread {
  readonly #scope: WorkerScope;
  readonly #files: DumpFiles;
  /** Batches up to this number are not wanted any more. */
  readonly #dropUpTo: Int32Array;
  readonly #digests = new Map<LogFile, string>();

  constructor(scope: WorkerScope, options: DumpFilesOptions, dropUpTo: Int32Array) {
    this.#scope = scope;
    this.#files = new DumpFiles(options);
    this.#dropUpTo = dropUpTo;
  }

  handle(task: WriterTask): void {
    const nowMs = Date.now();
    switch (task.type) {
      case "batch": {
        const { number, buffer, length } = task;
        if (number > Atomics.load(this.#dropUpTo, 0)) this.#files.batch(buffer, length, nowMs);
        else this.#files.drop(buffer, length);
        this.#scope.postMessage({ type: "batch", buffer, length }, [buffer]);
        break;
      }
      case "open":
        this.#files.openWindow(task.window, nowMs);
        this.#configuration("static", task.window, task.json.static, nowMs);
        this.#configuration("memory", task.window, task.json.memory, nowMs);
        break;
      case "close":
        this.#files.closeWindow(nowMs);
        break;
      case "line":
        this.#files.line(task.log, task.text, nowMs);
        this.#scope.postMessage({ type: "line", length: task.text.length });
        break;
      case "end":
        this.#files.close(nowMs);
        break;
    }
    const { counters, trouble } = this.#files;
    this.#scope.postMessage({ type: "state", counters: { ...counters }, trouble });
    if (task.type !== "end") return;
    this.#scope.postMessage({ type: "ended" });
    this.#scope.close();
  }

  /** The whole text when it has changed, or when the file is new; otherwise that it has not. */
  #configuration(log: "memory" | "static", window: string, text: string, nowMs: number): void {
    const digest = createHash("md5").update(text).digest("hex");
    const isKnown = this.#digests.get(log) === digest && !this.#files.isEmpty(log);
    const isWritten = this.#files.line(log, `[${window}]${isKnown ? "no_change" : text}`, nowMs);
    if (isWritten) this.#digests.set(log, digest);
  }
}

if (import.meta.main && isWriterThread()) serveWriter();
