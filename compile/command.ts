/** Runs a command of the build, within a bound. */

/** What is left of a command that has ended. */
export interface Ended {
  code: number;
  output: string;
  /** What it wrote on standard error, one line. */
  complaint: string;
}

/**
 * Runs a command to its end.
 *
 * @param timeoutMs after this it is killed; then the code is not 0 and the complaint says so
 * @throws Error when there is no such command
 */
export async function run(
  argv: readonly string[],
  options: { cwd?: string | URL; env?: Record<string, string>; timeoutMs?: number } = {},
): Promise<Ended> {
  const timeoutMs = options.timeoutMs ?? 120_000;
  const late = AbortSignal.timeout(timeoutMs);
  const { code, stdout, stderr } = await new Deno.Command(argv[0], {
    args: argv.slice(1),
    cwd: options.cwd,
    env: { ...options.env, NO_COLOR: "1" },
    signal: late,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  const complaint = late.aborted
    ? `not done after ${timeoutMs / 1000} s`
    : decoder.decode(stderr).trim().replaceAll(/\s*\n\s*/g, " ");
  return { code: late.aborted ? code || 1 : code, output: decoder.decode(stdout), complaint };
}
