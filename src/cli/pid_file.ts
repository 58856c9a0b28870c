/**
 * The file a process writes its number into. It stays locked (flock(2)) as long as the process
 * lives, however it ends, so a file left behind by one that was killed is simply taken over.
 *
 * A process that gave up root may no longer remove the file. So one started as root leaves a shell
 * behind that does nothing but wait for its end and remove the file then.
 */

import { O_CREAT, O_RDONLY, openFile, pathOf, tryLock } from "../../ffi/safe_path.ts";
import { closeFd } from "../../ffi/socket.ts";
import { UsageError } from "./fatal.ts";

/** Removes the file when its input ends, which it does with the process, if it is still the same. */
const REMOVER = `trap "" INT TERM HUP
while read -r _; do :; done
[ "$(cat "$1")" = "$2" ] && rm -f "$1"`;

const MAX_ATTEMPTS = 5;

/** See the top of the file. */
export class PidFile implements Disposable {
  readonly #path: string;
  /** Holds the lock. Only for reading: who takes over the process cannot write there. */
  readonly #fd: number;

  /** @throws UsageError when another process has the file, or it is no such file */
  constructor(path: string) {
    this.#path = path;
    this.#fd = lockFile(path);
    const text = `${Deno.pid}\n`;
    try {
      Deno.writeTextFileSync(pathOf(this.#fd), text, { create: false });
    } catch (error) {
      closeFd(this.#fd);
      throw new UsageError(`--pid-file ${path}: cannot be written: ${(error as Error).message}`);
    }
    if (Deno.uid() === 0) startRemover(path, text.trim());
  }

  /** Removes the file. */
  [Symbol.dispose](): void {
    try {
      Deno.removeSync(this.#path);
    } catch (error) {
      const isLeftToShell = error instanceof Deno.errors.PermissionDenied;
      if (!isLeftToShell && !(error instanceof Deno.errors.NotFound)) throw error;
    } finally {
      closeFd(this.#fd);
    }
  }
}

/** Opens and locks the file, and makes sure that it is the one that has the name now. */
function lockFile(path: string): number {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const fd = open(path);
    try {
      const isLocked = tryLock(fd);
      const content = readUpTo(fd, 64).trim();
      if (!isLocked) {
        throw new UsageError(`--pid-file ${path}: process ${content} is running and has it`);
      }
      if (content !== "" && !/^\d+$/.test(content)) {
        throw new UsageError(
          `--pid-file ${path}: expected a process number or nothing in it, not other data`,
        );
      }
      // Whoever had it before may have removed it between opening and locking.
      if (inodeOf(pathOf(fd)) === inodeOf(path)) return fd;
      closeFd(fd);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }
  throw new UsageError(`--pid-file ${path}: other processes take it again and again`);
}

function open(path: string): number {
  try {
    return openFile(path, O_RDONLY | O_CREAT, 0o644).fd;
  } catch (error) {
    throw new UsageError(`--pid-file ${path}: cannot be opened: ${(error as Error).message}`);
  }
}

function readUpTo(fd: number, bytes: number): string {
  using file = Deno.openSync(pathOf(fd));
  const buffer = new Uint8Array(bytes);
  return new TextDecoder().decode(buffer.subarray(0, file.readSync(buffer) ?? 0));
}

function inodeOf(path: string): number | null | undefined {
  try {
    return Deno.statSync(path).ino;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function startRemover(path: string, pid: string): void {
  new Deno.Command("sh", {
    args: ["-c", REMOVER, "sh", path, pid],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn().unref();
}
