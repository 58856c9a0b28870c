/** Makes the executables of one target. */

import { bundle, ROOT } from "./bundle.ts";
import { run } from "./command.ts";
import { writeChecksums } from "./digest.ts";
import { writePacked } from "./packed.ts";
import { type Program, PROGRAMS } from "./programs.ts";
import { revisionOf } from "./revision.ts";
import { type Runtime, runtimeFor } from "./runtime.ts";
import { compileStandalone } from "./standalone.ts";
import type { Target } from "./targets.ts";

/** How an executable is made: by `deno compile`, or as a self-extracting file. */
export type Kind = "compiled" | "packed";

/** What is wanted. */
export interface BuildOptions {
  target: Target;
  /** Where the executables go; is made. */
  directory: string;
  /** Only this kind; without it compiled where that works. */
  kind: Kind | undefined;
  /** Is told one line at a time. */
  say: (line: string) => void;
}

/**
 * Makes all executables and their checksums.
 *
 * @throws Error when one cannot be made
 */
export async function build(options: BuildOptions): Promise<void> {
  await Deno.mkdir(options.directory, { recursive: true });
  const work = await Deno.makeTempDir({ dir: options.directory, prefix: ".build-" });
  try {
    await buildAll(options, work);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

async function buildAll(options: BuildOptions, work: string): Promise<void> {
  const { target, directory, say } = options;
  const revision = await revisionOf(ROOT);
  const programs = PROGRAMS.filter(({ main }) => exists(new URL(main, ROOT)));
  /** Why `deno compile` is not tried, or no more. */
  let obstacle = options.kind === "packed" ? "it was asked for" : undefined;
  let runtime: Runtime | undefined;
  for (const program of programs) {
    const bundlePath = `${work}/${program.name}.js`;
    const output = `${work}/${program.name}`;
    const text = await bundle(program, bundlePath, revision);
    if (obstacle === undefined) {
      obstacle = await compileStandalone(program, target, bundlePath, output) ??
        await faultOf(program, target, output, work);
      if (obstacle !== undefined && options.kind === "compiled") {
        throw new Error(`${program.name} cannot be compiled: ${obstacle}`);
      }
    }
    let kind = `compiled by deno ${Deno.version.deno}`;
    if (obstacle !== undefined) {
      runtime ??= await runtimeFor(target, work);
      await writePacked(program, target, text, runtime, output);
      const fault = await faultOf(program, target, output, work);
      if (fault !== undefined) throw new Error(`${program.name} does not work: ${fault}`);
      kind = `self-extracting, with deno ${runtime.version}`;
    }
    const path = `${directory}/${program.name}`;
    await Deno.rename(output, path);
    const megabytes = ((await Deno.stat(path)).size / 1e6).toFixed(1);
    say(`${path}  ${megabytes} MB, ${target.triple}, ${revision}: ${kind}`);
  }
  if (obstacle !== undefined) say(`self-extracting, not by deno compile: ${obstacle}`);
  if (runtime !== undefined && runtime.version !== Deno.version.deno) {
    say(
      `npm has no runtime ${Deno.version.deno} for ${target.triple} yet: ${runtime.version} taken`,
    );
  }
  await writeChecksums(directory, programs.map(({ name }) => name));
  say(`${directory}/SHA256SUMS`);
}

/** Starts an executable, where it can run here, and says what is wrong with it. */
async function faultOf(
  program: Program,
  target: Target,
  path: string,
  work: string,
): Promise<string | undefined> {
  if (target.triple !== Deno.build.target) return undefined;
  // Unpacked where it is gone with the build; a directory all users can write is not good enough.
  const cache = await Deno.makeTempDir({ dir: work });
  try {
    const ended = await run([path, "--version"], { env: { XDG_CACHE_HOME: cache } });
    if (ended.code === 0 && ended.output.startsWith(`${program.name} `)) return undefined;
    const [words] = (ended.complaint || ended.output).split("\n");
    return `--version ended with code ${ended.code}: ${words}`;
  } catch (error) {
    return `it does not start: ${(error as Error).message}`;
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

function exists(file: URL): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
