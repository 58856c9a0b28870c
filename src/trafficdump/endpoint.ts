/**
 * The local endpoint: HTTP on a Unix socket, and for portrait data also on loopback TCP if asked for.
 *
 *     POST /portrait   {"businessType": "RPC", "port": 8080, "data": …}   202, or 422 for what is no
 *                       report and 409 for one that is not wanted now, with the reason
 *     GET  /status                                                        what is going on
 *     GET  /strategy                                                      both strategies
 *     PUT  /strategy/app, PUT /strategy/global   {"switch": "ON", …}      200, or 422 with the reason
 *     POST /reload                                                        read the files again
 *
 * Who may open the socket may control the dump; on TCP there is only /portrait.
 */

import { withGroup } from "../../ffi/file_group.ts";
import { StrategyError, strategyJson, type StrategyLevel } from "../sampling/strategy.ts";
import { MAX_ENDPOINT_CONNECTIONS } from "./descriptor_limit.ts";
import type { Dump } from "./dump.ts";
import {
  type Answer,
  EndpointCounters,
  EndpointListener,
  type WholeRequest,
} from "./endpoint_listener.ts";
import { assertDepth, parseExactly } from "./exact_json.ts";
import { MAX_PORTRAIT_BYTES, PortraitError } from "./portrait.ts";
import { RareWarnings } from "./rare_warnings.ts";

/** Where to listen. */
export interface EndpointOptions {
  dump: Dump;
  /** Path of the Unix socket, and its permissions. */
  path?: string;
  mode?: number;
  /** The socket's group, by number; `undefined` for that of the process. */
  groupId?: number;
  /** A loopback address for portrait data. */
  tcp?: { hostname: string; port: number };
  /** Reads the configuration files again; returns why they were refused. */
  reload(): string | undefined;
  /** What else belongs to the status, by name. */
  status?(): Record<string, unknown>;
}

/** What each listener may have open; together they stay within what is reserved for them. */
const MAX_CONNECTIONS = MAX_ENDPOINT_CONNECTIONS / 2;
/** A request that takes longer to come and to be answered is given up. */
const TIMEOUT_MS = 5_000;

export class Endpoint {
  /** The port of the TCP endpoint, when there is one. */
  readonly tcpPort: number | undefined;
  readonly counters = new EndpointCounters();
  readonly #options: EndpointOptions;
  readonly #listeners: EndpointListener[] = [];
  readonly #running: Promise<void>[] = [];

