import assert from "node:assert/strict";
import { parseStrategyDocument } from "../../src/sampling/strategy_document.ts";

const strategy = { switch: "ON", interval: 30, duration: 10, cpu_max_rate: 80, mem_max_rate: 80 };

/** The shape of Layotto's example configurations. */
function layotto(value: unknown, address = "127.0.0.1:34904"): string {
  return JSON.stringify({
    servers: [{
      default_log_path: "stdout",
      listeners: [{
        name: "grpc",
        address,
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

Deno.test("a Layotto configuration gives the strategy and its listener's port", () => {
  const document = parseStrategyDocument(layotto(strategy));
  assert.equal(document.app?.durationS, 10);
  assert.equal(document.app?.memMaxPercent, 80);
  assert.equal(document.global, undefined);
  assert.deepEqual(document.ports, [34904]);
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
  assert.throws(
    () => parseStrategyDocument(layotto({ ...strategy, duration: 30 })),
    /duration: expected more than 0/,
  );
  assert.throws(
    () => parseStrategyDocument(JSON.stringify({ global: { ...strategy, switch: "?" } })),
    /global: switch/,
  );
});
