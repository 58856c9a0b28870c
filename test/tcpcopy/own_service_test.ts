import assert from "node:assert/strict";
import { parseTransfers } from "../../src/cli/addresses.ts";
import { UsageError } from "../../src/cli/fatal.ts";
import { refuseOwnService } from "../../src/tcpcopy/own_service.ts";

const own = ["127.0.0.1", "::1", "198.18.0.1", "fe80::1"];

Deno.test("a target that is the captured service itself is refused", () => {
  for (
    const pairs of [
      "80-198.18.0.1:80",
      "80-127.0.0.1:80",
      "80-127.0.0.9:80",
      "198.18.0.1:80-198.18.0.1:8080,198.18.0.1:8080-198.18.0.2:80",
      "80-198.18.0.1:81,81-198.18.0.1:80",
    ]
  ) {
    assert.throws(() => refuseOwnService(parseTransfers(pairs), own), UsageError, pairs);
  }
});

Deno.test("other ports, other addresses and other hosts are targets like any other", () => {
  for (
    const pairs of [
      "80-198.18.0.1:81",
      "80-198.18.0.2:80",
      "198.18.0.7:80-198.18.0.1:80",
      "80-127.0.0.1:8080",
      "80-198.18.0.2:81,81-198.18.0.2:80",
    ]
  ) {
    refuseOwnService(parseTransfers(pairs), own);
  }
});
