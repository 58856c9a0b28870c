/**
 * The cases of the lab by name: a workload, the wire it runs on, and how it is replayed. Pure.
 */

import { type LabOptions, SWALLOWING_DEVICE } from "./hosts.ts";
import type { LoginLoad } from "./logins.ts";
import type { NginxLoad } from "./nginx.ts";
import type { RedisLoad } from "./redis.ts";
import type { InterceptPlace } from "./programs.ts";
import type { ReplayPlan } from "./replay.ts";
import { type Workload, workloadNamed, workloads } from "./workloads.ts";

/** One row of the table. */
export interface Case {
  name: string;
  title: string;
  lab: LabOptions;
  plan: Omit<ReplayPlan, "directory">;
  /**
   * So many of the requests may reach the target before the whole reply they had waited for was
   * written, 0 to 1: only where replies are cut short on their way, so that nothing tells their end
   * but a silence. Default: none.
   */
  maxEarlyShare?: number;
  /** nginx and a load for it instead of our own server and client; counted, not compared. */
  nginx?: NginxLoad;
  /** Redis on both servers; calls are counted. */
  redis?: RedisLoad;
  /** Databases with different passwords; connections are counted. */
  logins?: LoginLoad;
  /** What `twisted_cases.ts` made it from, by name. */
  twisted?: { base: string; twist: string };
}

function simple(workload: Workload): Case {
  const { name, title } = workload;
  return { name, title, lab: {}, plan: { workloads: [workload] } };
}

const slowReader: Case = {
  ...simple(workloadNamed("slow-reader")),
  lab: { targetReceiveBytes: 65536 },
};

const joins: Case[] = ["join", "join-busy"].map((name) => {
  const made = simple(workloadNamed(name));
  return { ...made, plan: { ...made.plan, mode: "join" } };
});

const hard: Case[] = ["keepalive", "short", "mixed"].flatMap((name) => {
  const made = simple(workloadNamed(name));
  const lossPercent = 1;
  // A segment lost several times in a row comes seconds later: RFC 6298 doubles the time-out.
  const patient = { ...made.plan, quietMs: 15_000 };
  const maxEarlyShare = 0.01;
  return [
    {
      ...made,
      name: `${name}-loss`,
      title: `${made.title}; 1 % loss both ways on the target`,
      lab: { lossPercent },
      plan: patient,
      maxEarlyShare,
    },
    {
      ...made,
      name: `${name}-wire-loss`,
      title: `${made.title}; 1 % loss both ways in the switch`,
      lab: { lossPercent, lossAt: "switch" as const },
      plan: patient,
      maxEarlyShare,
    },
    {
      ...made,
      name: `${name}-offloads`,
      title: `${made.title}; segmentation offloads on`,
      lab: { offloads: true },
    },
  ];
});

const recorded = ["keepalive", "mixed"].map(workloadNamed).concat({
  ...workloadNamed("short"),
  connections: 1000,
});

/** Other ways of capture and injection than the default, and mirrored traffic. */
const ways: Case[] = ["keepalive", "mixed", "short"].flatMap((name) => {
  const made = simple(workloadNamed(name));
  const way = (
    suffix: string,
    title: string,
    args: string,
    { intercept = "", ...lab }: LabOptions & { intercept?: string } = {},
  ): Case => ({
    ...made,
    name: `${name}-${suffix}`,
    title: `${made.title}; ${title}`,
    lab,
    plan: {
      ...made.plan,
      tcpcopyArgs: args.split(" "),
      interceptArgs: intercept.split(" ").filter((word) => word !== ""),
      ...(lab.mirror && { tcpcopyHost: "mirror" }),
    },
  });
  return [
    way("raw", "by raw IP", "--inject raw"),
    way("pcap", "all by libpcap", "--capture pcap --inject pcap -o eth0", {
      intercept: "--capture pcap",
    }),
    way("ring-link", "packet rings on a device, frames", "--capture ring -i eth0 --inject link"),
    way("vxlan", "mirrored in VXLAN", "--capture pcap --decapsulate", { mirror: "vxlan" }),
  ];
});

