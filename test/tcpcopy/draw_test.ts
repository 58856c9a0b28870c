import assert from "node:assert/strict";
import { SessionCounters } from "../../src/session/counters.ts";
import { ClientSample, type SamplingRules } from "../../src/session/client_sample.ts";
import { DEFAULT_SESSION_CONFIG } from "../../src/session/config.ts";
import { describeDraw, describeFarDraw } from "../../src/tcpcopy/draw.ts";

const byConnection: SamplingRules = { ...DEFAULT_SESSION_CONFIG, percentage: 10 };
const byClient: SamplingRules = { ...byConnection, sampleConnections: false };

function counters(drawnFrom: number, drawnExpected: number, drawn: number): SessionCounters {
  return Object.assign(new SessionCounters(), { drawnFrom, drawnExpected, drawn });
}

/** The counts of a draw from so many clients with so many connections each. */
function draw(rules: SamplingRules, clients: number, connections: number): SessionCounters {
  const sample = new ClientSample(rules);
  let drawn = 0;
  for (let client = 0; client < clients; client++) {
    for (let i = 0; i < connections; i++) {
      if (sample.admits(0x0a000001 + client, 1024 + (i * 7) % 60_000, 0)) drawn++;
    }
  }
  const total = clients * connections;
  return counters(total, total * rules.percentage / 100, drawn);
}

Deno.test("what is drawn is said, unless it is everything", () => {
  assert.equal(describeDraw({ ...byConnection, percentage: 100 }), undefined);
  assert.match(describeDraw(byConnection)!, /^-r 10: 10 % of the connections are replayed/);
  assert.match(describeDraw(byClient)!, /^-r 10: 10 % of the clients.*--sample-by client/);
  const growing = { ...byConnection, percentage: 100, percentageRampMs: 5000 };
  assert.match(describeDraw(growing)!, /up to 100 %, growing for 5 s, of the connections/);
});

Deno.test("one load generator: by connection the share holds, by client it is told that not", () => {
  for (const percentage of [1, 10, 50, 90]) {
    const share = draw({ ...byConnection, percentage }, 1, 27_000);
    assert.ok(Math.abs(share.drawn / 270 - percentage) < 2, `${percentage}: ${share.drawn}`);
    assert.equal(describeFarDraw(share, byConnection), undefined);
    const text = describeFarDraw(draw({ ...byClient, percentage }, 1, 27_000), byClient);
    assert.match(text!, /of 27,000 connections were drawn, [\d,]+ were to be expected/);
    assert.match(text!, /--sample-by connection/);
  }
});

Deno.test("many clients come out as asked for either way", () => {
  for (const percentage of [1, 10, 50, 90]) {
    for (const rules of [byConnection, byClient]) {
      const asked = { ...rules, percentage };
      assert.equal(describeFarDraw(draw(asked, 9_000, 3), asked), undefined, `${percentage}`);
    }
  }
});

Deno.test("few connections, and those by chance, say nothing", () => {
  assert.equal(describeFarDraw(counters(20, 2, 0), byConnection), undefined);
  assert.equal(describeFarDraw(counters(100, 1, 3), byConnection), undefined);
  assert.match(describeFarDraw(counters(1000, 100, 400), byConnection)!, /few addresses and ports/);
  // A share that grew from nothing is judged by what it was.
  assert.equal(describeFarDraw(counters(1000, 20, 20), byConnection), undefined);
});
