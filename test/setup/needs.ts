/**
 * What the demo and the tests need of the system besides Deno, and which Debian package has it.
 * Reads directories and tries to open libpcap; changes nothing.
 */

import { libpcap } from "../../ffi/libpcap.ts";
import { fetchedDirectories } from "./environment.ts";

/** What is to be run. */
export type Purpose = "demo" | "test";

/** One program or library. */
export interface Need {
  /** The command, or the library's file name. */
  name: string;
  kind: "command" | "library";
  /** The Debian package that has it. */
  package: string;
  /** Only tests need it. */
  testOnly?: true;
  /**
   * Installing the package would start a service now and at every boot. It is unpacked into the
   * checkout instead, whoever asks.
   */
  isService?: true;
}

/** Everything that is ever needed. */
export const needs: readonly Need[] = [
  { name: "ip", kind: "command", package: "iproute2" },
  { name: "unshare", kind: "command", package: "util-linux" },
  { name: "nsenter", kind: "command", package: "util-linux" },
  { name: "mount", kind: "command", package: "mount" },
  { name: "libpcap.so.0.8", kind: "library", package: "libpcap0.8" },
  { name: "sysctl", kind: "command", package: "procps", testOnly: true },
  { name: "ethtool", kind: "command", package: "ethtool", testOnly: true },
  { name: "nft", kind: "command", package: "nftables", testOnly: true },
  { name: "tcpdump", kind: "command", package: "tcpdump", testOnly: true },
  { name: "wrk", kind: "command", package: "wrk", testOnly: true },
  { name: "redis-benchmark", kind: "command", package: "redis-tools", testOnly: true },
  { name: "nginx", kind: "command", package: "nginx", testOnly: true, isService: true },
];

/** Directories of programs; those for administrators are not in every user's PATH. */
function systemDirectories(): string[] {
  return [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
}

/** What of `wanted` is neither in the system nor in the checkout's cache. */
export function missing(wanted: readonly Need[]): Need[] {
  const fetched = fetchedDirectories();
  const programs = [...systemDirectories(), ...fetched.programs];
  return wanted.filter((need) =>
    need.kind === "command"
      ? !isIn(programs, need.name)
      : !isIn(fetched.libraries, need.name) && !systemHasLibpcap()
  );
}

/** What `purpose` needs. */
export function neededFor(purpose: Purpose): Need[] {
  return needs.filter((need) => purpose === "test" || !need.testOnly);
}

/** The packages of some needs, each once, in order of the alphabet. */
export function packagesOf(some: readonly Need[]): string[] {
  return [...new Set(some.map((need) => need.package))].sort();
}

function isIn(directories: readonly string[], name: string): boolean {
  return directories.some((directory) => directory !== "" && isFile(`${directory}/${name}`));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    const isAbsent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory || error instanceof Deno.errors.PermissionDenied;
    if (isAbsent) return false;
    throw error;
  }
}

/** Opening it is the one sure way to know; a version that does not fit is as good as none. */
function systemHasLibpcap(): boolean {
  try {
    libpcap();
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("libpcap")) return false;
    throw error;
  }
}
