/**
 * The directory of a dump, ready to be written to also after root was given up. Touches that
 * directory only.
 */

import { UsageError } from "../cli/fatal.ts";
import {
  giveToNobody,
  O_CREAT,
  O_WRONLY,
  openDirectory,
  openFile,
  openSubdirectory,
  pathOf,
  tryLock,
} from "../../ffi/safe_path.ts";
import { closeFd } from "../../ffi/socket.ts";
import { LOG_FILES } from "./dump_files.ts";

/** Only trafficdump makes this file: where it is, the others are its own too. */
const MARK = LOG_FILES.connections;
const MODE = 0o700;
const LOG_DIRECTORY_MODE = 0o755;

/** See the top of the file. */
export class DumpDirectory {
  /**
   * The path to write to. It leads through the open directory: the user this process becomes may have
   * no way there (below /root, for example).
   */
  readonly path: string;
  /** Why it is not known whether another trafficdump writes there; mostly undefined. */
  readonly unlocked: string | undefined;
  readonly #name: string;

  /**
   * Opens LOG_DIRECTORY/dump, and makes it if it is missing. As root a new one is given to the user
   * this process is about to become; one that is there already is left as it is. It is this process's
   * alone as long as it runs.
   *
   * @throws UsageError when it cannot be opened or made, a link on its path is another user's, or
   * another program has its files there
   */
  constructor(logDirectory: string) {
    this.#name = `${logDirectory}/dump`;
    try {
      const parent = openDirectory(logDirectory, LOG_DIRECTORY_MODE).fd;
      try {
        const { fd, isNew } = openSubdirectory(parent, "dump", MODE);
        this.path = pathOf(fd);
        if (isNew && this.#isUntouched()) giveToNobody(fd);
        this.unlocked = this.#lock(fd);
        this.#assertOwn();
      } finally {
        closeFd(parent);
      }
    } catch (error) {
      throw error instanceof UsageError ? error : new UsageError(
        `--log-dir ${logDirectory}: the directory cannot be used: ${(error as Error).message}`,
      );
    }
  }

  /**
   * Makes sure that files can be written. To be called when root was given up.
   *
   * @throws UsageError that says what to do
   */
  assertWritable(): void {
    const probe = `.probe_${Deno.pid}`;
    try {
      this.#open(probe, O_CREAT);
      Deno.removeSync(`${this.path}/${probe}`);
      this.#open(MARK, O_CREAT);
      for (const name of Object.values(LOG_FILES)) {
        if (this.#has(name)) this.#open(name, 0);
      }
    } catch (error) {
      throw new UsageError(
        `--log-dir: user ${Deno.uid()} cannot write in ${this.#name}: ${
          (error as Error).message
        }; ` +
          `chown -R ${Deno.uid()} it, remove it, or name another`,
      );
    }
  }

  /** Returns why the file system has no locks, if it has none. */
  #lock(fd: number): string | undefined {
    try {
      if (tryLock(fd)) return undefined;
    } catch (error) {
      return (error as Error).message;
    }
    throw new UsageError(
      `--log-dir: another trafficdump writes in ${this.#name}: name another directory, or end it`,
    );
  }

  /** Layotto's files have the same names; it goes on writing to them, and keeps its archives. */
  #assertOwn(): void {
    if (this.#has(MARK)) return;
    const other = Object.values(LOG_FILES).find((name) => this.#has(name));
    if (other === undefined) return;
    throw new UsageError(
      `--log-dir: ${this.#name} has a ${other} and no ${MARK}, so that it is another program's ` +
        "(Layotto names its files so): name another directory, or move its files away",
    );
  }

  #open(name: string, flags: number): void {
    try {
      closeFd(openFile(`${this.path}/${name}`, O_WRONLY | flags, 0o600).fd);
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`);
    }
  }

  #has(name: string): boolean {
    return Array.from(Deno.readDirSync(this.path)).some((entry) => entry.name === name);
  }

  /** In a directory of somebody else's, another one could have taken the new one's place. */
  #isUntouched(): boolean {
    const { uid } = Deno.statSync(this.path);
    return uid === Deno.uid() &&
      Deno.readDirSync(this.path)[Symbol.iterator]().next().done === true;
  }
}
