/** Many to one and one to many: several online servers, targets and copies. */

import assert from "node:assert/strict";
import { addresses } from "../lab/hosts.ts";
import { APPLICATION_PORT, ours, pause } from "../lab/programs.ts";
import type { ConnectionRecord } from "../lab/report.ts";
import { workloadNamed } from "../lab/workloads.ts";
import type { Stage } from "./stage.ts";
import { writeSynthetic } from "./synthetic.ts";

const PORT = APPLICATION_PORT;
const FILTER = `tcp and src port ${PORT}`;
const workload = workloadNamed("keepalive");

/** What must be the same online and on the target. */
function streams(records: readonly ConnectionRecord[]): string[] {
  return records.map(({ ids, bytes, hash, ending }) => `${ids} ${bytes} ${hash} ${ending}`).sort();
}

/** One case, with what it shows. */
export interface ManyCase {
  name: string;
  test(stage: Stage): Promise<void>;
}

export const manyCases: readonly ManyCase[] = [
  {
    // The clients of both may have the same ports: each instance keeps to its own.
    name: "two online servers, one intercept, one target",
    test: async (stage) => {
      await stage.usual();
      await stage.server("online2");
      const first = await stage.tcpcopy(["-f", "0/2"]);
      const second = await stage.tcpcopy(["-f", "1/2"], { host: "online2" });
      const [ids, others] = await Promise.all([
        stage.clients(workload),
        stage.clients(workload, "client", `${addresses.online2}:${PORT}`),
      ]);
      const target = await stage.arrived(ids);
      const targetOfOthers = await stage.arrived(others);
      await first.stop();
      await second.stop();
      assert.deepEqual(streams(target), streams(stage.seen(ids, "online")));
      assert.deepEqual(streams(targetOfOthers), streams(stage.seen(others, "online2")));
      assert.equal(target.length + targetOfOthers.length, 100);
      const parities = new Set(targetOfOthers.map(({ peer }) => Number(peer.split(":")[1]) % 2));
      assert.deepEqual(parities, new Set([1]));
    },
  },
  {
    name: "one online port, two targets",
    test: async (stage) => {
      await stage.server("online");
      await stage.server("target");
      await stage.server("target2");
      const intercept = await stage.intercept("-p", "36620", "-F", FILTER);
      const pairs = ["target", "target2"] as const;
      const tcpcopy = await stage.tcpcopy([
        ...["-x", pairs.map((host) => `${PORT}-${addresses[host]}:${PORT}`).join(",")],
        ...["-p", "36620"],
      ]);
      const ids = await stage.clients(workload);
      const targets = [];
      for (const host of pairs) targets.push(await stage.arrived(ids, ids.count, host));
      await tcpcopy.stop();
      await intercept.stop();
      for (const target of targets) {
        assert.equal(target.length, 50);
        assert.deepEqual(streams(target), streams(stage.seen(ids, "online")));
      }
    },
  },
  {
    name: "three copies of everything",
    test: async (stage) => {
      const { online, target } = await stage.replay(["-n", "3"], { copies: 3, workload });
      assert.deepEqual(streams(target), streams([...online, ...online, ...online]));
      const count = (list: readonly ConnectionRecord[]) =>
        list.reduce((sum, { frames }) => sum + frames, 0);
      assert.equal(count(target), 3 * count(online));
    },
  },
  ...[1, 2].map((workers) => ({
    name: `SIGHUP: what may change does, a bad file changes nothing, workers: ${workers}`,
    test: async (stage: Stage) => {
      await stage.usual();
      const path = stage.path("config.json");
      const write = (text: string) => Deno.writeTextFileSync(path, text);
      write(`{"exclude-clients": "${addresses.client}", "mtu": 1400}`);
      Deno.chmodSync(stage.directory, 0o755);
      const tcpcopy = await stage.tcpcopy(["--config", path, "--workers", String(workers)]);
      const reload = async (text: string, answer: RegExp) => {
        const from = tcpcopy.output.length;
        write(text);
        tcpcopy.signal("SIGHUP");
        await tcpcopy.waitFor(answer, 10_000, from);
      };
      const out = await stage.clients();
      assert.equal((await stage.arrived(out, 0)).length, 0);
      await reload(`{"exclude-client": "${addresses.client}"}`, /stays as it was.*did you mean/);
      const stillOut = await stage.clients();
      assert.equal((await stage.arrived(stillOut, 0)).length, 0);
      await reload(
        `{"mtu": 900}`,
        /exclude-clients .* -> \(default\).*restart only: mtu 1400 -> 900/,
      );
      const ids = await stage.clients({ connections: 20 });
      assert.equal((await stage.arrived(ids)).length, ids.count);
      await tcpcopy.stop();
    },
  })),
  {
    name: "client lists: included, and of these not the excluded",
    test: async (stage) => {
      for (
        const [args, expected] of [
          [["--include-clients", "198.18.0.0/24"], 4],
          [["--include-clients", "203.0.113.0/24"], 0],
          [["--include-clients", "198.18.0.0/16", "--exclude-clients", addresses.client], 0],
        ] as const
      ) {
        await stage.usual();
        const tcpcopy = await stage.tcpcopy(args);
        const ids = await stage.clients();
        assert.equal((await stage.arrived(ids, expected)).length, expected, args.join(" "));
        await tcpcopy.stop();
      }
    },
  },
  {
    name: "in the background, with a capture piped in",
    test: async (stage) => {
      await stage.usual();
      const [capture, log] = [stage.path("piped.pcap"), stage.path("piped.log")];
      writeSynthetic(capture, { clients: 5 });
      const start = async (pipe: string) => {
        const process = stage.lab.spawn("online", [
          ...["sh", "-c", `${pipe} | "$@"`, "sh", ...ours("tcpcopy"), "-d", "-l", log, "-i", "-"],
          ...["-x", `${PORT}-${addresses.target}:${PORT}`, "-s", addresses.assistant],
          ...["-c", "198.19.0.x"],
        ]);
        assert.equal((await process.ended).code, 0, process.output);
      };
      const logged = async (pattern: RegExp) => {
        for (let i = 0; i < 200 && !pattern.test(Deno.readTextFileSync(log)); i++) await pause(100);
        assert.match(Deno.readTextFileSync(log), pattern);
      };
      // What comes after the program was ready is still read; damage in it is told in the log.
      const second = `tail -c +101 ${capture} | head -c 200`;
      const rest = `tail -c +301 ${capture}`;
      await start(`{ head -c 100 ${capture}; sleep 1; ${second}; sleep 1; ${rest}; }`);
      await logged(/ tcpcopy: sessions +5$/m);
      await start(`{ head -c 100 ${capture}; sleep 1; seq 1000; }`);
      await logged(/ error: .*standard input/);
    },
  },
];
