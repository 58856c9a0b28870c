/** A filter that takes every descriptor there is when it reads HOARD, and gives them back a little later. */

import type { NetworkFilter } from "../../src/trafficdump/filter.ts";

const HOLD_MS = 1_000;

export default {
  onData(_context, bytes) {
    if (!new TextDecoder().decode(bytes).startsWith("HOARD")) return "continue";
    const files: Deno.FsFile[] = [];
    try {
      for (;;) files.push(Deno.openSync("/dev/null"));
    } catch (error) {
      console.error(`hoarded ${files.length}: ${(error as Error).message}`);
    }
    setTimeout(() => {
      for (const file of files) file.close();
      console.error("given back");
    }, HOLD_MS);
    return "continue";
  },
} satisfies NetworkFilter;
