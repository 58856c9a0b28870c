/**
 * The local endpoint: HTTP on a Unix socket, and for portrait data also on loopback TCP if asked for.
 *
 *     POST /portrait   {"businessType": "RPC", "port": 8080, "data": …}   202, or 409 with the reason
 *     GET  /status                                                        what is going on
 *     GET  /strategy                                                      both strategies
 *     PUT  /strategy/app, PUT /strategy/global   {"switch": "ON", …}      200, or 422 with the reason
 *     POST /reload                                                        read the files again
 *
 * Who may open the socket may control the dump; on TCP there is only /portrait.
 */

import { StrategyError, strategyJson, type StrategyLevel } from "../sampling/strategy.ts";
import type { Dump } from "./dump.ts";
import { MAX_PORTRAIT_BYTES } from "./portrait.ts";

/** Where to listen. */
export interface EndpointOptions {
  dump: Dump;
  /** Path of the Unix socket, and its permissions. */
  path?: string;
  mode?: number;
  /** A loopback address for portrait data. */
  tcp?: { hostname: string; port: number };
  /** Reads the configuration files again; returns why they were refused. */
  reload(): string | undefined;
}

/** A request that takes longer to come is given up. */
const READ_TIMEOUT_MS = 5_000;

export class Endpoint {
  /** The port of the TCP endpoint, when there is one. */
  readonly tcpPort: number | undefined;
  readonly #options: EndpointOptions;
  readonly #servers: Deno.HttpServer<Deno.Addr>[] = [];

  /** @throws Error when the socket's path or the address cannot be used */
  private constructor(options: EndpointOptions) {
    this.#options = options;
    const { path, mode, tcp } = options;
    const quiet = { onListen: () => {} };
    if (path !== undefined) {
      const handler = (request: Request) => this.#serve(request, true);
      this.#servers.push(Deno.serve({ path, ...quiet }, handler));
      Deno.chmodSync(path, mode ?? 0o660);
    }
    if (tcp !== undefined) {
      const handler = (request: Request) => this.#serve(request, false);
      const server = Deno.serve({ ...tcp, ...quiet }, handler);
      this.tcpPort = server.addr.port;
      this.#servers.push(server);
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
    await Promise.all(this.#servers.map((server) => server.shutdown()));
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

  async #serve(request: Request, mayControl: boolean): Promise<Response> {
    const { pathname } = new URL(request.url);
    const action = `${request.method} ${pathname}`;
    const { dump } = this.#options;
    if (action === "POST /portrait") {
      // A web page can send such a request to this host unasked, but not with this type.
      const type = request.headers.get("content-type") ?? "";
      if (!mayControl && !/^application\/json\b/i.test(type)) {
        return answer(415, { error: `expected Content-Type: application/json, came "${type}"` });
      }
      return await withBody(request, (body) => {
        const refusal = dump.report(body);
        if (refusal === undefined) return answer(202, { accepted: true, window: dump.window });
        return answer(409, { accepted: false, error: refusal });
      });
    }
    if (mayControl) {
      if (action === "GET /status") return answer(200, dump.status());
      if (action === "GET /strategy") return answer(200, strategies(dump));
      if (action === "POST /reload") {
        const refusal = this.#options.reload();
        if (refusal === undefined) return answer(200, strategies(dump));
        return answer(422, { error: refusal, ...strategies(dump) });
      }
      const level = /^PUT \/strategy\/(app|global)$/.exec(action)?.[1] as StrategyLevel | undefined;
      if (level !== undefined) {
        return await withBody(request, (body) => this.#update(level, body));
      }
    }
    const known = mayControl
      ? "POST /portrait, GET /status, GET /strategy, PUT /strategy/app, PUT /strategy/global, POST /reload"
      : "POST /portrait";
    return answer(404, { error: `expected ${known}, came ${action}` });
  }

  #update(level: StrategyLevel, body: unknown): Response {
    const { dump } = this.#options;
    try {
      dump.sampling.update(level, body);
      dump.log.info(`new ${level} strategy: ${JSON.stringify(strategies(dump)[level])}`);
      return answer(200, strategies(dump));
    } catch (error) {
      if (!(error instanceof StrategyError)) throw error;
      dump.log.warn(`a new ${level} strategy was refused, the old one stays: ${error.message}`);
      return answer(422, { error: error.message, ...strategies(dump) });
    }
  }
}

function strategies(dump: Dump): Record<StrategyLevel, Record<string, unknown>> {
  return { app: strategyJson(dump.sampler.app), global: strategyJson(dump.sampler.global) };
}

function answer(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body) + "\n", {
    status,
    headers: { "content-type": "application/json" },
  });
}

async function withBody(
  request: Request,
  use: (body: unknown) => Response,
): Promise<Response> {
  const text = await readBody(request);
  if (text === undefined) {
    return answer(413, { error: `expected at most ${MAX_PORTRAIT_BYTES} bytes, within 5 s` });
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    return answer(400, { error: `expected JSON: ${(error as Error).message}` });
  }
  return use(body);
}

/** The body as text; undefined when it is too long or does not come. */
async function readBody(request: Request): Promise<string | undefined> {
  if (request.body === null) return "";
  const reader = request.body.getReader();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    reader.cancel();
  }, READ_TIMEOUT_MS);
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > MAX_PORTRAIT_BYTES) return undefined;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    return undefined; // the sender is gone
  } finally {
    clearTimeout(timer);
  }
  return isLate ? undefined : text + decoder.decode();
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
