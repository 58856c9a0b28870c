import assert from "node:assert/strict";
import { parseClientAddresses, parseTransfers } from "../../src/cli/addresses.ts";
import { UsageError } from "../../src/cli/fatal.ts";
import {
  parseUnsafeKinds,
  refuseUnsafeClients,
  type Surroundings,
  UNSAFE_KINDS,
  type UnsafeKind,
} from "../../src/tcpcopy/unsafe_clients.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";

const around: Surroundings = {
  transfers: parseTransfers("198.18.0.1:80-198.18.0.2:8080"),
  intercepts: [{ address: parseIpv4("198.18.0.3")! }],
  ownAddresses: ["127.0.0.1", "198.18.0.9", "::1"],
};

function check(text: string, allowed: readonly UnsafeKind[] = [], surroundings = around): void {
  refuseUnsafeClients("-c", parseClientAddresses(text), surroundings, new Set(allowed));
}

const cases: readonly [kind: UnsafeKind, range: string, address: string][] = [
  ["target", "198.18.0.2", "198.18.0.2"],
  ["intercept", "198.18.0.3", "198.18.0.3"],
  ["online", "198.18.0.1", "198.18.0.1"],
  ["own-address", "198.19.0.x,198.18.0.9", "198.18.0.9"],
  ["loopback", "127.0.0.1", "127.0.0.1"],
  ["loopback", "127.1.0.0/30", "127.1.0.1"],
];

for (const [kind, range, address] of cases) {
  Deno.test(`unsafe clients: ${range} is refused for ${kind}, and taken by name`, () => {
    assert.throws(() => check(range), (error) => {
      assert(error instanceof UsageError);
      assert.ok(error.message.startsWith(`-c: ${address} is `), error.message);
      assert.ok(error.message.endsWith(`--allow-unsafe-clients ${kind}`), error.message);
      return true;
    });
    check(range, [kind]);
    const others = UNSAFE_KINDS.filter((other) => other !== kind);
    assert.throws(() => check(range, others), UsageError, "the name of another kind is no help");
  });
}

Deno.test("unsafe clients: a range with several of them needs every name", () => {
  assert.throws(() => check("198.18.0.x", ["target", "intercept", "online"]), /198\.18\.0\.9/);
  check("198.18.0.x", ["target", "intercept", "online", "own-address"]);
});

Deno.test("unsafe clients: addresses that are nobody's are taken", () => {
  check("198.19.0.0/16");
  check("198.18.0.10");
});

Deno.test("unsafe clients: with every target on loopback, loopback is no risk to anyone", () => {
  const local = {
    transfers: parseTransfers("80-127.0.0.1:8080"),
    intercepts: [{ address: parseIpv4("127.0.0.1")! }],
    ownAddresses: ["127.0.0.1"],
  };
  check("127.0.0.x", [], local);
  assert.throws(() => check("198.18.0.9", [], { ...local, ownAddresses: ["198.18.0.9"] }));
});

Deno.test("unsafe clients: multicast, broadcast and reserved addresses cannot be allowed at all", () => {
  for (const text of ["224.0.0.1", "255.255.255.255", "240.0.0.1", "0.0.0.1"]) {
    assert.throws(() => check(text, UNSAFE_KINDS), /is not the address of a host/);
  }
});

Deno.test("unsafe clients: a name that is none is an error", () => {
  assert.deepEqual([...parseUnsafeKinds("target, loopback")], ["target", "loopback"]);
  assert.throws(() => parseUnsafeKinds("everything"), /expected some of target, .*"everything"/);
});
