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
 * How the runtime's engine is set: objects that live as long as a session leave the memory for young
 * ones early, which makes a session at rest a third smaller.
 */
export const ENGINE_FLAGS = "--v8-flags=--max-semi-space-size=4";

/**
 * Address space the runtime reserves when it starts, in units of 1024 bytes, as `ulimit -v` has them
 * (measured: 33,931,092 with Deno 2.9.6; below it crashes).
 */
export const ADDRESS_SPACE_KIB = 34_000_000;

/**
 * All programs; one whose main module does not exist yet is left out.
 *
 * All need "all": a daemon starts itself once more, with the command line of /proc/self/cmdline, open
 * connections stand in /proc/net, devices in /sys, and the runtime lets nobody read there with less.
 */
export const PROGRAMS: readonly Program[] = [
  {
    name: "tcpcopy",
    main: "src/tcpcopy/main.ts",
    permissions: ["all"],
  },
  {
    name: "intercept",
    main: "src/intercept/main.ts",
    permissions: ["all"],
  },
  {
    name: "trafficdump",
    main: "src/trafficdump/main.ts",
    permissions: ["all"],
  },
];