  /** @throws Error when the socket's path or the address cannot be used */
  private constructor(options: EndpointOptions) {
    this.#options = options;
    const { path, mode, groupId, tcp } = options;
    try {
      if (path !== undefined) {
        this.#listen(withGroup(groupId, () => listenOn(path, mode ?? 0o660)), true);
      }
      if (tcp !== undefined) {
        const listener = Deno.listen(tcp);
        this.tcpPort = listener.addr.port;
        this.#listen(listener, false);
      }
    } catch (error) {
      for (const listener of this.#listeners) listener.close();
      throw error;
    }
  }

  /**
   * Begins to listen. A socket that nobody listens on any more is replaced.
   *
   * @throws Error when another program listens, or the place cannot be used
   */
  static async open(options: EndpointOptions): Promise<Endpoint> {
    if (options.path !== undefined) await removeStale(options.path);
    try {
      return new Endpoint(options);
    } catch (error) {
      const { path, tcp } = options;
      const where = [path, tcp === undefined ? undefined : `${tcp.hostname}:${tcp.port}`];
      throw new Error(
        `the endpoint cannot listen on ${where.filter(Boolean).join(" and ")}: ` +
          (error as Error).message,
      );
    }
  }

  async close(): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    await Promise.all(this.#running);
    const { path } = this.#options;
    if (path === undefined) return;
    try {
      Deno.removeSync(path);
    } catch (error) {
      // After root was given up the directory may be out of reach; the next start replaces it.
      const isExpected = error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.PermissionDenied;
      if (!isExpected) throw error;
    }
  }

  #listen(listener: Deno.Listener, mayControl: boolean): void {
    const made = new EndpointListener({
      listener,
      maxConnections: MAX_CONNECTIONS,
      maxBodyBytes: MAX_PORTRAIT_BYTES,
      timeoutMs: TIMEOUT_MS,
      warnings: new RareWarnings(this.#options.dump.log, "endpoint"),
      counters: this.counters,
      answer: (request) => this.#answer(request, mayControl),
    });
    this.#listeners.push(made);
    this.#running.push(made.run());
  }

  #answer(request: WholeRequest, mayControl: boolean): Answer {
    const { action, contentType } = request;
    const { dump } = this.#options;
    if (action === "POST /portrait") {
      // A web page can send such a request to this host unasked, but not with this type.
      if (!mayControl && !/^application\/json\b/i.test(contentType)) {
        return refusal(415, `expected Content-Type: application/json, came "${contentType}"`);
      }
      return withBody(request, parseExactly, (body) => this.#report(body));
    }
    if (mayControl) {
      if (action === "GET /status") return { status: 200, body: this.#status() };
      if (action === "GET /strategy") return { status: 200, body: strategies(dump) };
      if (action === "POST /reload") {
        const error = this.#options.reload();
        if (error === undefined) return { status: 200, body: strategies(dump) };
        return { status: 422, body: { error, ...strategies(dump) } };
      }
      const level = /^PUT \/strategy\/(app|global)$/.exec(action)?.[1] as StrategyLevel | undefined;
      if (level !== undefined) {
        return withBody(request, JSON.parse, (body) => this.#update(level, body));
      }
    }
    const known = mayControl
      ? "POST /portrait, GET /status, GET /strategy, PUT /strategy/app, PUT /strategy/global, POST /reload"
      : "POST /portrait";
    return refusal(404, `expected ${known}, came ${action}`);
  }

  #status(): Record<string, unknown> {
    const { dump, status } = this.#options;
    return { ...dump.status(), endpoint: { ...this.counters }, ...status?.() };
  }

  #report(body: unknown): Answer {
    const { dump } = this.#options;
    try {
      const error = dump.report(body);
      if (error !== undefined) return { status: 409, body: { accepted: false, error } };
      return { status: 202, body: { accepted: true, window: dump.window } };
    } catch (error) {
      if (!(error instanceof PortraitError)) throw error;
      return { status: 422, body: { accepted: false, error: error.message } };
    }
  }

  #update(level: StrategyLevel, body: unknown): Answer {
    const { dump } = this.#options;
    try {
      dump.sampling.update(level, body, "the endpoint");
      dump.log.info(
        `new ${level} strategy: ${JSON.stringify(body)}; sampling is ${dump.sampling.describe()}`,
      );
      return { status: 200, body: strategies(dump) };
    } catch (error) {
      if (!(error instanceof StrategyError)) throw error;
      dump.log.warn(`a new ${level} strategy was refused, the old one stays: ${error.message}`);
      return { status: 422, body: { error: error.message, ...strategies(dump) } };
    }
  }
}

/** What is in force, and who forbids all sampling if somebody does. */
function strategies({ sampler }: Dump): Record<string, unknown> {
  return {
    app: strategyJson(sampler.app),
    global: strategyJson(sampler.global),
    forcedOffBy: sampler.forcedOffBy ?? null,
  };
}

function refusal(status: number, error: string): Answer {
  return { status, body: { error } };
}

function withBody(
  request: WholeRequest,
  parse: (text: string) => unknown,
  use: (body: unknown) => Answer,
): Answer {
  let body: unknown;
  try {
    assertDepth(request.body);
    body = parse(request.body);
  } catch (error) {
    return refusal(400, `expected JSON: ${(error as Error).message}`);
  }
  return use(body);
}

async function removeStale(path: string): Promise<void> {
  try {
    const connection = await Deno.connect({ transport: "unix", path });
    connection.close();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    if (Deno.lstatSync(path).isSocket) Deno.removeSync(path);
    return;
  }
  throw new Error(`another program listens on ${path}: is a trafficdump running already?`);
}

/** Made with its rights: whoever may change the directory cannot have those of another file changed. */
function listenOn(path: string, mode: number): Deno.Listener {
  const before = Deno.umask(~mode & 0o777);
  try {
    return Deno.listen({ transport: "unix", path });
  } finally {
    Deno.umask(before);
  }
}
