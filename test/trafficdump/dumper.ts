/** A trafficdump on the lab's online server, and its endpoint. */

import type { Lab } from "../lab/hosts.ts";
import type { LabProcess } from "../lab/process.ts";

const program = new URL("../../src/trafficdump/main.ts", import.meta.url).pathname;
const READY_TIMEOUT_MS = 20_000;

/** A strategy as it stands in a file, with an interval that needs `--min-interval`. */
export interface StrategyJson {
  switch: string;
  interval: number;
  duration: number;
  cpu_max_rate: number;
  mem_max_rate: number;
}

/** What the endpoint answers, all of it in one; which of it is there depends on the question. */
export interface Answer {
  window: string | null;
  fuse: string | null;
  trouble: string | null;
  error: string;
  app: StrategyJson;
  taken: Record<string, number>;
  written: Record<string, number>;
}

export const QUICK: StrategyJson = {
  switch: "ON",
  interval: 2,
  duration: 1,
  cpu_max_rate: 80,
  mem_max_rate: 80,
};

/** Its first window is open for long enough to be made longer, on a busy machine too. */
export const PATIENT: StrategyJson = { ...QUICK, interval: 6, duration: 5 };

/** Layotto's example configuration, with another strategy. */
export function layottoConfiguration(strategy: StrategyJson, port: number): string {
  const filters = [
    { type: "tcpcopy", config: { strategy } },
    {
      type: "grpc",
      config: {
        server_name: "runtime",
        grpc_config: { hellos: { helloworld: { type: "helloworld", hello: "greeting" } } },
      },
    },
  ];
  const listener = {
    name: "grpc",
    address: `0.0.0.0:${port}`,
    bind_port: true,
    filter_chains: [{ filters }],
  };
  return JSON.stringify({
    servers: [{
      default_log_path: "stdout",
      default_log_level: "DEBUG",
      listeners: [listener],
    }],
    dynamic_resources: { ads_config: { api_type: "GRPC" } },
  });
}

export class Dumper {
  readonly process: LabProcess;
  readonly logDirectory: string;
  readonly dumpDirectory: string;

  private constructor(lab: Lab, logDirectory: string, args: readonly string[]) {
    this.logDirectory = logDirectory;
    this.dumpDirectory = `${logDirectory}/dump`;
    this.process = lab.spawn("online", [
      ...[Deno.execPath(), "run", "-A", program],
      ...["--log-dir", logDirectory, "--min-interval", "1"],
      ...args,
    ], { name: "trafficdump" });
  }

  static async start(lab: Lab, logDirectory: string, args: readonly string[]): Promise<Dumper> {
    const dumper = new Dumper(lab, logDirectory, args);
    await dumper.process.waitFor(/\bready\b/, READY_TIMEOUT_MS);
    return dumper;
  }

  /** Asks the endpoint; returns status and body. */
  async ask(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Answer }> {
    const client = Deno.createHttpClient({
      proxy: { transport: "unix", path: `${this.logDirectory}/trafficdump.sock` },
    });
    try {
      const response = await fetch(`http://localhost${path}`, {
        client,
        method,
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      return { status: response.status, body: await response.json() as Answer };
    } finally {
      client.close();
    }
  }

  /** Ends it. Returns what was wrong with the end. */
  async stop(): Promise<string[]> {
    const { code } = await this.process.stop(20_000);
    return code === 0 ? [] : [`trafficdump ended with code ${code}: ${this.process.lastLines(3)}`];
  }
}