/** Intercept elsewhere than on a host of its own. */
const placed: Case[] = ["keepalive", "mixed", "short"].flatMap((name) => {
  const made = simple(workloadNamed(name));
  const place = (
    suffix: string,
    title: string,
    interceptPlace: InterceptPlace,
    interceptArgs: string[] = [],
    lab: LabOptions = {},
  ): Case => ({
    ...made,
    name: `${name}-${suffix}`,
    title: `${made.title}; intercept on ${title}`,
    lab,
    plan: { ...made.plan, interceptPlace, interceptArgs },
  });
  const host = "target";
  const device = SWALLOWING_DEVICE;
  const byPcap = ["--capture", "pcap"];
  const alone: LabOptions = { answersTo: "nowhere", offloads: true };
  return [
    place("target", "the target", { host }),
    place("target-pcap", "the target, by libpcap", { host }, byPcap),
    ...(name !== "mixed" ? [] : [
      place("target-any", "the target, all devices", { host, device: "any" }),
      place("target-any-pcap", "the target, all devices, by libpcap", {
        host,
        device: "any",
      }, byPcap),
      place("target-alone", "the target, which has no assistant", { host, device }, [], alone),
      place("online", "the online server", { host: "online" }, [], { answersTo: "online" }),
    ]),
  ];
});

const mirrored = simple(workloadNamed("mixed"));
const spans: Case[] = ["pcap", "ring"].map((capture) => ({
  ...mirrored,
  name: `mixed-span-${capture}`,
  title: `${mirrored.title}; from a mirror port with ${capture}`,
  lab: { mirror: "span" },
  plan: {
    ...mirrored.plan,
    tcpcopyHost: "mirror",
    tcpcopyArgs: ["--capture", capture, "-i", "eth0"],
  },
}));

const special: Case[] = [
  {
    name: "vxlan-ring",
    title: "mixed sizes, mirrored in VXLAN, packet rings",
    lab: { mirror: "vxlan" },
    plan: {
      workloads: [workloadNamed("mixed")],
      tcpcopyHost: "mirror",
      tcpcopyArgs: ["--capture", "ring", "--decapsulate"],
    },
  },
  {
    name: "offline-forms",
    title: "one recording as pcapng, plain and compressed, from a file and standard input",
    lab: {},
    plan: {
      workloads: [workloadNamed("keepalive"), { ...workloadNamed("short"), connections: 200 }],
      mode: "offline",
      forms: ["pcap", "pcapng", "gzip", "zstd", "stdin"],
    },
  },
  {
    name: "offline-late",
    title: "uploads of 12 MB, a segment captured 8 MB late",
    lab: {},
    plan: {
      workloads: [{
        ...workloadNamed("upload"),
        connections: 3,
        concurrency: 1,
        requests: 4,
        pipeline: 4,
        requestBytes: [3_000_000, 3_000_000],
      }],
      mode: "offline",
      forms: ["late"],
    },
  },
  {
    name: "intercept-restart",
    title: "intercept killed and restarted in mid-run",
    lab: {},
    plan: {
      workloads: [workloadNamed("steady")],
      restartIntercept: { afterShare: 0.3, downMs: 700 },
    },
  },
  {
    name: "offline",
    title: "recorded with tcpdump, replayed from the file",
    lab: {},
    // It goes as fast as it can: where the cores are busy besides, answers that do not come for half a
    // second are given up by many sessions at once.
    maxEarlyShare: 0.002,
    plan: { workloads: recorded, mode: "offline" },
  },
  {
    name: "offline-fast",
    title: "recorded with tcpdump, replayed at -a 10",
    lab: {},
    plan: {
      workloads: [...recorded, workloadNamed("steady")],
      mode: "offline",
      tcpcopyArgs: ["-a", "10"],
    },
  },
  {
    name: "nginx-keepalive",
    title: "nginx under wrk, 20 connections, 5 s, keep-alive",
    lab: {},
    plan: { workloads: [] },
    nginx: { closes: false, connections: 20, seconds: 5 },
  },
  {
    name: "nginx-close",
    title: "nginx under wrk, 20 connections, 5 s, Connection: close",
    lab: {},
    plan: { workloads: [] },
    nginx: { closes: true, connections: 20, seconds: 5 },
  },
];

const own = [slowReader, ...joins];
const ownNames = new Set(own.map((made) => made.name));
const list: Case[] = [
  ...[...workloads.values()].filter((workload) => !ownNames.has(workload.name)).map(simple),
  ...own,
  ...hard,
  ...ways,
  ...placed,
  ...spans,
  ...special,
];

/** All cases by name. */
export const cases: ReadonlyMap<string, Case> = new Map(list.map((made) => [made.name, made]));
