/** What is done to the tool while the online server is under load. */

import type { LabProcess } from "../../test/lab/process.ts";
import type { RunningReplay } from "../../test/lab/running_replay.ts";
import { ControlGroup } from "./control_group.ts";

/** One of the things that are compared. */
export interface Condition {
  name: string;
  /** Whether the tool runs at all. */
  hasTool: boolean;
  /** Called when it is ready, before the load. Returns groups to be removed when all has ended. */
  prepare?(replay: RunningReplay): ControlGroup[];
  /** What happens to it, and when: as a share of the measured time, from 0 to 1. */
  event?: { at: number; act(tcpcopy: LabProcess): void };
  /** Whether tcpcopy ends by itself or is ended. */
  endsEarly?: boolean;
}

/** A limit of what the tool is meant to cost at most, percent of one core. */
const CPU_PERCENT = 20;
/** Far less than it takes anew under load: the kernel looks for memory in vain, and kills it. */
const MEMORY_BYTES = 8 << 20;

/** The first is what the others are compared with. */
export const CONDITIONS: readonly Condition[] = [
  { name: "without the tool", hasTool: false },
  { name: "capturing and replaying", hasTool: true },
  {
    name: "tcpcopy frozen (SIGSTOP)",
    hasTool: true,
    event: { at: 0, act: (tcpcopy) => tcpcopy.signal("SIGSTOP") },
  },
  {
    name: "tcpcopy killed in the middle (SIGKILL)",
    hasTool: true,
    event: { at: 0.5, act: (tcpcopy) => tcpcopy.signal("SIGKILL") },
    endsEarly: true,
  },
  {
    name: `tcpcopy out of memory (${MEMORY_BYTES >> 20} MiB more than at its start)`,
    hasTool: true,
    prepare: ({ tcpcopy }) => {
      const group = new ControlGroup({ memoryBytes: MEMORY_BYTES });
      group.add(tcpcopy.pid);
      return [group];
    },
    endsEarly: true,
  },
  {
    name: `tcpcopy and intercept limited to ${CPU_PERCENT} % of a core each`,
    hasTool: true,
    prepare: ({ tcpcopy, intercept }) =>
      [tcpcopy, intercept].map((process) => {
        const group = new ControlGroup({ cpuPercent: CPU_PERCENT });
        group.add(process.pid);
        return group;
      }),
  },
];
