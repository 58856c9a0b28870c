/** The switches of tcpcopy, each used in a replay. */

import assert from "node:assert/strict";
import { addresses } from "../lab/hosts.ts";
import { APPLICATION_PORT, pause } from "../lab/programs.ts";
import type { ConnectionRecord } from "../lab/report.ts";
import type { Row } from "./row.ts";
import type { Stage } from "./stage.ts";
import { type Synthetic, writeSynthetic } from "./synthetic.ts";

const PORT = APPLICATION_PORT;
/** A port of the assistant at which nobody listens. */
const NOBODY = `${addresses.assistant}:36999`;

function hosts(records: readonly ConnectionRecord[]): string[] {
  return records.map(({ peer }) => peer.split(":")[0]);
}

function ports(records: readonly ConnectionRecord[]): number[] {
  return records.map(({ peer }) => Number(peer.split(":")[1])).sort((a, b) => a - b);
}

/** Bytes by connection: what must be the same online and on the target. */
function streams(records: readonly ConnectionRecord[]): string[] {
  return records.map(({ ids, hash, ending }) => `${ids} ${hash} ${ending}`).sort();
}

/** Replays a file of synthetic sessions; returns how many sessions there were, the log, the time. */
async function offline(
  stage: Stage,
  file: Synthetic,
  args: readonly string[] = [],
): Promise<{ sessions: number; log: string; seconds: number }> {
  await stage.usual();
  const path = stage.path("synthetic.pcap");
  writeSynthetic(path, file);
  const startMs = performance.now();
  const tcpcopy = await stage.tcpcopy(["-i", path, ...args], { waitUntilReady: false });
  await tcpcopy.waitFor(/\bready\b/, 20_000);
  const readyMs = performance.now();
  await tcpcopy.ended;
  const sessions = Number(/^sessions +([\d,]+)/m.exec(tcpcopy.output)?.[1].replaceAll(",", ""));
  assert.ok(!Number.isNaN(sessions), tcpcopy.output);
  const seconds = (performance.now() - readyMs) / 1000;
  assert.ok(startMs < readyMs);
  return { sessions, log: tcpcopy.output, seconds };
}

/** Starts tcpcopy while a connection rests; returns what the target saw of it. */
async function joined(stage: Stage, args: readonly string[]): Promise<ConnectionRecord[]> {
  await stage.usual();
  const { ids, process } = stage.startClients({
    connections: 1,
    requests: 6,
    requestsBeforeJoin: 3,
  });
  await process.waitFor(/^joined$/m, 20_000);
  await pause(400);
  const tcpcopy = await stage.tcpcopy(args);
  await process.writeLine("go");
  await process.ended;
  await pause(1500);
  await tcpcopy.stop();
  return stage.seen(ids, "target");
}

async function refused(stage: Stage, args: readonly string[]): Promise<string> {
  const process = await stage.tcpcopy(args, { waitUntilReady: false });
  const { code } = await process.ended;
  assert.notEqual(code, 0, process.output);
  return process.output;
}

async function exact(stage: Stage, args: readonly string[]): Promise<void> {
  const { online, target } = await stage.replay(args);
  assert.deepEqual(streams(target), streams(online));
}

function row(original: string, ours: string, test: Row["test"]): Row {
  return { program: "tcpcopy", original, ours, test };
}

