/**
 * The directory of a dump, ready to be written to also after root was given up. Touches that
 * directory and the working directory.
 */

import { UsageError } from "../cli/fatal.ts";

/** User and group after root was given up: see `dropRoot`. */
const NOBODY = 65_534;

/**
 * Makes DIRECTORY/dump.
 *
 * As root the directory and the dump's files in it are handed to the user this process is about to
 * become. That user may have no way to the directory (under /root, for example), so that the process
 * makes it its working directory: the way from there needs no permissions.
 *
 * @returns the path to write to
 * @throws UsageError when the directory cannot be made or used
 */
export function openDumpDirectory(logDirectory: string): string {
  const path = `${logDirectory}/dump`;
  try {
    Deno.mkdirSync(logDirectory, { recursive: true, mode: 0o755 });
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    if (Deno.uid() !== 0) {
      const probe = `${path}/.probe_${Deno.pid}`;
      Deno.writeTextFileSync(probe, "");
      Deno.removeSync(probe);
      return path;
    }
    handOver(path);
    Deno.chdir(path);
    return "/proc/self/cwd";
  } catch (error) {
    throw new UsageError(
      `--log-dir ${logDirectory}: the directory cannot be used: ${(error as Error).message}`,
    );
  }
}

function handOver(path: string): void {
  const paths = [path];
  for (const { name, isFile } of Deno.readDirSync(path)) {
    if (isFile && name.startsWith("dump_")) paths.push(`${path}/${name}`);
  }
  for (const one of paths) {
    try {
      Deno.chownSync(one, NOBODY, NOBODY);
    } catch (error) {
      // In a user namespace there is no such user; the process then stays what it is.
      if (!/EINVAL|os error 22/.test((error as Error).message)) throw error;
    }
  }
}
