/** Every mistake a user can make is one clear line and an exit code that is not zero. */

import assert from "node:assert/strict";
import { IPV4_HEADER_BYTES, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

const root = new URL("../../", import.meta.url).pathname;
const transfer = ["-x", "80-198.18.0.2:80"];
const nowhere = ["-s", "127.0.0.1:1"];
const directory = Deno.makeTempDirSync();
globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));

interface Ending {
  code: number;
  lines: string[];
}

async function run(program: string, args: string[]): Promise<Ending> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${root}src/${program}/main.ts`, ...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(20_000),
  }).output();
  const lines = new TextDecoder().decode(output.stderr).split("\n").filter((line) => line !== "");
  return { code: output.code, lines };
}

function refuses(name: string, program: string, args: () => string[], expected: RegExp): void {
  Deno.test(`${program}: ${name}`, async () => {
    const { code, lines } = await run(program, args());
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0], expected);
    assert.match(lines[0], new RegExp(`^${program}: `));
    assert.notEqual(code, 0);
  });
}

/** A capture file with one request packet of 100 bytes payload, `kept` bytes of the packet kept. */
function captureFile(options: { kept?: number; port?: number; cutFileBytes?: number }): string {
  const { kept = 140, port = 80, cutFileBytes = 0 } = options;
  const packet = new Uint8Array(140);
  const view = new DataView(packet.buffer);
  writeIpv4Header(view, 0, 140, 1, 64, 6, 0x0a000001, 0x0a000002);
  writeTcpHeader(view, IPV4_HEADER_BYTES, 1234, port, 1, 1, 20, TcpFlag.Ack, 1000);
  const path = Deno.makeTempFileSync({ dir: directory, suffix: ".pcap" });
  const writer = new PcapWriter(LinkType.Raw);
  writer.add(1_000_000, packet.subarray(0, kept), 140);
  const bytes = writer.bytes();
  Deno.writeFileSync(path, bytes.subarray(0, bytes.length - cutFileBytes));
  return path;
}

/** A dump's log with one record. */
function dumpLog(port = 80): string {
  const path = Deno.makeTempFileSync({ dir: directory, suffix: ".log" });
  Deno.writeTextFileSync(path, `[0a1b2c3d-0000-4000-8000-000000000001][${port}]61 62\n`);
  return path;
}

refuses("an unknown option", "tcpcopy", () => ["--bogus"], /Unexpected option.*--bogus/);
refuses("no transfer", "tcpcopy", () => nowhere, /Missing option.*--transfer/);
refuses("a malformed transfer", "tcpcopy", () => ["-x", "80:1", ...nowhere], /-x 80:1: expected/);
refuses(
  "a malformed client range",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-c", "198.18.0.0/99"],
  /expected a prefix length/,
);
refuses(
  "source addresses among which is the target's",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-c", "198.18.0.x"],
  /-c: 198\.18\.0\.2 is the target's own address.*--allow-unsafe-clients target/,
);
refuses(
  "a loopback address as source",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-H", "127.0.0.1"],
  /-H: 127\.0\.0\.1 is a loopback address/,
);
refuses(
  "an unsafe kind nobody knows",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--allow-unsafe-clients", "all"],
  /--allow-unsafe-clients: expected some of .*"all"/,
);
refuses(
  "a number that is none",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-n", "many"],
  /--copies.*many/,
);
refuses(
  "offline options without a file",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-a", "2"],
  /-a is for offline replay/,
);
refuses(
  "a host nobody knows",
  "tcpcopy",
  () => [...transfer, "-s", "no-such-host.invalid"],
  /the name has no IPv4 address/,
);
refuses(
  "an intercept that is not there",
  "tcpcopy",
  () => [...transfer, ...nowhere],
  /127\.0\.0\.1:1.*(ECONNREFUSED.*start intercept there first|CAP_NET_RAW)/,
);
refuses(
  "workers without an intercept",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--workers", "2"],
  /127\.0\.0\.1:1.*(ECONNREFUSED.*start intercept there first|CAP_NET_RAW)/,
);
refuses(
  "more workers than there may be",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--workers", "many"],
  /--workers many: expected a number from 1 to 16, or auto/,
);
refuses(
  "too little memory for the workers",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--workers", "8", "-m", "200"],
  /-m 200: 8 workers need at least 480 MB/,
);
refuses(
  "workers in single mode",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--workers", "2", "--single"],
  /--single with --workers 2: .*leave one of them out/,
);
refuses(
  "workers of intercept in single mode",
  "intercept",
  () => ["-i", "lo", "--workers", "2", "--single"],
  /--single with --workers 2: .*leave one of them out/,
);
refuses(
  "workers and ports that are moved up",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--workers", "2", "-f", "3"],
  /-f with --workers 2: .*-f 0\/2 and -f 1\/2/,
);
refuses(
  "workers and standard input",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--workers", "2", "-i", "-"],
  /--workers 2: .*can be read once only/,
);
refuses(
  "a file that does not exist",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", "/nonexistent.pcap"],
  /nonexistent\.pcap.*No such file/,
);
refuses(
  "a file that is no capture",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", `${root}README.md`],
  /README\.md.*expected a pcap or pcapng file/,
);
refuses(
  "a capture file that was cut short",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", captureFile({ cutFileBytes: 7 })],
  /truncated|cut short|ends too early/,
);
refuses(
  "a capture of packets that were cut short",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", captureFile({ kept: 96 })],
  /1 of 1 request packets were cut short.*tcpdump -s 0/,
);
refuses(
  "a file among several that was cut short",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", `${captureFile({})},${captureFile({ cutFileBytes: 7 })}`],
  /ends in the middle of a packet/,
);
refuses(
  "standard input to be played twice",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", "-", "-T", "2"],
  /-T: standard input can be played once only/,
);
refuses(
  "a network device where a file is expected",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", "lo"],
  /-i lo: .*network device.*--capture pcap/,
);
refuses(
  "a device that does not exist",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--capture", "pcap", "-i", "nodev0"],
  /neither a network device.*nor a file/,
);
refuses(
  "a snap length that makes no sense",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--capture", "pcap", "-S", "60"],
  /--snap-length.*256/,
);
refuses(
  "a capture without requests",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", captureFile({ port: 81 })],
  /none of its 1 packets.*most go to 10\.0\.0\.2:81/,
);
refuses(
  "a log file that cannot be written",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-l", "/nonexistent/log"],
  /log file.*cannot be opened/,
);
refuses(
  "a dump's log without addresses for its clients",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-i", dumpLog()],
  /does not say who the clients were: give them addresses with -c/,
);
refuses(
  "a dump's log among other files",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-c", "198.19.0.x", "-i", `${captureFile({})},${dumpLog()}`],
  /is a dump's log.*replay it alone/,
);
refuses(
  "a dump's log without requests",
  "tcpcopy",
  () => [...transfer, ...nowhere, "-c", "198.19.0.x", "-i", dumpLog(81)],
  /none of its 3 packets.*most go to 127\.0\.0\.1:81/,
);
refuses(
  "a bound of sampling without a strategy",
  "tcpcopy",
  () => [...transfer, ...nowhere, "--min-interval", "2"],
  /--min-interval.*--strategy/,
);
refuses(
  "a network to allow that is none",
  "intercept",
  () => ["-i", "lo", "--allow", "198.18.0.1,198.18.0.0/33"],
  /--allow "198\.18\.0\.0\/33": expected addresses or networks such as 192\.0\.2\.0\/24/,
);
refuses("no device", "intercept", () => [], /Missing option.*--device/);
refuses(
  "a device that does not exist",
  "intercept",
  () => ["-i", "nodev0"],
  /nodev0.*(lo|CAP_NET)/,
);
refuses(
  "a filter that does not compile",
  "intercept",
  () => ["-i", "lo", "-F", "nonsense filter"],
  /nonsense filter.*does not compile/,
);
refuses(
  "a filter that does not compile, with two workers",
  "intercept",
  () => ["-i", "lo", "-F", "nonsense filter", "--workers", "2"],
  /"nonsense filter".*does not compile/,
);
refuses(
  "a libpcap that is not there",
  "intercept",
  () => ["-i", "lo", "--libpcap", "/nonexistent.so"],
  /libpcap was not found.*apt-get install libpcap0\.8/,
);
refuses(
  "an address of another host",
  "intercept",
  () => ["-i", "lo", "-b", "198.18.9.9"],
  /EADDRNOTAVAIL/,
);

Deno.test("intercept: a port in use", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { code, lines } = await run("intercept", [
    ...["-i", "lo", "-b", "127.0.0.1"],
    ...["-p", String((listener.addr as Deno.NetAddr).port)],
  ]);
  assert.equal(lines.length, 1, lines.join("\n"));
  assert.match(lines[0], /EADDRINUSE.*another program/);
  assert.notEqual(code, 0);
});

Deno.test("tcpcopy: a terminal to be read in the background", async () => {
  const words = [Deno.execPath(), "run", "-A", "--quiet", `${root}src/tcpcopy/main.ts`];
  const command = [...words, ...transfer, ...nowhere, "-d", "-i", "-"].join(" ");
  const { code, stdout } = await new Deno.Command("script", {
    args: ["-qec", command, "/dev/null"],
    stdin: "null",
    signal: AbortSignal.timeout(20_000),
  }).output();
  const text = new TextDecoder().decode(stdout).trim();
  assert.match(text, /^tcpcopy: -d -i -: .* cannot read from a terminal: .*$/);
  assert.equal(code, 1);
});

for (
  const [program, args, how] of [
    ["tcpcopy", [...transfer, ...nowhere], ""],
    ["tcpcopy", [...transfer, ...nowhere, "--workers", "2"], ", two workers"],
    ["intercept", ["-i", "lo"], ""],
    ["intercept", ["-i", "lo", "--workers", "2"], ", two workers"],
  ] as const
) {
  Deno.test(`${program}: no privilege${how}`, async () => {
    // In a user namespace of its own the program has every right but those over the network.
    const output = await new Deno.Command("unshare", {
      args: [
        ...["--user", "--map-current-user", Deno.execPath(), "run", "-A", "--quiet"],
        ...[`${root}src/${program}/main.ts`, ...args],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      signal: AbortSignal.timeout(20_000),
    }).output();
    const lines = new TextDecoder().decode(output.stderr).trim().split("\n");
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0], /needs root or CAP_NET_RAW/);
    assert.notEqual(output.code, 0);
  });
}
