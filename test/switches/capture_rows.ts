/** The switches of tcpcopy about devices: where packets come from and leave, each used in a replay. */

import assert from "node:assert/strict";
import { addresses, run } from "../lab/hosts.ts";
import { exact, hosts, PORT, refused, row } from "./replays.ts";
import type { Row } from "./row.ts";

const PCAP = ["--capture", "pcap", "-i", "eth0"];
/** Whole requests fill several packets. */
const LARGE = { requestBytes: [3000, 3000] as [number, number] };

export const captureRows: readonly Row[] = [
  row("configure --pcap-capture", "--capture pcap", async (stage) => {
    await exact(stage, ["--capture", "pcap"]);
    const { log } = await stage.replay(["--capture", "pcap"]);
    assert.match(log, /capturing with libpcap on eth0/);
  }),
  row("-i DEVICE", "-i, --input", async (stage) => {
    await exact(stage, PCAP);
    await exact(stage, ["--capture", "ring", "-i", "eth0"]);
    // Nothing arrives there.
    const { target } = await stage.replay(["--capture", "pcap", "-i", "lo"], { copies: 0 });
    assert.deepEqual(hosts(target), []);
  }),
  row("-F", "-F, --filter", async (stage) => {
    await exact(stage, [...PCAP, "-F", `tcp dst port ${PORT}`]);
    const { target } = await stage.replay([...PCAP, "-F", "tcp dst port 9"], { copies: 0 });
    assert.deepEqual(hosts(target), []);
  }),
  row("-B", "-B, --buffer", async (stage) => {
    const { log } = await stage.replay([...PCAP, "-B", "3"]);
    assert.match(log, /buffer 3 MB/);
  }),
  row("-S", "-S, --snap-length", async (stage) => {
    const whole = await stage.replay([...PCAP, "-S", "2000"], { workload: LARGE });
    assert.match(whole.log, /complete +4$/m);
    const cut = await stage.replay([...PCAP, "-S", "256"], { workload: LARGE, copies: 0 });
    assert.match(cut.log, /capture gap +4$/m);
  }),
  row("configure --pcap-send", "--inject pcap", async (stage) => {
    await exact(stage, ["--inject", "pcap", "-o", "eth0"]);
  }),
  row("-o", "-o, --output-device", async (stage) => {
    for (const way of ["pcap", "link"]) {
      await exact(stage, ["--inject", way, "-o", "eth0"]);
      const lost = ["--inject", way, "-o", "nothing0"];
      assert.match(await refused(stage, lost), /nothing0/);
    }
  }),
  row("-x …@MAC", "-x …@MAC", async (stage) => {
    // Another source than the device's own: the target sees it.
    const source = "02:00:00:00:00:77";
    const text = await run(["ip", "-n", "target", "-o", "link", "show", "eth0"]);
    const [, target] = /link\/ether (\S+)/.exec(text)!;
    for (const way of ["pcap", "link"]) {
      const marked = await stage.count("target", `ether saddr ${source}`);
      const pair = `${PORT}@${source}-${addresses.target}:${PORT}@${target}`;
      await exact(stage, ["-x", pair, "--inject", way, "-o", "eth0"]);
      assert.ok(await marked() > 0, `${way}: not the hardware address that was named`);
    }
  }),
  row("configure --with-pfring", "--libpcap", async (stage) => {
    const nowhere = stage.path("none.so");
    assert.match(await refused(stage, [...PCAP, "--libpcap", nowhere]), /none\.so/);
    const copy = stage.path("another libpcap.so");
    await Deno.copyFile(await systemLibpcap(), copy);
    await exact(stage, [...PCAP, "--libpcap", copy]);
  }),
];

async function systemLibpcap(): Promise<string> {
  const text = await run(["sh", "-c", "ls /usr/lib/*/libpcap.so.* /usr/lib*/libpcap.so.* || :"]);
  const [path] = text.split("\n");
  assert.notEqual(path, "", "no libpcap in /usr/lib: apt-get install libpcap0.8");
  return path;
}
