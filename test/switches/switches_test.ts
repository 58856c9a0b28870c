/**
 * Every switch of the original is used, and its effect looked at: one sandbox runs them all, one after
 * the other. By hand: `deno run -A test/switches/inside.ts "tcpcopy -r"`.
 */

import assert from "node:assert/strict";
import { enter } from "../lab/enter.ts";
import { requirePrograms } from "../lab/hosts.ts";
import { type SwitchResult, switchTests } from "./inside.ts";

const TIMEOUT_MS = 600_000;

/** Starts the sandbox with the first test that asks; each result is handed to its own test. */
class Run {
  readonly #results = new Map<string, PromiseWithResolvers<SwitchResult>>();
  #isStarted = false;

  constructor(names: Iterable<string>) {
    for (const name of names) this.#results.set(name, Promise.withResolvers());
  }

  async resultOf(name: string): Promise<SwitchResult> {
    if (!this.#isStarted) {
      this.#isStarted = true;
      requirePrograms(["ip", "nsenter", "unshare", "ethtool", "nft"]);
      this.#run().catch((error) => this.#fail(error));
    }
    return await this.#results.get(name)!.promise;
  }

  async #run(): Promise<void> {
    const child = await enter(new URL("inside.ts", import.meta.url).pathname, [], "piped");
    const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
    const errors = new Response(child.stderr).text();
    let waiting = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (waiting + text).split("\n");
      waiting = lines.pop() ?? "";
      for (const line of lines) {
        const result = JSON.parse(line) as SwitchResult;
        this.#results.get(result.name)?.resolve(result);
      }
    }
    await child.status;
    clearTimeout(timer);
    await child.stdin.close().catch(() => {}); // its reader has ended
    this.#fail(new Error(`no result: ${(await errors).trim().slice(-2000)}`));
  }

  /** For those that have no result yet. */
  #fail(error: Error): void {
    for (const { promise, reject } of this.#results.values()) {
      promise.catch(() => {}); // whoever asks sees it
      reject(error);
    }
  }
}

const run = new Run(switchTests.keys());

for (const name of switchTests.keys()) {
  Deno.test({
    name: `switches: ${name}`,
    // The sandbox is shared by all of them.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const { error } = await run.resultOf(name);
      assert.equal(error, undefined, error);
    },
  });
}
