/**
 * How the demo talks to the programs it has started on the hosts: a command on standard input, a
 * line of JSON on standard output.
 */

import type { LabProcess } from "../lab/process.ts";

const ANSWER_TIMEOUT_MS = 10_000;

/** The program's side: answers until standard input ends. */
export async function serveCommands(
  commands: Record<string, (argument: string) => unknown>,
): Promise<void> {
  let text = "";
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split("\n");
    text = lines.pop() as string;
    for (const line of lines) {
      const [name, argument] = line.split(/ (.*)/s);
      const answer = await commands[name](argument ?? "");
      console.log(JSON.stringify({ answerTo: name, answer }));
    }
  }
}

/**
 * The demo's side; one question at a time per program.
 *
 * @throws Error when the program has ended, or does not answer
 */
export async function ask<T>(process: LabProcess, command: string): Promise<T> {
  const from = process.output.length;
  await process.writeLine(command);
  const match = await process.waitFor(/^(\{"answerTo".*\})\n/m, ANSWER_TIMEOUT_MS, from);
  return (JSON.parse(match[1]) as { answer: T }).answer;
}
