/** The switches of tcpcopy about its tunnels, its process and its log, each used in a replay. */

import assert from "node:assert/strict";
import { addresses, inNamespace } from "../lab/hosts.ts";
import { pause } from "../lab/programs.ts";
import { exact, NOBODY, PORT, refused, row } from "./replays.ts";
import type { Row } from "./row.ts";

export const processRows: readonly Row[] = [
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
  row("-L", "-L, --lonely", async (stage) => {
    assert.match(await refused(stage, ["-s", NOBODY]), /start intercept there first/);
    const tcpcopy = await stage.tcpcopy(["-s", NOBODY, "-L"]);
    assert.match(tcpcopy.output, /sessions wait, trying again/);
    await tcpcopy.stop();
  }),
  row("without -L", "--exit-without-intercept", async (stage) => {
    const ending = ["--exit-without-intercept"];
    for (const more of [[], ending, [...ending, "--workers", "2"]]) {
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
    // It has no terminal that could be gone: it is asked for something.
    Deno.chmodSync(stage.directory, 0o755);
    Deno.kill(pid, "SIGHUP");
    const isReopened = () => /SIGHUP: log file .* opened again/.test(Deno.readTextFileSync(log));
    for (let i = 0; i < 50 && !isReopened(); i++) await pause(100);
    assert.ok(isReopened(), Deno.readTextFileSync(log));
    Deno.kill(pid, "SIGINT");
    for (let i = 0; i < 50 && exists(pidFile); i++) await pause(100);
    assert.equal(exists(pidFile), false);
    assert.match(Deno.readTextFileSync(log), /tcpcopy: {3}complete +4$/m);
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
