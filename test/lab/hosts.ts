/**
 * Four hosts on one wire: client, online server, target server, assistant server.
 *
 * Each is a network namespace with one veth to a bridge in a fifth one, the switch. Everything is
 * made inside the sandbox of `enter.ts` and is gone with it; nothing of the machine is touched.
 * The target sends what is for 198.19.0.0/16 (the replayed clients) to the assistant, which does
 * not forward, unless a case says otherwise.
 */

import { LabProcess } from "./process.ts";

/** The hosts of a lab. */
export type HostName =
  | "client"
  | "online"
  | "target"
  | "assistant"
  | "online2"
  | "target2"
  | "mirror";

/** Their addresses, all in 198.18.0.0/24. */
export const addresses: Readonly<Record<HostName, string>> = {
  client: "198.18.0.10",
  online: "198.18.0.1",
  target: "198.18.0.2",
  assistant: "198.18.0.3",
  online2: "198.18.0.4",
  target2: "198.18.0.5",
  mirror: "198.18.0.6",
};

/** Addresses of replayed clients, routed to the assistant on the target. */
export const REPLAY_NETWORK = "198.19.0.0/16";

/** How the lab is built. */
export interface LabOptions {
  /** Segmentation and checksum offloads stay on, so that "packets" of up to 64 kB are seen. */
  offloads?: boolean;
  /** Random loss of replayed packets on their way to the target, and of the target's on theirs. */
  lossPercent?: number;
  /**
   * Where they are lost: in the target's own input and output (where a lost outgoing packet is an
   * error of the sending call, and the kernel knows), or in the switch (where nobody knows).
   */
  lossAt?: "target" | "switch";
  /** Largest receive buffer of a socket on the target: makes its window close. */
  targetReceiveBytes?: number;
  /**
   * Where the target sends what is for the replayed clients: to a host that does not forward (default:
   * the assistant), or "nowhere": to a device that swallows it.
   */
  answersTo?: HostName | "nowhere";
  /** Whether there are a second online and a second target server. */
  second?: boolean;
  /**
   * Adds a host that gets a copy of the online server's traffic: from the switch as it is ("span":
   * the client's frames), or from the online server wrapped in VXLAN, both directions.
   */
  mirror?: "span" | "vxlan";
}

const hostsOfAll: readonly HostName[] = ["client", "online", "target", "assistant"];
const hostsOfSome: readonly HostName[] = ["online2", "target2", "mirror"];

/** Where the application listens, and where VXLAN packets go. */
const APPLICATION_PORT = 8080;
const VXLAN_PORT = 4789;
/** Room for a whole packet with VXLAN around it. */
const MIRROR_MTU_BYTES = 1600;

/** What to install when a program is missing, by program. */
const packages: Readonly<Record<string, string>> = {
  ip: "iproute2",
  ethtool: "ethtool",
  nft: "nftables",
  nsenter: "util-linux",
  unshare: "util-linux",
  tcpdump: "tcpdump",
  nginx: "nginx",
  wrk: "wrk",
  h2load: "nghttp2-client",
  "redis-check-rdb": "redis-tools",
  "redis-benchmark": "redis-tools",
  mariadbd: "mariadb-server",
  "mariadb-install-db": "mariadb-server",
  mariadb: "mariadb-client",
  psql: "postgresql",
  setpriv: "util-linux",
  sysctl: "procps",
  sh: "dash",
};

