/**
 * tcpcopy and intercept at work beside servers that are not the lab's own: started, watched, ended.
 */

import type { Lab } from "./hosts.ts";
import { type LedgerText, readLedger } from "./ledger_text.ts";
import type { LabProcess } from "./process.ts";
import { startIntercept, startTcpcopy } from "./programs.ts";
import type { ReplayPlan } from "./replay.ts";

/** What of a plan matters here. */
export type ProgramsPlan = Pick<
  ReplayPlan,
  "tcpcopy" | "intercept" | "tcpcopyArgs" | "interceptArgs" | "clientAddresses"
>;

/** How it ended. */
export interface ReplayEnd {
  cpuSeconds: { tcpcopy: number; intercept: number };
  /** Programs that ended by themselves. */
  problems: string[];
  ledger?: LedgerText;
}

/** Both programs, ready. */
export class RunningReplay {
  readonly tcpcopy: LabProcess;
  readonly intercept: LabProcess;
  /** What a program costs before the first packet comes is no cost of the load. */
  readonly #cpuBefore: readonly [number, number];

  private constructor(tcpcopy: LabProcess, intercept: LabProcess) {
    this.tcpcopy = tcpcopy;
    this.intercept = intercept;
    this.#cpuBefore = [tcpcopy.cpuSeconds(), intercept.cpuSeconds()];
  }

  /** Starts both and waits until they are ready. */
  static async start(lab: Lab, plan: ProgramsPlan, directory: string): Promise<RunningReplay> {
    const intercept = await startIntercept(
      lab,
      plan.intercept ?? "ours",
      directory,
      plan.interceptArgs ?? [],
    );
    const tcpcopy = await startTcpcopy(lab, {
      maker: plan.tcpcopy ?? "ours",
      directory,
      clientAddresses: plan.clientAddresses ?? "198.19.0.x",
      extra: plan.tcpcopyArgs ?? [],
      waitUntilReady: true,
    });
    return new RunningReplay(tcpcopy, intercept);
  }

  /** Ends both. */
  async stop(): Promise<ReplayEnd> {
    const problems: string[] = [];
    const cpuSeconds = {
      tcpcopy: this.tcpcopy.cpuSeconds() - this.#cpuBefore[0],
      intercept: this.intercept.cpuSeconds() - this.#cpuBefore[1],
    };
    for (const process of [this.tcpcopy, this.intercept]) {
      if (process.status !== undefined) {
        problems.push(`${process.name} ended: ${process.lastLines(3)}`);
      }
      await process.stop();
    }
    return { cpuSeconds, problems, ledger: readLedger(this.tcpcopy.output) };
  }
}
