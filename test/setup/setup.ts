/**
 * Brings what the demo or the tests need of the system, and says in one sentence what cannot be
 * brought. Where nothing is missing it starts no process and writes nothing.
 *
 * Root installs Debian packages. Everybody else gets them unpacked into the checkout's cache, where
 * {@linkcode environment} lets programs find them.
 */

import { fetchPackages, hasApt, installPackages } from "./apt.ts";
import { missing, type Need, neededFor, packagesOf, type Purpose } from "./needs.ts";

/** How {@linkcode provide} is watched and stopped. */
export interface ProvideOptions {
  /** Called at the beginning of each step, with what it does. */
  onStep: (text: string) => void;
  /** Stops it; {@linkcode provide} then rejects. */
  signal: AbortSignal;
}

/**
 * Provides for a purpose.
 *
 * @returns the packages that had to be brought
 * @throws Error with the sentence that says what is still missing and who can install it
 */
export async function provide(purpose: Purpose, options: ProvideOptions): Promise<string[]> {
  const wanted = missing(neededFor(purpose));
  if (wanted.length === 0) return [];
  if (!await hasApt()) throw new Error(sentenceWithoutApt(wanted));
  const isRoot = Deno.uid() === 0;
  const reasons: string[] = [];
  const attempt = async (
    bring: typeof fetchPackages,
    some: readonly Need[],
  ): Promise<void> => {
    if (some.length === 0) return;
    try {
      await bring(packagesOf(some), options);
    } catch (error) {
      options.signal.throwIfAborted();
      reasons.push((error as Error).message);
    }
  };
  await attempt(installPackages, wanted.filter((need) => isRoot && !need.isService));
  await attempt(fetchPackages, wanted.filter((need) => !isRoot || need.isService));
  const still = missing(wanted);
  if (still.length > 0) throw new Error(sentence(still, reasons[0] ?? "the packages lack it"));
  return packagesOf(wanted);
}

/** What is missing, why it could not be brought, and who can. */
export function sentence(absent: readonly Need[], reason: string): string {
  const them = absent.length === 1 ? "it" : "them";
  const who = Deno.uid() === 0 ? "install" : "ask an administrator to install";
  return `${namesOf(absent)} missing and could not be fetched (${reason}); ${who} ${them}: ` +
    `apt-get install ${packagesOf(absent).join(" ")}`;
}

/** The same on a system that is not Debian's kin. */
export function sentenceWithoutApt(absent: readonly Need[]): string {
  const them = absent.length === 1 ? "it" : "them";
  return `${namesOf(absent)} missing, and there is no apt-get to bring ${them}: install ${them} ` +
    `with this system's own tools (Debian's packages: ${packagesOf(absent).join(" ")})`;
}

function namesOf(absent: readonly Need[]): string {
  const names = absent.map((need) => need.name).join(", ");
  return `${names} ${absent.length === 1 ? "is" : "are"}`;
}