export const tcpcopyRows: readonly Row[] = [
  row("-x", "-x, --transfer", async (stage) => {
    const { online, target } = await stage.replay(["-x", `${PORT}-${addresses.target}:${PORT}`]);
    assert.equal(online.length, 4);
    assert.deepEqual(streams(target), streams(online));
  }),
  row("-H", "-H, --localhost-ip", async (stage) => {
    await stage.usual();
    // Without -c, which would put other addresses in place of it.
    const local = stage.lab.spawn("online", [
      ...[Deno.execPath(), "run", "-A"],
      new URL("../../src/tcpcopy/main.ts", import.meta.url).pathname,
      ...["-x", `${PORT}-${addresses.target}:${PORT}`, "-s", addresses.assistant],
      ...["-H", "198.19.7.7"],
    ], { name: "tcpcopy" });
    await local.waitFor(/\bready\b/, 20_000);
    const ids = await stage.clients({}, "online", `127.0.0.1:${PORT}`);
    const target = await stage.arrived(ids);
    await local.stop();
    assert.deepEqual(new Set(hosts(target)), new Set(["198.19.7.7"]));
    assert.equal(target.length, ids.count);
  }),
  row("-c", "-c, --client-ip", async (stage) => {
    const { target } = await stage.replay([], { clients: "198.19.5.6" });
    assert.deepEqual(hosts(target), Array(4).fill("198.19.5.6"));
  }),
  row("-i FILE (--offline)", "-i, --input", async (stage) => {
    assert.equal((await offline(stage, { clients: 20 })).sessions, 20);
  }),
  row("-a", "-a, --acceleration", async (stage) => {
    const slow = await offline(stage, { clients: 5, gapMs: 800 });
    const fast = await offline(stage, { clients: 5, gapMs: 800 }, ["-a", "20"]);
    assert.ok(fast.seconds < slow.seconds - 1, `${fast.seconds} s, ${slow.seconds} s`);
  }),
  row("-I", "-I, --skip-gaps", async (stage) => {
    const slow = await offline(stage, { clients: 5, gapMs: 800 });
    const cut = await offline(stage, { clients: 5, gapMs: 800 }, ["-I", "10"]);
    assert.ok(cut.seconds < slow.seconds - 1, `${cut.seconds} s, ${slow.seconds} s`);
  }),
  row("-T", "-T, --times", async (stage) => {
    assert.equal((await offline(stage, { clients: 10 }, ["-T", "3"])).sessions, 30);
  }),
  row("-n", "-n, --copies", async (stage) => {
    const { online, target } = await stage.replay(["-n", "3"], { copies: 3 });
    assert.deepEqual(streams(target), streams([...online, ...online, ...online]));
    assert.equal(new Set(target.map(({ peer }) => peer)).size, target.length);
  }),
  row("-f", "-f, --port-factor", async (stage) => {
    const moved = await stage.replay(["-f", "3"]);
    const first = 1024;
    const shifted = ports(moved.online).map((port) => port + 3 * 2048)
      .map((port) => port > 65535 ? first + (port - first) % (65536 - first) : port);
    assert.deepEqual(ports(moved.target), shifted.sort((a, b) => a - b));
    const own = await stage.replay(["-f", "2/3"]);
    assert.deepEqual(ports(own.target).map((port) => port % 3), Array(4).fill(2));
  }),
  row("-m", "-m, --max-memory", async (stage) => {
    const sizes: number[] = [];
    for (const cap of ["160", "320"]) {
      const { log } = await stage.replay(["--capture", "ring", "-m", cap]);
      sizes.push(Number(/packet ring \((\d+) MB\)/.exec(log)?.[1]));
    }
    assert.ok(sizes[0] > 0 && sizes[0] < sizes[1], `${sizes}`);
  }),
  row("-M", "-M, --mtu", async (stage) => {
    const larger = await stage.count("target", "ip length \\> 600");
    await exact(stage, ["-M", "600"]);
    const { target } = await stage.replay(["-M", "600"], {
      workload: { requestBytes: [4000, 4000] },
    });
    assert.equal(target.length, 4);
    assert.equal(await larger(), 0);
  }),
  row("-D", "-D, --mss", async (stage) => {
    const announced = await stage.count("target", "tcp option maxseg size 500");
    await exact(stage, ["-D", "500"]);
    assert.equal(await announced(), 4);
  }),
  row("-R", "-R: no effect", async (stage) => {
    const { log } = await stage.replay(["-R", "5"]);
    assert.match(log, /-R has no effect here/);
  }),
  row("-U", "-U: no effect", async (stage) => {
    const { log } = await stage.replay(["-U", "32"]);
    assert.match(log, /-U has no effect here/);
  }),
  row("-C", "-C, --tunnel-connections", async (stage) => {
    await stage.usual();
    const intercept = await stage.intercept("-p", "36601");
    const tcpcopy = await stage.tcpcopy(["-s", `${addresses.assistant}:36601`, "-C", "5"]);
    await pause(500);
    await tcpcopy.stop();
    await intercept.stop();
    assert.equal(intercept.output.match(/tcpcopy connected from/g)?.length, 5, intercept.output);
  }),
  row("-s", "-s, --intercept", async (stage) => {
    // Each has a filter of its own, for one half of the clients; together they see everything.
    await stage.usual();
    const base = `tcp and src port ${PORT} and dst net 198.19.0`;
    const low = await stage.intercept("-p", "36602", "-F", `${base}.0/25`);
    const high = await stage.intercept("-p", "36603", "-F", `${base}.128/25`);
    const both = `${addresses.assistant}:36602,${addresses.assistant}:36603`;
    const { online, target } = await stage.replay(["-s", both, "-n", "2"], {
      clients: "198.19.0.127,198.19.0.128",
      copies: 2,
    });
    await low.stop();
    await high.stop();
    assert.equal(target.length, online.length * 2);
    for (const { output } of [low, high]) assert.match(output, /headers sent [1-9]/);
  }),
  row("-p", "-p, --port", async (stage) => {
    await stage.usual();
    const intercept = await stage.intercept("-p", "36604");
    await exact(stage, ["-p", "36604"]);
    await intercept.stop();
    assert.match(intercept.output, /tcpcopy connected from/);
  }),
  row("-t", "-t, --session-timeout", async (stage) => {
    const workload = { connections: 1, requests: 2, gapMs: 2500 };
    const { log } = await stage.replay(["-t", "1"], { workload });
    assert.match(log, /timed out +1$/m);
  }),
  row("-k", "-k, --keepalive-timeout", async (stage) => {
    const workload = { connections: 1, requests: 2, gapMs: 2500 };
    const { log } = await stage.replay(["-t", "1", "-k", "60"], { workload });
    assert.doesNotMatch(log, /timed out/);
    assert.match(log, /complete +1$/m);
  }),
  row("-l", "-l, --log-file", async (stage) => {
    await stage.usual();
    const path = stage.path("tcpcopy.log");
    // "ready" does not come on standard error.
    const tcpcopy = await stage.tcpcopy(["-l", path], { waitUntilReady: false });
    await pause(2500);
    await tcpcopy.stop();
    assert.match(Deno.readTextFileSync(path), /tcpcopy: ready/);
    assert.doesNotMatch(tcpcopy.output, /ready/);
  }),
  row("-r", "-r, --percentage", async (stage) => {
    // By client: the same clients in both rounds, so always a multiple of their sessions.
    const { sessions, log } = await offline(stage, { clients: 200, sessions: 3 }, ["-r", "40"]);
    assert.ok(sessions > 150 && sessions < 330 && sessions % 3 === 0, `${sessions}`);
    assert.match(log, new RegExp(`${600 - sessions} more left out by sampling`));
    const again = await offline(stage, { clients: 200, sessions: 3 }, ["-r", "40"]);
    assert.equal(again.sessions, sessions);
    const drawn = ["-r", "40", "--sample-by", "connection"];
    const one = await offline(stage, { clients: 1, sessions: 200 }, drawn);
    assert.ok(one.sessions > 40 && one.sessions < 120, `${one.sessions}`);
  }),
  row("-g", "-g, --gradual", async (stage) => {
    const long = await offline(stage, { clients: 200 }, ["-g", "--gradual-seconds", "5000"]);
    assert.ok(long.sessions < 20, `${long.sessions}`);
    const short = ["-g", "--gradual-seconds", "1"];
    const all = await offline(stage, { clients: 100, gapMs: 40 }, short);
    // 4 s, of which the first has a growing share.
    assert.ok(all.sessions > 70 && all.sessions < 100, `${all.sessions}`);
  }),
  row("-O", "-O, --full-sessions", async (stage) => {
    assert.equal((await joined(stage, [])).length, 1);
    assert.equal((await joined(stage, ["-O"])).length, 0);
  }),
  row("-W", "-W, --no-wait", async (stage) => {
    const slow = 8090;
    await stage.usual();
    await stage.server("target", slow, 300);
    const early: number[] = [];
    const intercept = await stage.intercept("-p", "36605", "-F", `tcp and src port ${slow}`);
    for (const more of [[], ["-W"]]) {
      const tcpcopy = await stage.tcpcopy([
        ...["-x", `${PORT}-${addresses.target}:${slow}`, "-p", "36605"],
        ...more,
      ]);
      const ids = await stage.clients({ connections: 2 });
      const target = await stage.arrived(ids, 2, "target", slow);
      await tcpcopy.stop();
      assert.equal(target.length, 2);
      early.push(target.reduce((sum, each) => sum + each.early, 0));
    }
    await intercept.stop();
    assert.equal(early[0], 0);
    assert.ok(early[1] > 0, "requests waited though -W was given");
  }),
  row("-L", "-L, --lonely", async (stage) => {
    assert.match(await refused(stage, ["-s", NOBODY]), /start intercept there first/);
    const tcpcopy = await stage.tcpcopy(["-s", NOBODY, "-L"]);
    assert.match(tcpcopy.output, /sessions wait, trying again/);
    await tcpcopy.stop();
  }),
  row("without -L", "--exit-without-intercept", async (stage) => {
    for (const more of [[], ["--exit-without-intercept"]]) {
      const intercept = await stage.intercept("-p", "36606");
      const tcpcopy = await stage.tcpcopy(["-p", "36606", ...more]);
      await intercept.stop();
      await pause(1000);
      if (more.length === 0) assert.equal(tcpcopy.status, undefined);
      else {
        const { code } = await tcpcopy.ended;
        assert.equal(code, 1);
        assert.match(tcpcopy.output, /the last intercept is gone/);
      }
      await tcpcopy.stop();
    }
  }),
  row("-h", "-h, --help", async (stage) => {
    const tcpcopy = await stage.tcpcopy(["-h"], { waitUntilReady: false });
    assert.equal((await tcpcopy.ended).code, 0);
    assert.match(tcpcopy.output, /--full-sessions/);
  }),
  row("-v", "-v, --version", async (stage) => {
    const tcpcopy = await stage.tcpcopy(["-v"], { waitUntilReady: false });
    assert.equal((await tcpcopy.ended).code, 0);
    assert.match(tcpcopy.output, /^tcpcopy \d+\.\d+/m);
  }),
  row("-d", "-d, --daemon", async (stage) => {
    await stage.usual();
    const [pidFile, log] = [stage.path("daemon.pid"), stage.path("daemon.log")];
    const start = await stage.tcpcopy(["-d", "-P", pidFile, "-l", log], { waitUntilReady: false });
    assert.equal((await start.ended).code, 0, start.output);
    // It has returned because it is ready.
    assert.match(Deno.readTextFileSync(log), /tcpcopy: ready/);
    const pid = Number(Deno.readTextFileSync(pidFile));
    const ids = await stage.clients();
    assert.equal((await stage.arrived(ids)).length, ids.count);
    const session = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ")[3];
    assert.equal(Number(session), pid, "it is the leader of a session of its own");
    Deno.kill(pid, "SIGTERM");
    for (let i = 0; i < 50 && exists(pidFile); i++) await pause(100);
    assert.equal(exists(pidFile), false);
    const failed = await stage.tcpcopy(["-d", "-s", NOBODY], { waitUntilReady: false });
    assert.equal((await failed.ended).code, 1);
    assert.match(failed.output, /start intercept there first/);
  }),
  row("-P", "-P, --pid-file", async (stage) => {
    await stage.usual();
    const path = stage.path("tcpcopy.pid");
    Deno.writeTextFileSync(path, "999999\n"); // left behind by another
    const tcpcopy = await stage.tcpcopy(["-P", path]);
    const pid = Number(Deno.readTextFileSync(path));
    assert.ok(exists(`/proc/${pid}`), `${pid}`);
    assert.match(await refused(stage, ["-P", path]), /is running and has it/);
    await tcpcopy.stop();
    for (let i = 0; i < 50 && exists(path); i++) await pause(100);
    assert.equal(exists(path), false, "the file is removed");
  }),
  row("configure --single", "--single", async (stage) => {
    await stage.usual();
    const intercept = await stage.intercept("-p", "36607", "--single");
    await exact(stage, ["-p", "36607", "--single"]);
    await intercept.stop();
    assert.match(intercept.output, /routes announced 0/);
  }),
  row("configure --disable-combined", "--disable-combined", async (stage) => {
    await stage.usual();
    const intercept = await stage.intercept("-p", "36608", "--disable-combined");
    await exact(stage, ["-p", "36608", "--disable-combined"]);
    await intercept.stop();
  }),
  row("-DTC_PAYLOAD", "--resp-payload", async (stage) => {
    await stage.usual();
    const intercept = await stage.intercept("-p", "36609", "--resp-payload");
    await exact(stage, ["-p", "36609", "--resp-payload"]);
    await intercept.stop();
  }),
  row("configure --dnat", "--dnat", async (stage) => {
    await stage.usual();
    const { inNamespace } = await import("../lab/hosts.ts");
    // An address that is exchanged on the way to the target, and not back.
    const virtual = "198.18.0.99";
    await inNamespace(
      "target",
      `
ip address add ${virtual}/24 dev eth0
nft add table ip exchange
nft 'add chain ip exchange in { type filter hook prerouting priority -300; }'
nft add rule ip exchange in ip daddr ${virtual} ip daddr set ${addresses.target}`,
    );
    const intercept = await stage.intercept("-p", "36610", "--dnat");
    await exact(stage, ["-x", `${PORT}-${virtual}:${PORT}`, "-p", "36610", "--dnat"]);
    await intercept.stop();
    await inNamespace(
      "target",
      `nft delete table ip exchange; ip address del ${virtual}/24 dev eth0`,
    );
  }),
  row("configure --with-debug", "--log-level debug", async (stage) => {
    assert.match((await stage.replay(["--log-level", "debug"])).log, /debug: options: \{/);
    const quiet = await stage.tcpcopy(["--log-level", "error"], { waitUntilReady: false });
    await pause(2500);
    await quiet.stop();
    assert.doesNotMatch(quiet.output, /ready/);
  }),
];

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
