/**
 * A system whose load is what a test says: files of our own over /proc/stat and /proc/meminfo, in the
 * sandbox's mount namespace, which nobody else sees. A busy machine must not decide a test.
 */

const TICK_MS = 50;
const TOTAL_KB = 1_000_000;

export class FakeLoad {
  cpuPercent = 5;
  memPercent = 10;
  readonly #directory: string;
  readonly #timer: ReturnType<typeof setInterval>;
  #busy = 0;
  #total = 0;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#write();
    this.#timer = setInterval(() => this.#write(), TICK_MS);
  }

  /** Puts the files in place. */
  static async begin(directory: string): Promise<FakeLoad> {
    const load = new FakeLoad(directory);
    for (const name of ["stat", "meminfo"]) {
      await run("mount", "--bind", `${directory}/${name}`, `/proc/${name}`);
    }
    // The limits of the container the tests run in are not to count either.
    await run("mount", "-t", "tmpfs", "none", "/sys/fs/cgroup");
    return load;
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #write(): void {
    this.#total += 100;
    this.#busy += this.cpuPercent;
    const idle = this.#total - this.#busy;
    // In place and of one length: the bind mount is of this very file, and nobody reads half of it.
    const stat = `cpu  ${String(this.#busy).padStart(12)} 0 0 ${
      String(idle).padStart(12)
    } 0 0 0 0\n`;
    const available = String(TOTAL_KB * (100 - this.memPercent) / 100).padStart(12);
    const total = String(TOTAL_KB).padStart(12);
    write(`${this.#directory}/stat`, stat);
    write(
      `${this.#directory}/meminfo`,
      `MemTotal: ${total} kB\nMemAvailable: ${available} kB\n`,
    );
  }
}

function write(path: string, text: string): void {
  const file = Deno.openSync(path, { write: true, create: true });
  file.writeSync(new TextEncoder().encode(text));
  file.close();
}

async function run(...argv: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(argv[0], { args: argv.slice(1) }).output();
  if (!success) {
    throw new Error(`${argv.join(" ")} failed: ${new TextDecoder().decode(stderr).trim()}`);
  }
}
