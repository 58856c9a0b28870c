/**
 * Debian packages: installed into the system (root), or unpacked into the checkout (anybody).
 * Runs apt-get and dpkg-deb; unpacking touches the checkout's cache only.
 */

import { CACHE_DIRECTORY, PACKAGES_DIRECTORY } from "./environment.ts";

/** How the work is watched and stopped. */
export interface AptOptions {
  /** Called at the beginning of each step, with what it does. */
  onStep: (text: string) => void;
  /** Ends apt-get in an orderly way; what was going on then rejects. */
  signal: AbortSignal;
  /** Where packages are unpacked. Default: the checkout's cache. */
  cacheDirectory?: string;
}

/** Whether this system has apt at all. */
export async function hasApt(): Promise<boolean> {
  try {
    return (await new Deno.Command("apt-get", { args: ["--version"] }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Installs packages; needs root.
 *
 * @throws Error with apt's own message
 */
export async function installPackages(
  packages: readonly string[],
  { onStep, signal }: AptOptions,
): Promise<void> {
  const own = ["-q", "-y", "-o", "DPkg::Lock::Timeout=60"];
  onStep("reading the package lists (apt-get update)");
  await afterUpdate(own, signal, async () => {
    onStep(`installing ${packages.join(", ")} (apt-get install)`);
    await run("apt-get", [...own, "--no-install-recommends", "install", ...packages], signal);
  });
}

/**
 * Downloads packages and what they depend on, as far as the system lacks it, and unpacks them into
 * the cache. Needs no privilege; the system's own lists, caches and locks are not touched.
 *
 * @throws Error with apt's own message
 */
export async function fetchPackages(
  packages: readonly string[],
  options: AptOptions,
): Promise<void> {
  const { onStep, signal } = options;
  const cache = options.cacheDirectory ?? CACHE_DIRECTORY;
  const target = options.cacheDirectory === undefined ? PACKAGES_DIRECTORY : `${cache}/packages`;
  await removeLeftovers(cache);
  const staging = `${cache}/staging-${Deno.pid}`;
  try {
    await Deno.mkdir(`${staging}/state/lists/partial`, { recursive: true });
    await Deno.mkdir(`${staging}/cache/archives/partial`, { recursive: true });
    const own = [
      ...["-q", "-y", "-o", `Dir::State=${staging}/state`, "-o", `Dir::Cache=${staging}/cache`],
      ...["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=1"],
      // Root would download as another user, who cannot write here.
      ...(Deno.uid() === 0 ? ["-o", "APT::Sandbox::User=root"] : []),
    ];
    onStep("reading the package lists (apt-get update)");
    await afterUpdate(own, signal, async () => {
      onStep(`fetching ${packages.join(", ")} into .cache`);
      const download = ["--no-install-recommends", "--download-only", "install"];
      await run("apt-get", [...own, ...download, ...packages], signal);
    });
    await unpack(`${staging}/cache/archives`, `${staging}/root`, signal);
    await Deno.mkdir(target, { recursive: true });
    await moveInto(`${staging}/root`, `${target}/${packages.join("+")}`);
  } finally {
    await Deno.remove(staging, { recursive: true }).catch(ignoreNotFound);
  }
}

/**
 * Reads the package lists, then does `work`. One source of packages that cannot be reached need not
 * matter; but if `work` fails, that is the likely cause.
 */
async function afterUpdate(
  own: readonly string[],
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  let cause: unknown;
  try {
    await run("apt-get", [...own, "-o", "APT::Update::Error-Mode=any", "update"], signal);
  } catch (error) {
    signal.throwIfAborted();
    cause = error;
  }
  try {
    await work();
  } catch (error) {
    signal.throwIfAborted();
    throw cause ?? error;
  }
}

async function unpack(archives: string, root: string, signal: AbortSignal): Promise<void> {
  // A newer version of something installed is left out: it could not replace it from here.
  const installed = new Set(
    (await run("dpkg-query", ["-W", "-f=${Package} ${db:Status-Status}\n"], signal)).split("\n")
      .filter((line) => line.endsWith(" installed")).map((line) => line.split(" ")[0]),
  );
  await Deno.mkdir(root);
  for await (const { name } of Deno.readDir(archives)) {
    if (!name.endsWith(".deb") || installed.has(name.split("_")[0])) continue;
    await run("dpkg-deb", ["-x", `${archives}/${name}`, root], signal);
  }
}

/** Renames a directory; one that is there already (another run was faster) is as good. */
async function moveInto(from: string, to: string): Promise<void> {
  try {
    await Deno.rename(from, to);
  } catch (error) {
    if (!(error as Error).message.includes("not empty")) throw error;
  }
}

/** Removes what runs left behind that were killed. */
async function removeLeftovers(cache: string): Promise<void> {
  try {
    for await (const { name } of Deno.readDir(cache)) {
      const pid = /^staging-(\d+)$/.exec(name)?.[1];
      if (pid === undefined || await exists(`/proc/${pid}`)) continue;
      await Deno.remove(`${cache}/${name}`, { recursive: true });
    }
  } catch (error) {
    ignoreNotFound(error);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    ignoreNotFound(error);
    return false;
  }
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** Runs a command to its end; returns its standard output. */
async function run(command: string, args: string[], signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const child = new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    // Messages in one language; no questions; no service is restarted for a new library.
    env: { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_SUSPEND: "1" },
  }).spawn();
  // On an interrupt apt-get stops downloading, but finishes what it is unpacking.
  const stop = () => interrupt(child);
  signal.addEventListener("abort", stop);
  const output = await child.output();
  signal.removeEventListener("abort", stop);
  signal.throwIfAborted();
  const decoder = new TextDecoder();
  if (output.success) return decoder.decode(output.stdout);
  throw new Error(`${command}: ${firstError(decoder.decode(output.stderr), output.code)}`);
}

/** At a terminal the child has had the interrupt too, and may be gone already. */
function interrupt(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGINT");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What apt says is marked with "E: ". */
function firstError(text: string, code: number): string {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const line = lines.find((candidate) => candidate.startsWith("E: ")) ?? lines.at(-1);
  return line?.replace(/^E: /, "") ?? `exit code ${code}`;
}
