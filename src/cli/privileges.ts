/** How the programs give up their privileges, and what they say about it. */

import type { Logger } from "@logtape/logtape";
import { surrenderPrivileges } from "../../ffi/privileges.ts";

/** What a program still needs of the file system. */
export interface LaterFiles {
  /** The log, which is open; undefined for standard error. */
  log: string | undefined;
  /** Files that are read again while the program runs. */
  read: readonly (string | undefined)[];
}

/**
 * Gives up all privileges, once all that needs them is open. As root, warns of files that will not be
 * read again then.
 *
 * @throws SystemError when the kernel refuses
 */
export function giveUpPrivileges(log: Logger, files: LaterFiles): void {
  const keepWritable = files.log === undefined ? [] : [files.log];
  const { isNobody, unfiltered } = surrenderPrivileges({ keepWritable });
  if (unfiltered !== undefined) log.debug(`system calls are not filtered: ${unfiltered}`);
  if (!isNobody) return;
  for (const path of files.read) {
    if (path === undefined) continue;
    try {
      Deno.openSync(path).close();
    } catch (error) {
      log.warn(
        `${path} will not be read again: the program is the user nobody from now on, ` +
          `who must be able to read it (${(error as Error).message})`,
      );
    }
  }
}
