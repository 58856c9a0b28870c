/**
 * A database on both servers, with another password on the target: every replayed login is refused.
 * Counts the connections a replay opens there for each one it captured.
 */

import { isUserNamespace } from "./enter.ts";
import { addresses, fileExists, type HostName, type Lab, requirePrograms, run } from "./hosts.ts";
import type { LabProcess } from "./process.ts";
import { APPLICATION_PORT, pause } from "./programs.ts";
import type { CaseResult } from "./run.ts";
import { type ProgramsPlan, RunningReplay } from "./running_replay.ts";

/** What the clients do. */
export interface LoginLoad {
  database: "mariadb" | "postgresql";
  /** Clients at the same time, each of which logs in once. */
  sessions: number;
  /** How long each of them stays, a query every `QUERY_PERIOD_MS`. */
  seconds: number;
}

const QUERY_PERIOD_MS = 50;
const START_TIMEOUT_MS = 30_000;
/** After the clients have ended, connections are counted for so long still. */
const AFTER_MS = 2_000;
const passwords = { online: "right", target: "wrong" } as const;

/** A kind of database: how its server and its clients are started. */
interface Database {
  programs: readonly string[];
  /** Makes the files of a server. */
  prepare(directory: string, password: string): Promise<void>;
  server(directory: string): string[];
  ready: RegExp;
  /** A client that sends what comes on its standard input. */
  client(password: string): { argv: string[]; env: Record<string, string> };
}

const mariadb: Database = {
  programs: ["mariadbd", "mariadb-install-db", "mariadb", "chown"],
  async prepare(directory, password) {
    const user = `CREATE USER 'app'@'%' IDENTIFIED BY '${password}';\n`;
    await Deno.writeTextFile(`${directory}/init.sql`, user);
    await Deno.mkdir(`${directory}/data`);
    await run(["chown", "-R", "mysql:mysql", directory]);
    await run([
      ...["mariadb-install-db", "--no-defaults", "--user=mysql", `--datadir=${directory}/data`],
      ...["--skip-test-db", "--auth-root-authentication-method=normal"],
    ]);
  },
  server: (directory) => [
    ...["mariadbd", "--no-defaults", "--user=mysql", `--datadir=${directory}/data`],
    ...[`--socket=${directory}/socket`, `--pid-file=${directory}/pid`],
    ...[`--init-file=${directory}/init.sql`, `--port=${APPLICATION_PORT}`],
    ...["--bind-address=0.0.0.0", "--skip-name-resolve", "--innodb-buffer-pool-size=16M"],
  ],
  ready: /ready for connections/,
  client: (password) => ({
    argv: [
      ...["mariadb", "--no-defaults", "-h", addresses.online, "-P", `${APPLICATION_PORT}`],
      ...["-u", "app", `-p${password}`, "--batch", "--unbuffered", "--skip-column-names"],
    ],
    env: {},
  }),
};

const asPostgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];

const postgresql: Database = {
  programs: ["psql", "setpriv", "chown"],
  async prepare(directory, password) {
    await Deno.writeTextFile(`${directory}/password`, password + "\n");
    await run(["chown", "-R", "postgres:postgres", directory]);
    await run([
      ...[...asPostgres, `${postgresDirectory()}/initdb`, "--pgdata", `${directory}/data`],
      ...["--username=app", "--auth=scram-sha-256", `--pwfile=${directory}/password`, "--no-sync"],
    ]);
    const rule = "host all all 0.0.0.0/0 scram-sha-256\n";
    await Deno.writeTextFile(`${directory}/data/pg_hba.conf`, rule, { append: true });
  },
  server: (directory) => [
    ...[...asPostgres, `${postgresDirectory()}/postgres`, "-D", `${directory}/data`],
    ...["-p", `${APPLICATION_PORT}`, "-c", "listen_addresses=*", "-c", "fsync=off"],
    ...["-c", `unix_socket_directories=${directory}`],
  ],
  ready: /ready to accept connections/,
  client: (password) => ({
    argv: [
      ...["psql", "--no-psqlrc", "--quiet", "--tuples-only"],
      `host=${addresses.online} port=${APPLICATION_PORT} user=app dbname=postgres sslmode=disable`,
    ],
    env: { PGPASSWORD: password },
  }),
};

