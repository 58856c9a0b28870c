/** The switches of intercept, each used beside a tunnel that is looked at byte for byte. */

import assert from "node:assert/strict";
import { pause } from "../lab/programs.ts";
import type { Row } from "./row.ts";
import { frameCounts, freePort, probe, startHere, Tunnel } from "./tunnel_probe.ts";

const READY_TIMEOUT_MS = 20_000;
/** So much later another connection counts as another tcpcopy's. */
const OTHER_CLIENT_MS = 3_300;

function row(original: string, ours: string, test: Row["test"]): Row {
  return { program: "intercept", original, ours, test };
}

function records(bytes: Uint8Array<ArrayBuffer>, length = 64): number {
  return frameCounts(bytes, length).reduce((sum, count) => sum + count, 0);
}

/** Runs intercept with these options until `use` is through; returns its log. */
async function running(
  args: readonly string[],
  use: (port: number, pid: number) => Promise<void>,
): Promise<string> {
  const port = freePort();
  const intercept = startHere("intercept", ["-i", "lo", "-p", String(port), ...args]);
  try {
    await intercept.waitFor(/\bready\b/, READY_TIMEOUT_MS);
    await use(port, intercept.pid);
  } finally {
    await intercept.stop();
  }
  return intercept.output;
}

/** Which of two tunnels is closed, the second coming late. */
async function twoClients(args: readonly string[]): Promise<[boolean, boolean]> {
  let result: [boolean, boolean] = [false, false];
  await running(args, async (port) => {
    await using first = await Tunnel.connect(port);
    await pause(OTHER_CLIENT_MS);
    await using second = await Tunnel.connect(port);
    await pause(500);
    result = [first.isClosed, second.isClosed];
  });
  return result;
}

export const interceptRows: readonly Row[] = [
  row("-i", "-i, --device", async () => {
    assert.ok(records((await probe({ args: ["-i", "lo"] })).bytes) >= 12);
    assert.ok(records((await probe({ args: ["-i", "any"] })).bytes) >= 12);
  }),
  row("-F", "-F, --filter", async () => {
    const { bytes, log } = await probe({ args: ["-F", "tcp and src port 9"] });
    assert.equal(bytes.length, 0);
    assert.match(log, /headers sent 0/);
  }),
  row("-n", "-n, --max-combined", async () => {
    const { bytes } = await probe({ args: ["-n", "1"] });
    assert.deepEqual(new Set(frameCounts(bytes, 64)), new Set([1]));
  }),
  row("-p", "-p, --port", async () => {
    await running([], async (port) => {
      await using tunnel = await Tunnel.connect(port);
      await pause(200);
      assert.equal(tunnel.isClosed, false);
    });
  }),
  row("-b", "-b, --bind", async () => {
    await running(["-b", "127.0.0.2"], async (port) => {
      await using tunnel = await Tunnel.connect(port, "127.0.0.2");
      assert.equal(tunnel.isClosed, false);
      await assert.rejects(Tunnel.connect(port), Deno.errors.ConnectionRefused);
    });
  }),
  row("-D", "-D, --docker", async () => {
    const announce = { client: "198.19.0.9" };
    assert.equal((await probe({ announce })).bytes.length, 0);
    const { bytes } = await probe({ args: ["-D", "127.0.0.1-198.19.0.9"], announce });
    assert.ok(records(bytes) >= 12);
    assert.deepEqual([...bytes.subarray(2 + 16, 2 + 20)], [198, 19, 0, 9]);
  }),
  row("-s", "-s: no effect", async () => {
    assert.match(await running(["-s", "1024"], async () => {}), /-s has no effect here/);
  }),
  row("-t", "-t: no effect", async () => {
    assert.match(await running(["-t", "60"], async () => {}), /-t has no effect here/);
  }),
  row("configure --single", "--single", async () => {
    // Without any announcement.
    assert.equal((await probe({ announce: null })).bytes.length, 0);
    assert.ok(records((await probe({ args: ["--single"], announce: null })).bytes) >= 12);
    assert.deepEqual(await twoClients(["--single"]), [true, false]);
  }),
  row("-c (--single)", "-c, --protect-connections", async () => {
    assert.deepEqual(await twoClients(["--single", "-c"]), [false, true]);
  }),
  row("configure --disable-combined", "--disable-combined", async () => {
    const { bytes } = await probe({ args: ["--disable-combined"] });
    assert.ok(bytes.length >= 12 * 64 && bytes.length % 64 === 0, `${bytes.length}`);
    assert.equal(bytes[0], 0x45);
  }),
  row("configure --with-resp-payload", "--resp-payload", async () => {
    const { bytes } = await probe({ args: ["--resp-payload"] });
    assert.ok(records(bytes, 192) >= 12);
    assert.ok(Math.max(...frameCounts(bytes, 192)) <= 6);
    assert.ok(new TextDecoder("latin1").decode(bytes).includes("a".repeat(40)));
  }),
  row("configure --dnat", "--dnat", async () => {
    const announce = { target: "198.18.0.99" };
    assert.equal((await probe({ announce })).bytes.length, 0);
    assert.ok(records((await probe({ args: ["--dnat"], announce })).bytes) >= 12);
  }),
  row("configure --with-debug", "--log-level debug", async () => {
    const log = await running(["--log-level", "debug"], async () => {});
    assert.match(log, /debug: options: \{/);
  }),
  row("-l", "-l, --log-file", async (stage) => {
    const path = stage.path("intercept.log");
    const intercept = startHere("intercept", ["-i", "lo", "-p", String(freePort()), "-l", path]);
    await pause(2500);
    await intercept.stop();
    assert.match(Deno.readTextFileSync(path), /intercept: ready/);
    assert.equal(intercept.output, "");
  }),
  row("-P", "-P, --pid-file", async (stage) => {
    const path = stage.path("intercept.pid");
    await running(["-P", path], (_, pid) => {
      assert.equal(Number(Deno.readTextFileSync(path)), pid);
      return Promise.resolve();
    });
    await pause(500);
    assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
  }),
  row("-d", "-d, --daemon", async (stage) => {
    const port = freePort();
    const path = stage.path("intercept-daemon.pid");
    const log = stage.path("intercept-daemon.log");
    const where = ["-i", "lo", "-p", String(port)];
    const start = startHere("intercept", [...where, "-d", "-P", path, "-l", log]);
    assert.equal((await start.ended).code, 0, start.output);
    const pid = Number(Deno.readTextFileSync(path));
    {
      await using tunnel = await Tunnel.connect(port);
      assert.equal(tunnel.isClosed, false);
    }
    const second = startHere("intercept", [...where, "-d", "-l", log]);
    assert.equal((await second.ended).code, 1);
    assert.match(second.output, /EADDRINUSE/);
    Deno.kill(pid, "SIGTERM");
  }),
  row("-v", "-v, --version", async () => {
    const intercept = startHere("intercept", ["-v"]);
    assert.equal((await intercept.ended).code, 0);
    assert.match(intercept.output, /^intercept \d+\.\d+/m);
  }),
  row("-h", "-h, --help", async () => {
    const intercept = startHere("intercept", ["-h"]);
    assert.equal((await intercept.ended).code, 0);
    assert.match(intercept.output, /--max-combined/);
  }),
];
