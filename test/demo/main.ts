/**
 * The demo: a real replay between four namespaced hosts on this machine, live and from a recording.
 *
 *     npx -y deno@2.9.6 task demo
 *
 * Brings what it needs, enters a sandbox and lets `inside.ts` do the rest. The exit code is 0 only
 * if everything arrived byte-exact; 130 after an interrupt. Nothing is left behind either way.
 */

import { onSignals } from "../../src/loop/signals.ts";
import { environment } from "../setup/environment.ts";
import { provide } from "../setup/setup.ts";
import { onParentGone } from "./ancestors.ts";
import { ExitCode } from "./exit_code.ts";
import { picture } from "./picture.ts";
import { Screen } from "./screen.ts";

const screen = new Screen();
const startedMs = Date.now();

/** Brings what is missing; returns what to say about it. */
async function setUp(): Promise<string> {
  const phase = screen.phase("setup", startedMs);
  phase.update("looking what is missing");
  const stop = new AbortController();
  const unsubscribe = onSignals(["SIGINT", "SIGTERM"], () => stop.abort());
  try {
    const brought = await provide("demo", {
      onStep: (text) => phase.step(text),
      signal: stop.signal,
    });
    phase.update("preparing the sandbox");
    return brought.length === 0 ? "nothing was missing" : `brought ${brought.join(", ")}`;
  } finally {
    unsubscribe();
  }
}

async function main(): Promise<number> {
  screen.paragraph(
    "Four hosts, each a network namespace; nothing else on this machine is touched:",
  );
  screen.print();
  screen.print(picture(screen.width));
  screen.print();
  const setupText = await setUp();
  for (const [name, value] of Object.entries(environment())) Deno.env.set(name, value);
  // Loaded only now: it looks for programs in the PATH it finds.
  const { runInside } = await import("../lab/enter.ts");
  const inside = new URL("inside.ts", import.meta.url).pathname;
  const code = await runInside(inside, [String(startedMs), setupText]);
  if (code === ExitCode.BadAndTold) return ExitCode.Bad;
  if (code === ExitCode.Good || code === ExitCode.Interrupted) return code;
  throw new Error("the sandbox was ended from outside; is there enough memory (1 GB)?");
}

if (import.meta.main) {
  // As if it had been passed on: whoever listens for an interrupt ends in an orderly way.
  onParentGone(() => Deno.kill(Deno.pid, "SIGTERM"));
  let code: number;
  try {
    code = await main();
  } catch (error) {
    const isInterrupt = error instanceof DOMException && error.name === "AbortError";
    code = isInterrupt ? ExitCode.Interrupted : ExitCode.Bad;
    if (!isInterrupt) {
      screen.endLine();
      screen.paragraph(`The demo could not run: ${(error as Error).message}`, "", "red");
    }
  }
  if (code === ExitCode.Interrupted) {
    screen.print("Interrupted; everything it had made is gone again.");
  }
  Deno.exit(code);
}
