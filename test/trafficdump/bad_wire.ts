/**
 * A wire that loses and reorders: between the lab's client and its switch. Inside the sandbox only.
 *
 * Some packets are dropped, and some take a second, slower way to the bridge, so that others overtake
 * them.
 */

const SLOW_RATE = "6mbit";

/** Makes the client's wire bad, for what the client sends. */
export async function makeBadWire(lossPercent: number, detourPercent: number): Promise<void> {
  await inSwitch([
    "ip",
    "-batch",
    "-",
  ], [
    "link add name slow0 type veth peer name slow1",
    "link set slow1 master br0 up",
    "link set slow0 up",
  ]);
  // The client is to be found behind its own port only.
  await inSwitch(["bridge", "link", "set", "dev", "slow1", "learning", "off"]);
  const tbf = ["tbf", "rate", SLOW_RATE, "burst", "2000", "latency", "50ms"];
  await inSwitch(["tc", "qdisc", "add", "dev", "slow0", "root", ...tbf]);
  await inSwitch(["nft", "-f", "-"], [
    "table netdev badwire {",
    'chain in { type filter hook ingress device "p-client" priority 0;',
    `ip protocol tcp numgen random mod 1000 < ${lossPercent * 10} counter drop;`,
    `ip protocol tcp numgen random mod 1000 < ${detourPercent * 10} counter fwd to "slow0";`,
    "}",
    "}",
  ]);
}

/** Packets lost and packets on the slow way so far. */
export async function badWireCounts(): Promise<{ lost: number; detoured: number }> {
  const text = await inSwitch(["nft", "list", "ruleset"]);
  const counts = [...text.matchAll(/counter packets (\d+)/g)].map((match) => Number(match[1]));
  return { lost: counts[0], detoured: counts[1] };
}

async function inSwitch(argv: readonly string[], input: readonly string[] = []): Promise<string> {
  const child = new Deno.Command("nsenter", {
    args: ["--net=/run/netns/switch", "--", ...argv],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    // An ordinary user's PATH has no programs for administrators.
    env: { PATH: `${Deno.env.get("PATH")}:/usr/sbin:/sbin` },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input.map((line) => line + "\n").join("")));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  if (!success) {
    throw new Error(`${argv.join(" ")} failed: ${new TextDecoder().decode(stderr).trim()}`);
  }
  return new TextDecoder().decode(stdout);
}
