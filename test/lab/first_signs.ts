/**
 * What the programs say when a replay does not work from the start, between real kernels: what was set
 * up wrong, and how long after the first session's beginning each line comes.
 *
 *     deno run -A test/lab/first_signs.ts
 *
 * The last line of the output is the result as JSON.
 */

import { enter, isInside, runInside, watchParent } from "./enter.ts";
import { addresses, type HostName, Lab, REPLAY_NETWORK, run } from "./hosts.ts";
import type { LabProcess } from "./process.ts";
import { APPLICATION_PORT, type InterceptPlace, startIntercept, startTcpcopy } from "./programs.ts";
import { workloadNamed } from "./workloads.ts";

/** Milliseconds from the clients' start to each line, by mistake; lines that never came are absent. */
export type FirstSignsResult = Record<string, Record<string, number>>;

/** A mistake, and what is to be read of it. */
interface Mistake {
  name: string;
  place?: InterceptPlace;
  interceptArgs?: string[];
  tcpcopyArgs?: string[];
  /** Whether the target's route to the replayed clients is forgotten. */
  forgetsRoute?: boolean;
  signs: Record<string, ["intercept" | "tcpcopy", RegExp]>;
}

const TIMEOUT_MS = 120_000;
const WAIT_MS = 30_000;
const CONNECTIONS = 2;
const IDLE_PORT = 9;
const workers = ["--workers", "2"];

/** "from the target's service to a replayed client" */
const ANSWERS = `packets? from ${addresses.target}:${APPLICATION_PORT} to 198\\.19\\.0\\.\\d+:\\d+`;
const NONE = "\\d+ connections? announced, no answer captured";

const mistakes: readonly Mistake[] = [
  {
    name: "route and port",
    forgetsRoute: true,
    tcpcopyArgs: [
      "-x",
      [APPLICATION_PORT, IDLE_PORT].map((port) => `${port}-${addresses.target}:${port}`).join(),
    ],
    signs: {
      route: [
        "intercept",
        new RegExp(`${NONE}: the route on the target, or the target itself: no ${ANSWERS}`),
      ],
      answers: ["tcpcopy", /\d sessions? ha(s|ve) begun, and no answer has come/],
      port: ["tcpcopy", /port 9: nothing captured yet, and no service listens there/],
    },
  },
  {
    name: "filter",
    interceptArgs: ["-F", "tcp and src port 9999", ...workers],
    tcpcopyArgs: workers,
    signs: {
      filter: [
        "intercept",
        new RegExp(`${NONE}: -F "tcp and src port 9999" .* ${ANSWERS} on eth0`),
      ],
    },
  },
  {
    name: "filter, on the target",
    place: { host: "target" },
    interceptArgs: ["-F", "tcp and src port 9999"],
    signs: { filter: ["intercept", new RegExp(`${NONE}: -F .* ${ANSWERS} on eth0`)] },
  },
  {
    name: "device",
    place: { device: "lo" },
    signs: {
      device: ["intercept", new RegExp(`${NONE}: they pass eth0, which -i lo does not name`)],
    },
  },
];

async function meet(
  lab: Lab,
  mistake: Mistake,
  directory: string,
): Promise<Record<string, number>> {
  const { place, interceptArgs = [], tcpcopyArgs = [], forgetsRoute, signs } = mistake;
  const route = (verb: string) =>
    run(["ip", "-n", "target", "route", verb, REPLAY_NETWORK, "via", addresses.assistant]);
  if (forgetsRoute) await route("delete");
  const intercept = await startIntercept(lab, "ours", directory, interceptArgs, place);
  const tcpcopy = await startTcpcopy(lab, {
    maker: "ours",
    directory,
    clientAddresses: "198.19.0.x",
    extra: tcpcopyArgs,
    interceptHost: place?.host,
    waitUntilReady: true,
  });
  const workload = { ...workloadNamed("keepalive"), connections: CONNECTIONS, requests: 2 };
  const startMs = performance.now();
  const clients = lab.spawn("client", [
    ...script("client.ts"),
    ...["--address", `${addresses.online}:${APPLICATION_PORT}`, "--timeout-s", "60"],
    ...["--workload", JSON.stringify(workload), "--first-id", "0"],
  ], { name: "clients" });
  const afterMs: Record<string, number> = {};
  await Promise.all(
    Object.entries(signs).map(async ([sign, [program, pattern]]) => {
      await (program === "intercept" ? intercept : tcpcopy).waitFor(pattern, WAIT_MS);
      afterMs[sign] = Math.round(performance.now() - startMs);
    }),
  );
  await clients.ended;
  await tcpcopy.stop(5_000, "SIGTERM");
  await intercept.stop();
  if (forgetsRoute) await route("add");
  return afterMs;
}

async function startServer(lab: Lab, host: HostName, directory: string): Promise<LabProcess> {
  const server = lab.spawn(host, [
    ...script("server.ts"),
    ...["--port", `${APPLICATION_PORT}`, "--report", `${directory}/${host}`],
  ], { name: `server on ${host}` });
  await server.waitFor(/^ready$/m, WAIT_MS);
  return server;
}

/** Makes all the mistakes, one after the other, in a sandbox. */
export async function runFirstSigns(): Promise<FirstSignsResult> {
  const child = await enter(new URL(import.meta.url).pathname, [], "piped");
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.status;
  clearTimeout(timer);
  await child.stdin.close().catch(() => {}); // closed already when it was killed
  const line = text.trim().split("\n").pop() ?? "";
  if (!line.startsWith("{")) throw new Error(errors.trim() || `no result: ${text}`);
  return JSON.parse(line) as FirstSignsResult;
}

function script(name: string): string[] {
  return [Deno.execPath(), "run", "-A", new URL(name, import.meta.url).pathname];
}

async function main(): Promise<number> {
  if (!isInside()) return await runInside(new URL(import.meta.url).pathname, Deno.args);
  const directory = await Deno.makeTempDir({ dir: "/run" });
  const lab = await Lab.create();
  watchParent(async () => await lab.close());
  try {
    for (const host of ["online", "target"] as const) await startServer(lab, host, directory);
    const result: FirstSignsResult = {};
    for (const mistake of mistakes) result[mistake.name] = await meet(lab, mistake, directory);
    console.log(JSON.stringify(result));
    return 0;
  } finally {
    await lab.close();
  }
}

if (import.meta.main) {
  try {
    Deno.exit(await main());
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(2);
  }
}
