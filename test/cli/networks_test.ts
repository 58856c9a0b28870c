import assert from "node:assert/strict";
import { UsageError } from "../../src/cli/fatal.ts";
import { MAX_NETWORKS, parseNetworks } from "../../src/cli/networks.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";

Deno.test("networks: addresses and prefixes of every length", () => {
  const pairs = parseNetworks("198.18.0.1, 10.0.0.0/8,0.0.0.0/0", "--include-clients");
  assert.deepEqual([...pairs], [
    ...[parseIpv4("198.18.0.1"), -1],
    ...[parseIpv4("10.0.0.0"), parseIpv4("255.0.0.0")],
    ...[0, 0],
  ]);
});

Deno.test("networks: everything else is refused", () => {
  const many = Array(MAX_NETWORKS + 1).fill("10.0.0.1").join(",");
  for (
    const text of ["", "10.0.0.0/33", "10.0.0.0/8/9", "10.0.0.1/8", "ten/8", "10.0.0.1,", many]
  ) {
    assert.throws(() => parseNetworks(text, "--include-clients"), UsageError, text.slice(0, 40));
  }
});
