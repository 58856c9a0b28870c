/**
 * A network filter as a user would write one: counts what it sees, answers a question itself, and
 * closes connections it does not like.
 */

import type { FilterContext, FilterStatus } from "../../src/trafficdump/filter.ts";

let connections = 0;
let bytes = 0;
let open = 0;

const startsWith = (data: Uint8Array, text: string) =>
  new TextDecoder().decode(data.subarray(0, text.length)) === text;

export default {
  onNewConnection(): FilterStatus {
    connections++;
    open++;
    return "continue";
  },
  onData(context: FilterContext, data: Uint8Array): FilterStatus | Promise<FilterStatus> {
    if (startsWith(data, "FORBIDDEN")) return "close";
    if (startsWith(data, "COUNTS?")) {
      const counts = JSON.stringify({ connections, bytes, open, port: context.port });
      return context.reply(new TextEncoder().encode(counts)).then(() => "stop");
    }
    bytes += data.length;
    return "continue";
  },
  onClose(): void {
    open--;
  },
};
