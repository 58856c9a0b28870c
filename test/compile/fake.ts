/**
 * A self-extracting executable whose runtime is a shell script that says how it was started: all
 * that the stub does can be seen with it, quickly and without a build.
 */

import { digest } from "../../compile/digest.ts";
import { writePacked } from "../../compile/packed.ts";
import { gzip } from "../../compile/runtime.ts";
import { findTarget } from "../../compile/targets.ts";

/** Prints its caches' place and the program's arguments, one in a line; does as the first says. */
const RUNTIME = `#!/bin/sh
[ "$1" = --version ] && exit 0
while [ "\${1%.js}" = "$1" ]; do shift; done
cat "$1"
shift
echo "cache $DENO_DIR"
echo "umask $(umask)"
for argument in "$@"; do echo "argument <$argument>"; done
case $1 in
  exit) exit "$2" ;;
  wait) trap 'exit 7' TERM; echo waiting; while :; do sleep 0.05; done ;;
esac
`;

/** Makes the executable `path`; `text` is its program, `runtime` what runs it. */
export async function writeFake(path: string, text = "the program\n", runtime = RUNTIME) {
  const bytes = new TextEncoder().encode(runtime);
  await writePacked(
    { name: "tcpcopy", main: "", permissions: ["ffi"] },
    findTarget(),
    text,
    {
      version: "0.0.0",
      sizeBytes: bytes.length,
      sha256: await digest(bytes),
      packed: await gzip(bytes),
    },
    path,
  );
}

/** How a start ended. */
export interface Started {
  code: number;
  output: string;
  errors: string;
}

/** Starts an executable with nothing in its environment but the system's own programs and `env`. */
export async function start(
  argv: readonly string[],
  env: Record<string, string>,
  cwd?: string,
): Promise<Started> {
  const { code, stdout, stderr } = await new Deno.Command(argv[0], {
    args: argv.slice(1),
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", TMPDIR: "/nonexistent", ...env },
    cwd,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

/** A directory for one test, gone after it. */
export async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
