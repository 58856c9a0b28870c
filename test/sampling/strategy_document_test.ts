import assert from "node:assert/strict";
import { parseStrategyDocument } from "../../src/sampling/strategy_document.ts";

const strategy = { switch: "ON", interval: 30, duration: 10, cpu_max_rate: 80, mem_max_rate: 80 };

/** The shape of Layotto's example configurations. */
function layotto(value: unknown): string {
  return JSON.stringify({
    servers: [{
      default_log_path: "stdout",
      listeners: [{
        name: "grpc",
        address: "127.0.0.1:34904",
        bind_port: true,
        filter_chains: [{
          filters: [
            { type: "tcpcopy", config: { strategy: value } },
            { type: "grpc", config: { server_name: "runtime", grpc_config: {} } },
          ],
        }],
      }],
    }],
    static_resources: { clusters: [{ name: "xds-grpc", type: "STATIC" }] },
  });
}

Deno.test("a Layotto configuration gives the strategy", () => {
  const document = parseStrategyDocument(layotto(strategy));
  assert.equal(document.app?.durationS, 10);
  assert.equal(document.app?.memMaxPercent, 80);
  assert.equal(document.global, undefined);
});

Deno.test("of several filters the last one with a strategy has the word", () => {
  const chain = (...filters: unknown[]) => ({ address: ":1", filter_chains: [{ filters }] });
  const tcpcopy = (interval: number) => ({
    type: "tcpcopy",
    config: { strategy: { ...strategy, interval } },
  });
  const read = (...listeners: unknown[]) => parseStrategyDocument(JSON.stringify({ listeners }));
  const bare = { type: "tcpcopy" };
  assert.equal(read(chain(tcpcopy(40)), chain(tcpcopy(50)), chain(bare)).app?.intervalS, 50);
  assert.equal(read(chain(bare)).app, undefined);
});

Deno.test("our own shapes: app and global, and a strategy alone", () => {
  const both = parseStrategyDocument(
    JSON.stringify({ app: strategy, global: { ...strategy, switch: "FORCE_OFF" } }),
  );
  assert.equal(both.app?.switch, "ON");
  assert.equal(both.global?.switch, "FORCE_OFF");
  assert.equal(parseStrategyDocument(JSON.stringify(strategy)).app?.switch, "ON");
});

Deno.test("what cannot be used says why", () => {
  assert.throws(() => parseStrategyDocument("{"), /expected JSON/);
  assert.throws(() => parseStrategyDocument("[]"), /expected a JSON object/);
  assert.throws(() => parseStrategyDocument("{}"), /found no strategy/);
  const refused = (document: unknown, reason: RegExp) =>
    assert.throws(() => parseStrategyDocument(JSON.stringify(document)), reason);
  refused({ app: strategy, gloabl: strategy }, /unknown key "gloabl"; did you mean "global"\?/);
  refused({ app: strategy, Global: strategy }, /unknown key "Global"; did you mean "global"\?/);
  refused({ gloabl: strategy }, /unknown key "gloabl"; did you mean "global"\?/);
  refused({ ...strategy, durration: 1 }, /unknown key "durration"; did you mean "duration"\?/);
  refused(JSON.parse(layotto({ ...strategy, intervall: 1 })), /did you mean "interval"\?/);
  refused(JSON.parse(layotto(null)), /strategy: expected an object with "switch", came null/);
  const { cpu_max_rate: _, ...less } = strategy;
  refused(JSON.parse(layotto(less)), /strategy: cpu_max_rate: expected .*, came nothing/);
  refused(
    { filter_chains: [{ type: "tcpcopy", config: { stratgy: strategy } }] },
    /unknown key "stratgy"; did you mean "strategy"\?/,
  );
  refused({ filter_chains: [{ type: "tcpcopy", config: [] }] }, /config of the tcpcopy filter/);
  assert.throws(
    () => parseStrategyDocument(layotto({ ...strategy, duration: 30 })),
    /duration: expected more than 0/,
  );
  assert.throws(
    () => parseStrategyDocument(JSON.stringify({ global: { ...strategy, switch: "?" } })),
    /global: switch/,
  );
});
