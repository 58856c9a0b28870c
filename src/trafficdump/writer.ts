/**
 * The dump's side of the writing thread: hands over batches, bounded, and keeps the thread's counts.
 */

import { WriterCounters } from "./counters.ts";
import type { DumpFilesOptions, LogFile } from "./dump_files.ts";
import { Outbox } from "./outbox.ts";
import {
  type ConfigurationTexts,
  WRITER_THREAD,
  type WriterNews,
  type WriterTask,
} from "./writer_thread.ts";

/** How a writer is made. */
export interface DumpWriterOptions {
  files: DumpFilesOptions;
  /** Most bytes on their way to the disk. */
  maxQueueBytes: number;
  /** Module of the thread: `writer_thread.ts`, or a program's own that knows what to do. */
  threadModule?: string;
  /** Called when the disk begins to refuse (with the reason), and when it takes again. */
  onTrouble?(reason: string | undefined): void;
}

/** Most characters of lines (portrait data) on their way. */
const MAX_LINE_CHARACTERS = 4 << 20;

export class DumpWriter {
  readonly outbox: Outbox;
  counters = new WriterCounters();
  /** Why the disk does not take anything. */
  trouble: string | undefined;
  readonly #worker: Worker;
  readonly #options: DumpWriterOptions;
  readonly #dropUpTo = new Int32Array(new SharedArrayBuffer(4));
  readonly #ended = Promise.withResolvers<void>();
  #ready: PromiseWithResolvers<void> = Promise.withResolvers();
  #batches = 0;
  #lineCharacters = 0;

  constructor(options: DumpWriterOptions) {
    this.#options = options;
    this.outbox = new Outbox(options.maxQueueBytes, (buffer, length) => {
      this.#post({ type: "batch", number: ++this.#batches, buffer, length }, [buffer]);
    });
    const module = options.threadModule ?? new URL("./writer_thread.ts", import.meta.url).href;
    this.#worker = new Worker(module, { type: "module", name: WRITER_THREAD });
    this.#worker.onmessage = ({ data }: MessageEvent<WriterNews>) => this.#onNews(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(`the writing thread failed: ${event.message}`);
    };
    const dropUpTo = this.#dropUpTo.buffer as SharedArrayBuffer;
    this.#post({ type: "start", options: options.files, dropUpTo });
  }

  /** Resolves when the thread has looked at the directory. Rejects when it cannot be used. */
  ready(): Promise<void> {
    return this.#ready.promise;
  }

  openWindow(window: string, json: ConfigurationTexts): void {
    this.outbox.flush();
    this.#post({ type: "open", window, json });
  }

  closeWindow(): void {
    this.outbox.flush();
    this.#post({ type: "close" });
  }

  /** Writes a line. Returns false when too much is on its way. */
  line(log: LogFile, text: string): boolean {
    if (this.#lineCharacters + text.length > MAX_LINE_CHARACTERS) return false;
    this.#lineCharacters += text.length;
    this.#post({ type: "line", log, text });
    return true;
  }

  /** What is on its way is not to be written any more. */
  drop(): void {
    this.outbox.flush();
    Atomics.store(this.#dropUpTo, 0, this.#batches);
  }

  /** Writes what is on its way and ends the thread. */
  async close(): Promise<void> {
    this.outbox.flush();
    this.#post({ type: "end" });
    await this.#ended.promise;
  }

  #post(task: WriterTask, transfer: Transferable[] = []): void {
    this.#worker.postMessage(task, transfer);
  }

  #onNews(news: WriterNews): void {
    switch (news.type) {
      case "ready":
        this.#ready.resolve();
        break;
      case "failed":
        this.#fail(news.reason);
        break;
      case "batch":
        this.outbox.giveBack(news.buffer, news.length);
        break;
      case "line":
        this.#lineCharacters -= news.length;
        break;
      case "state": {
        this.counters = news.counters;
        const hadTrouble = this.trouble !== undefined;
        this.trouble = news.trouble;
        if (hadTrouble !== (news.trouble !== undefined)) this.#options.onTrouble?.(news.trouble);
        break;
      }
      case "ended":
        this.#ended.resolve();
        break;
    }
  }

  #fail(reason: string): void {
    this.#ready.reject(new Error(reason));
    // Nobody may be waiting for the start any more.
    this.#ready.promise.catch(() => {});
    if (this.trouble === undefined) this.#options.onTrouble?.(reason);
    this.trouble = reason;
    this.#ended.resolve();
  }
}
