/**
 * Network filters: what looks at a connection's request data on its way to the service. The shape is
 * that of MOSN's and Layotto's read filters. Pure.
 */

/** What becomes of the data a filter has seen. */
export type FilterStatus =
  /** It goes on, to the next filter and to the service. */
  | "continue"
  /** It ends here: no other filter and not the service get it. */
  | "stop"
  /** The connection is closed. */
  | "close";

/** One connection, for all its filters. */
export interface FilterContext {
  /** 1, 2, … in the order of acceptance. */
  readonly connectionId: number;
  readonly clientAddress: string;
  readonly clientPort: number;
  /** The port the client has connected to. */
  readonly port: number;
  /** Bytes the service has answered so far. */
  readonly repliedBytes: number;
  /** A place for what filters want to remember. */
  readonly values: Map<string, unknown>;
  /** Sends bytes to the client, past the service. */
  reply(bytes: Uint8Array): Promise<void>;
}

/** What sees the data of connections. What is returned late holds the connection up. */
export interface NetworkFilter {
  onNewConnection?(context: FilterContext): FilterStatus | Promise<FilterStatus>;
  /** The bytes are only valid until the status is there; what is to be kept must be copied. */
  onData?(context: FilterContext, bytes: Uint8Array): FilterStatus | Promise<FilterStatus>;
  onClose?(context: FilterContext): void;
}

/** Several filters, one after the other. */
export class FilterChain {
  readonly #filters: readonly NetworkFilter[];

  constructor(filters: readonly NetworkFilter[]) {
    this.#filters = filters;
  }

  /** Asks until one says something else than "continue". */
  onNewConnection(context: FilterContext): FilterStatus | Promise<FilterStatus> {
    return this.#ask(0, (filter) => filter.onNewConnection?.(context));
  }

  onData(context: FilterContext, bytes: Uint8Array): FilterStatus | Promise<FilterStatus> {
    return this.#ask(0, (filter) => filter.onData?.(context, bytes));
  }

  onClose(context: FilterContext): void {
    for (const filter of this.#filters) filter.onClose?.(context);
  }

  /** Without a promise as long as no filter makes one: that would cost every piece of data a turn. */
  #ask(
    from: number,
    question: (filter: NetworkFilter) => FilterStatus | Promise<FilterStatus> | undefined,
  ): FilterStatus | Promise<FilterStatus> {
    for (let index = from; index < this.#filters.length; index++) {
      const answer = question(this.#filters[index]) ?? "continue";
      if (answer === "continue") continue;
      if (typeof answer === "string") return answer;
      return answer.then((status) =>
        status === "continue" ? this.#ask(index + 1, question) : status
      );
    }
    return "continue";
  }
}

/**
 * Loads a filter from a module: its default export is a filter, or a function that makes one.
 *
 * @throws Error that says what was expected
 */
export async function loadFilter(url: string): Promise<NetworkFilter> {
  const module = await import(url);
  const made = typeof module.default === "function" ? await module.default() : module.default;
  const isFilter = typeof made === "object" && made !== null &&
    (["onNewConnection", "onData", "onClose"] as const).some((name) =>
      typeof made[name] === "function"
    );
  if (!isFilter) {
    throw new Error(
      `${url}: expected a default export with onNewConnection, onData or onClose, ` +
        "or a function that returns one",
    );
  }
  return made as NetworkFilter;
}
