import assert from "node:assert/strict";
import { isInPartition, partitionOf, WHOLE } from "../../src/wire/partition.ts";

/** How many of the ports are in each part. */
function spread(ports: Iterable<number>, count: number): number[] {
  const parts = Array<number>(count).fill(0);
  for (const port of ports) parts[partitionOf(port, count)]++;
  return parts;
}

function* range(first: number, last: number, step: number): Generator<number> {
  for (let port = first; port <= last; port += step) yield port;
}

Deno.test("ports are spread evenly, also those of clients that use every second or fourth", () => {
  for (const count of [2, 3, 4, 7, 8, 16]) {
    for (const [first, step] of [[32_768, 1], [32_768, 2], [32_769, 2], [32_768, 4]] as const) {
      const parts = spread(range(first, 60_999, step), count);
      const fair = parts.reduce((sum, part) => sum + part) / count;
      for (const part of parts) {
        assert.ok(Math.abs(part - fair) < fair * 0.05, `${count} parts, step ${step}: ${parts}`);
      }
    }
  }
});

Deno.test("every port is in exactly one part", () => {
  for (const port of range(0, 65_535, 13)) {
    const parts = [0, 1, 2, 3, 4].filter((index) => isInPartition(port, { index, count: 5 }));
    assert.deepEqual(parts, [partitionOf(port, 5)]);
    assert.ok(isInPartition(port, WHOLE));
  }
});
