/** The programs that are made into executables, each with what it may do. The only list of them. */

import type { Permission } from "./permissions.ts";

/** One program. */
export interface Program {
  /** Name of the executable. */
  name: string;
  /** Its main module, below the project's root. */
  main: string;
  permissions: readonly Permission[];
}

/**
 * All programs; one whose main module does not exist yet is left out.
 *
 * `ffi`: sockets, capture, dropping privileges. `net`: host names, listening. `read` and `write`:
 * capture files, configuration and log, whose paths the user chooses. `env`: NO_COLOR and the like.
 * `sys`: user, network interfaces, memory. Nothing else: no other programs, no code from elsewhere.
 */
export const PROGRAMS: readonly Program[] = [
  {
    name: "tcpcopy",
    main: "src/tcpcopy/main.ts",
    permissions: ["ffi", "net", "read", "write", "env", "sys"],
  },
  {
    name: "intercept",
    main: "src/intercept/main.ts",
    permissions: ["ffi", "net", "read", "write", "env", "sys"],
  },
  {
    // "all": it watches the load in /proc, which the runtime lets nobody read with less.
    name: "trafficdump",
    main: "src/trafficdump/main.ts",
    permissions: ["all"],
  },
];
