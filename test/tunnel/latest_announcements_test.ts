import assert from "node:assert/strict";
import { LatestAnnouncements } from "../../src/tunnel/latest_announcements.ts";

Deno.test("the last eight, latest first", () => {
  const latest = new LatestAnnouncements();
  assert.deepEqual(latest.list(), []);
  latest.add(-1, 65_535, 2, 80);
  assert.deepEqual(latest.list(), [{ client: -1, clientPort: 65_535, target: 2, targetPort: 80 }]);
  for (let port = 1; port <= 20; port++) latest.add(1, port, 2, 80);
  assert.deepEqual(latest.list().map(({ clientPort }) => clientPort), [
    ...[20, 19, 18, 17, 16, 15, 14, 13],
  ]);
});
