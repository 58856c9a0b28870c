/** What a program has to do with the terminal it was started from. Reads /proc/self. */

/** In the bit mask of proc_pid_status(5). */
const SIGHUP_BIT = 1n;

/**
 * Whether SIGHUP means that the terminal is gone, and the program with it: it has a terminal, and was
 * not told to stay (nohup(1)). A daemon or a service has none: there somebody asks for something. To be
 * asked before SIGHUP is listened to.
 */
export function endsWithTerminal(): boolean {
  return hasTerminal() && !isHangupIgnored();
}

/** proc_pid_stat(5): number 7, tty_nr; the name, number 2, may have spaces in it. */
function hasTerminal(): boolean {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  const [, , , , terminal] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return terminal !== "0";
}

function isHangupIgnored(): boolean {
  const status = Deno.readTextFileSync("/proc/self/status");
  const [, ignored] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return (BigInt(`0x${ignored ?? "0"}`) & SIGHUP_BIT) !== 0n;
}
