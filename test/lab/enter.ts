/**
 * Runs a script inside a sandbox: namespaces of its own for network, mounts and processes, as root
 * or (with a user namespace) as an ordinary user. Whatever is started or made inside vanishes with
 * it, however it ends.
 *
 *     deno run -A test/lab/enter.ts SCRIPT [ARGUMENT]…
 */

import { fileExists, requirePrograms } from "./hosts.ts";

/** Set inside the sandbox. */
const MARK = "TCPCOPY_LAB_SANDBOX";

/** Whether this process is inside the sandbox. */
export function isInside(): boolean {
  return Deno.env.get(MARK) === "1";
}

/** Whether this process lives in a user namespace other than the machine's: user_namespaces(7). */
export function isUserNamespace(): boolean {
  const [inside, outside, count] = Deno.readTextFileSync("/proc/self/uid_map").trim().split(/\s+/);
  return inside !== "0" || outside !== "0" || count !== "4294967295";
}

/** Why no sandbox could be made, and what helps. */
const advice = [
  "ordinary users need user namespaces: see the sysctls user.max_user_namespaces,",
  "kernel.unprivileged_userns_clone (Debian) and kernel.apparmor_restrict_unprivileged_userns",
  "(Ubuntu); in a container, run it with --privileged; or run as root",
].join(" ");

/** Flags of unshare(1): network, mounts, processes; the child is killed when unshare is. */
const plainFlags = ["-nmpf", "--kill-child", "--mount-proc"];
/** The same in a user namespace in which the caller is root. */
const userFlags = ["-Urnmpf", "--kill-child", "--mount-proc"];

let flagsFound: string[] | undefined;

/**
 * Finds out how a sandbox can be made here.
 *
 * @throws Error that says what to install or enable
 */
export async function sandboxFlags(): Promise<string[]> {
  if (flagsFound !== undefined) return flagsFound;
  requirePrograms(["unshare", "ip", "nsenter"]);
  let message = "";
  const isRoot = Deno.uid() === 0 && Deno.env.get("TCPCOPY_LAB_USERNS") !== "1";
  for (const flags of isRoot ? [plainFlags, userFlags] : [userFlags]) {
    const probe = await new Deno.Command("unshare", {
      args: [...flags, "sh", "-c", "mount -t tmpfs lab /run"],
      stdin: "null",
    }).output();
    if (probe.success) return flagsFound = flags;
    message = new TextDecoder().decode(probe.stderr).trim();
  }
  throw new Error(`no namespaces for the lab (${message}): ${advice}`);
}

/** Programs a lab may start; inside there is no network, so what they import is fetched before. */
const programs = ["src/tcpcopy/main.ts", "src/intercept/main.ts", "src/trafficdump/main.ts"];

/** Scripts whose imports are known to be there. */
const fetched = new Set<string>();

async function fetchImports(script: string): Promise<void> {
  if (fetched.has(script)) return;
  const root = new URL("../../", import.meta.url).pathname;
  const paths = programs.map((path) => root + path).filter(fileExists);
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["cache", script, ...paths],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!output.success) throw new Error(new TextDecoder().decode(output.stderr).trim());
  fetched.add(script);
}

/**
 * Starts a script inside a new sandbox.
 *
 * The sandbox is killed when the returned process's standard input ends, thus also when the caller
 * is killed.
 *
 * @param script path or URL of a Deno script; it should call {@linkcode watchParent}
 * @param output what becomes of standard output and error
 */
export async function enter(
  script: string,
  args: readonly string[],
  output: "inherit" | "piped",
): Promise<Deno.ChildProcess> {
  const flags = await sandboxFlags();
  await fetchImports(script);
  // A tmpfs on /run gives `ip netns` its place, whoever we are.
  const inside = 'mount -t tmpfs lab /run && exec "$0" run -A "$@"';
  return new Deno.Command("unshare", {
    args: [...flags, "sh", "-c", inside, Deno.execPath(), script, ...args],
    env: { [MARK]: "1" },
    stdin: "piped",
    stdout: output,
    stderr: output,
  }).spawn();
}

/** Runs a script inside to its end, with our output; interrupts end it. Returns its exit code. */
export async function runInside(script: string, args: readonly string[]): Promise<number> {
  const child = await enter(script, args, "inherit");
  let interrupted = false;
  const stop = () => {
    // A second one does not wait for the tidy end.
    if (interrupted) return child.kill("SIGKILL");
    interrupted = true;
    child.stdin.close();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
  const status = await child.status;
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, stop);
  return interrupted ? 130 : status.code;
}

/**
 * Inside: calls `onGone` when whoever started the sandbox is gone or asks for the end, and ends
 * this process after it.
 */
export function watchParent(onGone: () => Promise<void>): void {
  let isEnding = false;
  const end = async () => {
    if (isEnding) return;
    isEnding = true;
    try {
      await onGone();
    } finally {
      Deno.exit(130);
    }
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, end);
  (async () => {
    const buffer = new Uint8Array(64);
    while (await Deno.stdin.read(buffer) !== null);
    await end();
  })();
}

if (import.meta.main) {
  if (Deno.args.length === 0) {
    console.error("usage: deno run -A test/lab/enter.ts SCRIPT [ARGUMENT]…");
    Deno.exit(2);
  }
  try {
    Deno.exit(await runInside(Deno.args[0], Deno.args.slice(1)));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
