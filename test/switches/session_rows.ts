/** The switches of tcpcopy about what is replayed and how, each used in a replay. */

import assert from "node:assert/strict";
import { addresses } from "../lab/hosts.ts";
import { exact, hosts, joined, offline, PORT, ports, row, streams } from "./replays.ts";
import type { Row } from "./row.ts";

export const sessionRows: readonly Row[] = [
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
    await local.stop(5_000, "SIGINT");
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
  row("-r", "-r, --percentage", async (stage) => {
    // By connection, also where all are one client's, as behind a load balancer.
    const one = await offline(stage, { clients: 1, sessions: 200 }, ["-r", "40"]);
    assert.ok(one.sessions > 40 && one.sessions < 120, `${one.sessions}`);
    assert.match(one.log, new RegExp(`${200 - one.sessions} more left out by sampling`));
    assert.match(one.log, /-r 40: 40 % of the connections/);
    // By client: the same clients in both rounds, so always a multiple of their sessions.
    const byClient = ["-r", "40", "--sample-by", "client"];
    const { sessions, log } = await offline(stage, { clients: 200, sessions: 3 }, byClient);
    assert.ok(sessions > 150 && sessions < 330 && sessions % 3 === 0, `${sessions}`);
    assert.doesNotMatch(log, /WARN.*-r 40/);
    const again = await offline(stage, { clients: 200, sessions: 3 }, byClient);
    assert.equal(again.sessions, sessions);
    const all = await offline(stage, { clients: 1, sessions: 200 }, byClient);
    assert.match(all.log, /-r 40: \d+ of 200 connections were drawn.*--sample-by connection/);
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
];
