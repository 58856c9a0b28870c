/**
 * A child process whose output is read, whose end is seen, and which can be ended within a bound.
 * Touches nothing but that process.
 */

/** Output kept per stream; what is older is dropped. */
const MAX_OUTPUT_CHARACTERS = 4_000_000;

/** One running (or ended) program. */
export class LabProcess {
  /** What messages call it. */
  readonly name: string;
  readonly pid: number;
  /** Both output streams, in order of arrival. */
  output = "";
  /** Set when it has ended. */
  status: Deno.CommandStatus | undefined;
  /** Resolves when it has ended and all its output is here. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** True once somebody asked it to end. */
  stopping = false;
  /** What `stop` sends by default: the signal on which it brings what it does to its end. */
  endSignal: "SIGTERM" | "SIGINT" = "SIGTERM";
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  #waiters: (() => void)[] = [];

  constructor(name: string, child: Deno.ChildProcess) {
    this.name = name;
    this.pid = child.pid;
    this.#child = child;
    this.#stdin = child.stdin.getWriter();
    this.ended = this.#run();
  }

  async #run(): Promise<Deno.CommandStatus> {
    const [status] = await Promise.all([
      this.#child.status,
      this.#collect(this.#child.stdout),
      this.#collect(this.#child.stderr),
    ]);
    this.status = status;
    await this.#stdin.close().catch(() => {}); // its reader is gone: nothing is lost
    this.#wake();
    return status;
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.output = (this.output + text).slice(-MAX_OUTPUT_CHARACTERS);
      this.#wake();
    }
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  /** Writes a line to its standard input. */
  async writeLine(line: string): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode(line + "\n"));
  }

  /**
   * Waits until its output matches.
   *
   * @param pattern tried on all the output after `from`
   * @returns the match
   * @throws Error with its last output when it ends before, or after `timeoutMs`
   */
  async waitFor(pattern: RegExp, timeoutMs: number, from = 0): Promise<RegExpExecArray> {
    const deadlineMs = Date.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.output.slice(from));
      if (match !== null) return match;
      if (this.status !== undefined) {
        throw new Error(`${this.name} ended with code ${this.status.code}: ${this.lastLines(5)}`);
      }
      const leftMs = deadlineMs - Date.now();
      if (leftMs <= 0) {
        throw new Error(
          `${this.name}: expected ${pattern} in its output within ${timeoutMs} ms, came: ` +
            this.lastLines(5),
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Its last lines of output, in one line. */
  lastLines(count: number): string {
    const lines = this.output.trimEnd().split("\n").slice(-count);
    return lines.join(" | ") || "(no output)";
  }

  /** CPU seconds (user and system) it has used so far; 0 when it has ended. */
  cpuSeconds(): number {
    try {
      const stat = Deno.readTextFileSync(`/proc/${this.pid}/stat`);
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return (Number(fields[11]) + Number(fields[12])) / 100; // utime, stime in clock ticks: proc(5)
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  }

  /** Most memory it has had resident so far, bytes; 0 when it has ended. */
  peakMemoryBytes(): number {
    try {
      const status = Deno.readTextFileSync(`/proc/${this.pid}/status`);
      return Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  }

  /** Packets its host has received on eth0 so far. */
  receivedPackets(): number {
    const counters = Deno.readTextFileSync(`/proc/${this.pid}/net/dev`);
    return Number(/eth0:\s*\d+\s+(\d+)/.exec(counters)?.[1] ?? 0);
  }

  /** Sends it a signal, if it still runs. */
  signal(signal: Deno.Signal): void {
    if (this.status !== undefined) return;
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It ended, and its status is on the way.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Ends it: the signal, and SIGKILL after `graceMs`. Resolves when it has ended. */
  async stop(
    graceMs = 5_000,
    signal: "SIGTERM" | "SIGINT" = this.endSignal,
  ): Promise<Deno.CommandStatus> {
    this.stopping = true;
    this.signal(signal);
    const timer = setTimeout(() => this.signal("SIGKILL"), graceMs);
    const status = await this.ended;
    clearTimeout(timer);
    return status;
  }
}
