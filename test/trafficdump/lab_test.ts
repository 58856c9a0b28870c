/**
 * The dump between real kernels, each scenario in a sandbox of its own.
 *
 * One alone, with its figures: `deno run -A test/trafficdump/lab.ts capture`.
 */

import assert from "node:assert/strict";
import { requirePrograms } from "../lab/hosts.ts";
import { runScenario } from "./lab.ts";

const titles: Record<string, string> = {
  capture: "what is dumped is what services read, over a bad wire, and replays",
  join: "connections that were open are dumped from the window on, and replay",
  layotto: "Layotto's listeners are captured at their addresses, and its log replays",
  fuse: "a busy system gets no window, an open one stops, and both recover",
  reload: "strategies are reloaded, refused and switched off while it runs",
  disk: "a full disk is survived and counted",
  sample: "tcpcopy samples sessions in windows",
  workers: "tcpcopy with workers samples sessions in windows",
  proxy: "10,000 connections through the proxy, with a filter of one's own",
};

for (const [name, title] of Object.entries(titles)) {
  Deno.test(`trafficdump: ${title}`, async () => {
    requirePrograms(["ip", "nsenter", "unshare", "ethtool", "nft"]);
    const { problems } = await runScenario(name);
    assert.deepEqual(problems, []);
  });
}
