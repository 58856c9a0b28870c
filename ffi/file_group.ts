/** The group of files this thread makes. Touches the C library. */

import { libc } from "./libc.ts";

/** No group has this number: the call then changes nothing and tells the group in force. */
const NO_GROUP = 0xffff_ffff;

/**
 * Makes files that belong to a group from the moment they exist, so that nobody can have another file
 * changed in their place.
 *
 * @param groupId `undefined` for the group of the process
 * @param make makes the files, before it returns and in this thread
 * @throws Error when the group is not this process's own and it has not the right (CAP_SETGID)
 * @see setfsgid(2)
 */
export function withGroup<T>(groupId: number | undefined, make: () => T): T {
  if (groupId === undefined) return make();
  const { setfsgid } = libc();
  const before = setfsgid(groupId);
  try {
    if (setfsgid(NO_GROUP) !== groupId) {
      throw new Error(
        `group ${groupId} is not this process's own, and only root may give a file another one: ` +
          "start as root, or in that group (Group= of systemd, sg)",
      );
    }
    return make();
  } finally {
    setfsgid(before);
  }
}
