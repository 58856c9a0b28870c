/**
 * Where packages are that were unpacked into the checkout, and the environment in which programs
 * find them. Reads directories; changes nothing.
 */

/** The checkout's cache; git ignores it. */
export const CACHE_DIRECTORY = new URL("../../.cache", import.meta.url).pathname;

/** One subdirectory per set of packages that was fetched, each like the root of a file system. */
export const PACKAGES_DIRECTORY = `${CACHE_DIRECTORY}/packages`;

/** Debian's names for the places of libraries (https://wiki.debian.org/Multiarch/Tuples). */
const tuple = `${Deno.build.arch}-linux-gnu`;

/** Directories, in the order in which they are to be searched. */
export interface FetchedDirectories {
  programs: string[];
  libraries: string[];
}

/** The directories of what was fetched; empty when nothing was. */
export function fetchedDirectories(packagesDirectory = PACKAGES_DIRECTORY): FetchedDirectories {
  const roots = subdirectories(packagesDirectory);
  return {
    programs: existing(roots, ["usr/sbin", "usr/bin", "sbin", "bin"]),
    libraries: existing(roots, [`usr/lib/${tuple}`, `lib/${tuple}`, "usr/lib"]),
  };
}

/**
 * The variables a child process needs to find what was fetched; empty when nothing was.
 *
 * ```ts
 * new Deno.Command("tcpdump", { env: environment() });
 * ```
 */
export function environment(packagesDirectory = PACKAGES_DIRECTORY): Record<string, string> {
  const { programs, libraries } = fetchedDirectories(packagesDirectory);
  const variables: Record<string, string> = {};
  // The dynamic linker looks here first, but what the system had was never fetched.
  if (programs.length > 0) variables.PATH = joined(Deno.env.get("PATH"), programs);
  if (libraries.length > 0) {
    variables.LD_LIBRARY_PATH = joined(Deno.env.get("LD_LIBRARY_PATH"), libraries);
  }
  return variables;
}

function joined(before: string | undefined, directories: readonly string[]): string {
  return [...new Set([...(before ?? "").split(":"), ...directories])]
    .filter((directory) => directory !== "").join(":");
}

function existing(roots: readonly string[], places: readonly string[]): string[] {
  return roots.flatMap((root) => places.map((place) => `${root}/${place}`)).filter(isDirectory);
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

function subdirectories(path: string): string[] {
  if (!isDirectory(path)) return [];
  return [...Deno.readDirSync(path)].filter((entry) => entry.isDirectory)
    .map((entry) => `${path}/${entry.name}`).sort();
}