/** Directories of programs; those for administrators are not in every user's PATH. */
const programDirectories = [
  ...new Set([...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin", "/usr/bin"]),
].filter((directory) => directory !== "");

/**
 * Makes sure that programs are there.
 *
 * @throws Error saying what to install
 */
export function requirePrograms(names: readonly string[]): void {
  const missing = names.filter((name) =>
    !programDirectories.some((directory) => fileExists(`${directory}/${name}`))
  );
  if (missing.length === 0) return;
  const needed = [...new Set(missing.map((name) => packages[name] ?? name))].join(" ");
  throw new Error(`the lab needs ${missing.join(", ")}: apt-get install ${needed}`);
}

/** Whether there is anything at `path`. */
export function fileExists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    if (error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}

/** Four hosts, and the processes that run on them. */
export class Lab {
  readonly #processes: LabProcess[] = [];
  /** The namespace in which packets are lost. */
  #lossAt: "target" | "switch" | undefined;
  #closed = false;

  private constructor() {}

  /**
   * Builds the hosts. Must run inside the sandbox, one lab at a time.
   *
   * @throws Error with the message of the command that failed
   */
  static async create(options: LabOptions = {}): Promise<Lab> {
    requirePrograms(["ip", "sh", "nsenter", ...(options.offloads ? [] : ["ethtool"])]);
    const lab = new Lab();
    try {
      await lab.#build(options);
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  async #build(options: LabOptions): Promise<void> {
    const hostNames: HostName[] = [...hostsOfAll];
    if (options.second) hostNames.push("online2", "target2");
    if (options.mirror) hostNames.push("mirror");
    await run(["ip", "-batch", "-"], [
      "netns add switch",
      ...hostNames.map((host) => `netns add ${host}`),
      ...hostNames.map((host) =>
        `link add name ${portOf(host)} netns switch type veth peer name eth0 netns ${host}`
      ),
    ]);
    await run(["ip", "-n", "switch", "-batch", "-"], [
      "link add br0 type bridge",
      "link set br0 up",
      ...hostNames.map((host) => `link set ${portOf(host)} master br0 up`),
    ]);
    const switchPorts = hostNames.map(portOf);
    await inNamespace(
      "switch",
      noIpv6 + plainSwitch + (options.offloads ? "" : offloadsOff(switchPorts)),
    );
    for (const host of hostNames) {
      await inNamespace(
        host,
        noIpv6 + kernelSettings + (options.offloads ? "" : offloadsOff([
          "eth0",
        ])),
      );
      await run(["ip", "-n", host, "-batch", "-"], [
        "link set lo up",
        `address add ${addresses[host]}/24 dev eth0`,
        "link set eth0 up",
      ]);
      if (host.startsWith("target")) await sendAnswers(host, options.answersTo ?? "assistant");
    }
    const receiveBytes = options.targetReceiveBytes;
    if (receiveBytes !== undefined) {
      const limits = `4096 ${receiveBytes} ${receiveBytes}`;
      await inNamespace("target", `echo ${limits} > /proc/sys/net/ipv4/tcp_rmem`);
    }
    if (options.mirror) await mirrorTraffic(options.mirror);
    if (options.lossPercent) await this.#lose(options.lossPercent, options.lossAt ?? "target");
  }

  async #lose(percent: number, at: "target" | "switch"): Promise<void> {
    requirePrograms(["nft"]);
    const drop = `numgen random mod 100000 < ${Math.round(percent * 1000)} counter drop`;
    const from = `ip saddr ${REPLAY_NETWORK} ${drop}`;
    const to = `ip daddr ${REPLAY_NETWORK} ${drop}`;
    const rules = at === "target"
      ? [
        "table ip lab {",
        `chain in { type filter hook input priority 0; ${from}; }`,
        `chain out { type filter hook output priority 0; ${to}; }`,
        "}",
      ]
      : [
        "table bridge lab {",
        `chain pass { type filter hook forward priority 0; ${from}; ${to}; }`,
        "}",
      ];
    await run(["nsenter", `--net=/run/netns/${at}`, "nft", "-f", "-"], rules);
    this.#lossAt = at;
  }

  /** Packets lost so far, on their way to the target and from it; `undefined`: none are to be. */
  async lostPackets(): Promise<number | undefined> {
    if (this.#lossAt === undefined) return undefined;
    const text = await run([
      "nsenter",
      `--net=/run/netns/${this.#lossAt}`,
      "nft",
      "list",
      "ruleset",
    ]);
    return [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, m) => sum + Number(m[1]), 0);
  }

  /** Has a host send what is for a network to another host. */
  async route(host: HostName, network: string, via: HostName): Promise<void> {
    await run(["ip", "-n", host, "route", "add", network, "via", addresses[via]]);
  }

  /**
   * Starts a program on a host.
   *
   * @param argv program and arguments, nothing is interpreted
   */
  spawn(
    host: HostName,
    argv: readonly string[],
    options: { name?: string; cwd?: string; env?: Record<string, string> } = {},
  ): LabProcess {
    if (this.#closed) throw new Error("the lab is closed");
    const child = new Deno.Command("nsenter", {
      args: [`--net=/run/netns/${host}`, "--", ...argv],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      cwd: options.cwd,
      env: { ...options.env, NO_COLOR: "1", PATH: programDirectories.join(":") },
    }).spawn();
    const process = new LabProcess(options.name ?? `${argv[0]} on ${host}`, child);
    this.#processes.push(process);
    return process;
  }

  /** Ends all processes, last started first, and removes the hosts. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const process of this.#processes.reverse()) await process.stop(2_000, "SIGTERM");
    for (const host of ["switch", ...hostsOfAll, ...hostsOfSome]) {
      if (fileExists(`/run/netns/${host}`)) await run(["ip", "netns", "delete", host]);
    }
  }
}

/** The device that swallows what it is given. */
export const SWALLOWING_DEVICE = "replay0";

/** Has a target send what is for the replayed clients to a host or nowhere. */
async function sendAnswers(target: HostName, to: HostName | "nowhere"): Promise<void> {
  const way = to === "nowhere" ? `dev ${SWALLOWING_DEVICE}` : `via ${addresses[to]}`;
  if (to === "nowhere") {
    const add = `ip link add name ${SWALLOWING_DEVICE} up type`;
    // Not every kernel has the first one; both swallow what they are given.
    await inNamespace(target, `${add} dummy 2>/dev/null || ${add} ifb`);
  }
  await run(["ip", "-n", target, "route", "add", REPLAY_NETWORK, ...way.split(" ")]);
}

/** Copies what the online server receives (with VXLAN, also what it sends) to the mirror host. */
async function mirrorTraffic(kind: "span" | "vxlan"): Promise<void> {
  requirePrograms(["nft"]);
  const copy = (hook: string, device: string, match: string, to: string) =>
    `chain ${hook} { type filter hook ${hook} device ${device} priority 0; ${match} dup to ${to}; }`;
  if (kind === "span") {
    await run(["nsenter", "--net=/run/netns/switch", "nft", "-f", "-"], [
      "table netdev lab {",
      copy("ingress", portOf("client"), `tcp dport ${APPLICATION_PORT}`, portOf("mirror")),
      "}",
    ]);
    return;
  }
  for (const host of ["online", "mirror"] as const) {
    await run(["ip", "-n", "switch", "link", "set", portOf(host), "mtu", `${MIRROR_MTU_BYTES}`]);
    await run(["ip", "-n", host, "link", "set", "eth0", "mtu", `${MIRROR_MTU_BYTES}`]);
  }
  await run(["ip", "-n", "online", "-batch", "-"], [
    `link add copy0 type vxlan id 42 local ${addresses.online} remote ${addresses.mirror} ` +
    `dstport ${VXLAN_PORT} dev eth0`,
    "link set copy0 up mtu 1500",
  ]);
  await run(["nsenter", "--net=/run/netns/online", "nft", "-f", "-"], [
    "table netdev lab {",
    copy("ingress", "eth0", `tcp dport ${APPLICATION_PORT}`, "copy0"),
    copy("egress", "eth0", `tcp sport ${APPLICATION_PORT}`, "copy0"),
    "}",
  ]);
}

function portOf(host: HostName): string {
  return `p-${host}`;
}

const noIpv6 = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done\n";

/** Where the bridge can hand packets to iptables it does not: a switch has no such thing. */
const plainSwitch = `
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
  echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables
fi
`;

/** A new namespace takes some values from the machine: what matters is set. */
const kernelSettings = `
echo 0 > /proc/sys/net/ipv4/ip_forward
for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done
echo 4096 > /proc/sys/net/core/somaxconn
echo 8192 > /proc/sys/net/ipv4/tcp_max_syn_backlog
`;

function offloadsOff(devices: readonly string[]): string {
  return devices.map((device) =>
    `ethtool -K ${device} tx off rx off tso off gso off gro off || exit 1\n`
  ).join("");
}

/** Writes a command's input; one that ended before it had read all says why by its exit code. */
async function feed(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  try {
    const writer = stdin.getWriter();
    if (text !== "") await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Runs shell commands on a host. */
export async function inNamespace(name: string, script: string): Promise<void> {
  await run(["nsenter", `--net=/run/netns/${name}`, "--", "sh"], [script]);
}

/** Runs a short command to its end; returns its standard output. */
export async function run(argv: readonly string[], input: readonly string[] = []): Promise<string> {
  const child = new Deno.Command(argv[0], {
    args: argv.slice(1),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { PATH: programDirectories.join(":") },
  }).spawn();
  const text = input.map((line) => line + "\n").join("");
  const [output] = await Promise.all([child.output(), feed(child.stdin, text)]);
  if (output.success) return new TextDecoder().decode(output.stdout);
  const message = new TextDecoder().decode(output.stderr).trim();
  throw new Error(`${argv.join(" ")} failed with code ${output.code}: ${message}`);
}