/** Where Debian has the server's programs, by version. */
function postgresDirectory(): string {
  const root = "/usr/lib/postgresql";
  if (!fileExists(root)) throw new Error("the lab needs postgres: apt-get install postgresql");
  const versions = [...Deno.readDirSync(root)].map(({ name }) => Number(name)).filter(isFinite);
  return `${root}/${Math.max(...versions)}/bin`;
}

async function startServer(
  lab: Lab,
  database: Database,
  host: "online" | "target",
  parent: string,
): Promise<LabProcess> {
  const directory = `${parent}/database-${host}`;
  await Deno.mkdir(directory);
  await database.prepare(directory, passwords[host]);
  const process = lab.spawn(host, database.server(directory), {
    name: `database on ${host}`,
    cwd: directory,
  });
  await process.waitFor(database.ready, START_TIMEOUT_MS);
  return process;
}

/** Connections its host has accepted so far: the counters of its namespace, proc_net_snmp. */
function connectionsAccepted(process: LabProcess): number {
  const text = Deno.readTextFileSync(`/proc/${process.pid}/net/snmp`);
  const [names, values] = text.split("\n").filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("PassiveOpens")]);
}

/** Starts one client, with a query after the other on its input. */
function startClient(lab: Lab, host: HostName, database: Database, load: LoginLoad): LabProcess {
  const { argv, env } = database.client(passwords.online);
  const count = Math.round(load.seconds * 1000 / QUERY_PERIOD_MS);
  const feed = `for i in $(seq ${count}); do echo "select $i;"; sleep ${QUERY_PERIOD_MS / 1000}; ` +
    `done | "$@"`;
  return lab.spawn(host, ["sh", "-c", feed, "sh", ...argv], { name: "database client", env });
}

/**
 * Lets clients log in online while they are replayed to a target that refuses them.
 *
 * @returns `connections` is the captured sessions, `share` those whose queries were all answered
 * online; the figures are the connections that were opened at the target for each of them, by the
 * end of the load and in all
 */
export async function runLogins(
  lab: Lab,
  plan: ProgramsPlan,
  load: LoginLoad,
  directory: string,
): Promise<Omit<CaseResult, "name" | "lostPackets">> {
  const database = load.database === "mariadb" ? mariadb : postgresql;
  requirePrograms(database.programs);
  if (isUserNamespace()) throw new Error("databases insist on users of their own: run as root");
  await Deno.chmod(directory, 0o755); // the databases run as users of their own
  await startServer(lab, database, "online", directory);
  const target = await startServer(lab, database, "target", directory);
  const replay = await RunningReplay.start(lab, plan, directory);
  const before = connectionsAccepted(target);
  const startMs = performance.now();
  const clients = Array.from(
    { length: load.sessions },
    () => startClient(lab, "client", database, load),
  );
  const problems: string[] = [];
  let served = 0;
  const queries = Math.round(load.seconds * 1000 / QUERY_PERIOD_MS);
  // Counted when the time is up, whatever the clients do.
  await pause(load.seconds * 1000);
  const opened = connectionsAccepted(target) - before;
  for (const client of clients) {
    const { code } = await client.ended;
    const isServed = code === 0 && new RegExp(`^\\s*${queries}$`, "m").test(client.output);
    if (isServed) served++;
    else problems.push(`${client.name} ended with code ${code}: ${client.lastLines(3)}`);
  }
  const seconds = (performance.now() - startMs) / 1000;
  await pause(AFTER_MS);
  const openedInAll = connectionsAccepted(target) - before;
  const end = await replay.stop();
  if (opened === 0) problems.push("no connection was opened at the target");
  return {
    connections: load.sessions,
    share: served / load.sessions,
    early: 0,
    seconds,
    tcpcopyCpuSeconds: end.cpuSeconds.tcpcopy,
    interceptCpuSeconds: end.cpuSeconds.intercept,
    problems: [...problems, ...end.problems],
    figures: {
      openedPerSession: opened / load.sessions,
      openedPerSessionInAll: openedInAll / load.sessions,
    },
    ledger: end.ledger,
  };
}
