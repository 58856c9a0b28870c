/**
 * Running in the background. The runtime has threads, so a process cannot fork and go on: it starts
 * itself once more, in a session of its own (setsid(2)) and without a terminal, and waits for the
 * word that it is ready. Until then the copy's log and errors appear where the command was given.
 */

import { replaceStandardStreams } from "../../ffi/standard_streams.ts";

/** Tells the copy what it is. */
const MARK = "TCPCOPY_DAEMON";
/** The word, as a line of its own. */
const READY = "\u0006ready";

/** Whether this process is the copy in the background. */
export function isDaemon(): boolean {
  return Deno.env.get(MARK) === "1";
}

/**
 * Starts this program once more, in the background.
 *
 * @returns the exit code for this process: 0 when the copy is ready, else the copy's own
 */
export async function launchDaemon(): Promise<number> {
  // The very command line, with the options of the runtime: proc_pid_cmdline(5).
  const [, ...args] = Deno.readTextFileSync("/proc/self/cmdline").split("\0").slice(0, -1);
  const child = new Deno.Command(Deno.execPath(), {
    args,
    env: { [MARK]: "1" },
    detached: true,
    // What is piped in is for the copy; a terminal belongs to whoever types there.
    stdin: Deno.stdin.isTerminal() ? "null" : "inherit",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let waiting = "";
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    const lines = (waiting + text).split("\n");
    waiting = lines.pop() ?? "";
    for (const line of lines) {
      if (line === READY) {
        child.unref();
        return 0;
      }
      console.error(line);
    }
  }
  if (waiting !== "") console.error(waiting);
  const { code } = await child.status;
  return code;
}

/**
 * To be called when the program is ready. In the background it lets the starting command return, and
 * lets go of its streams: what is written there from now on goes nowhere.
 *
 * @param options.readsInput whether standard input is still read, and stays
 */
export function announceReady(options: { readsInput?: boolean } = {}): void {
  if (!isDaemon()) return;
  Deno.env.delete(MARK);
  const line = new TextEncoder().encode(`${READY}\n`);
  for (let at = 0; at < line.length;) at += Deno.stderr.writeSync(line.subarray(at));
  replaceStandardStreams({ keepsInput: options.readsInput === true });
}
