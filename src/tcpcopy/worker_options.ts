/** The option that shares the work among threads, and what does not go together with it. */

import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { isReadOnce } from "../capture/byte_stream.ts";
import { UsageError } from "../cli/fatal.ts";
import { MAX_WORKERS, parseWorkers } from "../cli/workers.ts";
import { minMemoryMb } from "./memory_guard.ts";
import type { PortShare } from "./port_share.ts";

/** What our intercept accepts from all tcpcopys together. */
const MAX_TUNNEL_CONNECTIONS = 64;

export const workerOptions = object("Threads", {
  workers: withDefault(
    option("--workers", string({ metavar: "N" }), {
      description: message`Threads that share the connections, 1 to ${
        String(MAX_WORKERS)
      }, each with its own capture, sessions and -C tunnel connections; "auto": one less than there are cores, for the service to keep one, and not more than 8. With --capture pcap, or ring on devices, each of them looks at every packet.`,
    }),
    "1",
  ),
});

/** The options that bear on it. */
interface GivenWorkers {
  readonly workers: string;
  readonly memory: number;
  readonly connections: number;
  readonly single: boolean;
}

/**
 * Makes sense of the option; looks at the files.
 *
 * @param files capture files to replay, if any
 * @returns how many threads share the connections
 * @throws UsageError for what workers cannot do
 */
export function workersOf(
  given: GivenWorkers,
  ports: PortShare,
  files: readonly string[],
): number {
  const workers = parseWorkers(given.workers);
  if (workers === 1) return workers;
  if (given.memory < minMemoryMb(workers)) {
    throw new UsageError(
      `-m ${given.memory}: ${workers} workers need at least ${minMemoryMb(workers)} MB; ` +
        "raise -m, or lower --workers",
    );
  }
  if (workers * given.connections > MAX_TUNNEL_CONNECTIONS) {
    throw new UsageError(
      `--workers ${workers} with -C ${given.connections}: an intercept takes at most ` +
        `${MAX_TUNNEL_CONNECTIONS} connections; lower one of them`,
    );
  }
  if (given.single) {
    throw new UsageError(
      `--single with --workers ${workers}: intercept would not know which worker a response is ` +
        "for; leave one of them out",
    );
  }
  if (ports.portShift > 0) {
    throw new UsageError(
      `-f with --workers ${workers}: each worker has ports of its own, which cannot be moved up; ` +
        "share the ports among the instances, such as -f 0/2 and -f 1/2",
    );
  }
  if (files.some(isReadOnce)) {
    throw new UsageError(
      `--workers ${workers}: each worker reads the files, and standard input and pipes can be ` +
        "read once only; save the capture to a file first, or leave --workers out",
    );
  }
  return workers;
}
