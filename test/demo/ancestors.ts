/**
 * Notices when whoever started this program was killed without a chance to pass that on. Reads
 * /proc.
 *
 * `npx deno task` is a chain: npm, a shell, deno, this program. A process whose parent is gone gets
 * another one, so the chain is whole as long as every link's parent is the next link.
 */

/** From this process to the outermost that belongs to the command, at most. */
const MAX_LINKS = 4;
const LOOK_EVERY_MS = 300;

/** Calls back, once, when a link of the chain is gone. */
export function onParentGone(callback: () => void): void {
  const chain = commandChain();
  const timer = setInterval(() => {
    const isWhole = chain.every((pid, index) => index === 0 || parentOf(chain[index - 1]) === pid);
    if (isWhole) return;
    clearInterval(timer);
    callback();
  }, LOOK_EVERY_MS);
  Deno.unrefTimer(timer);
}

/** This process, its parent and, if npm is behind them, everything up to npm. */
function commandChain(): number[] {
  const chain = [Deno.pid];
  for (let links = 0; links < MAX_LINKS; links++) {
    const parent = parentOf(chain[chain.length - 1]);
    if (parent === undefined || parent <= 1) break;
    chain.push(parent);
    if (nameOf(parent).startsWith("npm")) return chain;
  }
  return chain.slice(0, 2);
}

function parentOf(pid: number): number | undefined {
  const stat = read(pid, "stat");
  if (stat === undefined) return undefined;
  // The second field is the name in parentheses, which may hold anything: proc_pid_stat(5).
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

function nameOf(pid: number): string {
  return read(pid, "comm") ?? "";
}

function read(pid: number, file: string): string | undefined {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch (error) {
    const isGone = error instanceof Deno.errors.NotFound ||
      (error as { code?: string }).code === "ESRCH";
    if (isGone) return undefined;
    throw error;
  }
}
