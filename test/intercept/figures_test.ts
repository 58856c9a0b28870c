import assert from "node:assert/strict";
import {
  mergeRelayFigures,
  noRelayFigures,
  type RelayFigures,
  summarizeRelay,
} from "../../src/intercept/figures.ts";

const connection = { client: 1, clientPort: 2, target: 3, targetPort: 4 };

function figures(): RelayFigures {
  const made: RelayFigures = {
    ...noRelayFigures(),
    received: 5000,
    routesEvicted: 7,
    heldLost: 20,
    lastAnnounced: [connection],
  };
  made.tunnel.held = 30;
  made.tunnel.heldDelivered = 10;
  return made;
}

Deno.test("what was lost stands in the line, and nothing that did not happen", () => {
  assert.equal(
    summarizeRelay(noRelayFigures()),
    "packets captured 0; headers sent 0; routes announced 0, forgotten 0",
  );
  const line = summarizeRelay(figures());
  assert.match(
    line,
    /30 held for their route \(10 delivered\); 20 of them lost, as nobody announced/,
  );
  assert.match(line, /; 7 announced connections given up for newer ones/);
});

Deno.test("the relays' figures add up", () => {
  const whole = mergeRelayFigures([figures(), figures(), noRelayFigures()]);
  assert.equal(whole.received, 10_000);
  assert.equal(whole.routesEvicted, 14);
  assert.equal(whole.heldLost, 40);
  assert.equal(whole.tunnel.held, 60);
  assert.deepEqual(whole.lastAnnounced, [connection, connection]);
});
