import assert from "node:assert/strict";
import { listenersOf } from "../../src/sampling/layotto.ts";

const tcpcopy = { type: "tcpcopy" };

/** A listener with a filter that has no strategy of its own. */
function listener(name: string, address: unknown, more: Record<string, unknown> = {}): unknown {
  return { name, address, filter_chains: [{ filters: [tcpcopy] }], ...more };
}

/** The listeners of a configuration: address and port each, and all warnings. */
function read(...listeners: unknown[]): { at: string[]; warnings: string[] } {
  const { captured, warnings } = listenersOf({ servers: [{ listeners }] });
  return { at: captured.map(({ host = "*", port }) => `${host} ${port}`), warnings };
}

Deno.test("every listener with the filter is captured, at its address", () => {
  const others = [{ type: "grpc", config: {} }];
  assert.deepEqual(
    read(
      listener("a", "127.0.0.1:34904"),
      listener("b", ":8080"),
      listener("c", "0.0.0.0:8081"),
      listener("d", "localhost:8082"),
      { name: "e", address: "127.0.0.1:9", filter_chains: [{ filters: others }] },
      // One filter in two chains: one listener.
      listener("f", "10.0.0.1:8083", {
        filter_chains: [{ filters: [tcpcopy] }, { filters: [tcpcopy] }],
      }),
    ),
    {
      at: ["127.0.0.1 34904", "* 8080", "* 8081", "localhost 8082", "10.0.0.1 8083"],
      warnings: [],
    },
  );
});

Deno.test("what cannot be captured is named, with its listener", () => {
  const tls = { filter_chains: [{ tls_context: { status: true }, filters: [tcpcopy] }] };
  const set = { filter_chains: [{ tls_context_set: [{ status: true }], filters: [tcpcopy] }] };
  const off = { filter_chains: [{ tls_context: { status: false }, filters: [tcpcopy] }] };
  const { at, warnings } = read(
    listener("one", "10.0.0.1:443", tls),
    listener("two", "10.0.0.1:444", set),
    listener("both", "10.0.0.1:445", { ...tls, inspector: true }),
    listener("plain", "10.0.0.1:80", off),
    listener("six", "[::1]:80"),
    listener("any", "[::]:81"),
    listener("dns", "10.0.0.1:53", { network: "UDP" }),
  );
  assert.deepEqual(at, ["10.0.0.1 445", "10.0.0.1 80", "* 81"]);
  const expected = [
    /^listener "one" \(10\.0\.0\.1:443\) is left out: it speaks TLS.*ciphertext.*--proxy/,
    /^listener "two" .*is left out: it speaks TLS/,
    /^listener "both" .*: what comes by TLS is recorded as ciphertext/,
    /^listener "six" \(\[::1\]:80\) is left out: IPv6/,
    /^listener "any" .*IPv6 are not captured/,
    /^listener "dns" .*is left out: it is no TCP listener, but "udp"/,
  ];
  assert.equal(warnings.length, expected.length, warnings.join("\n"));
  expected.forEach((pattern, index) => assert.match(warnings[index], pattern));
});

for (
  const [address, reason] of [
    [":http", /listener "x": expected a port from 1 to 65535 .*came ":http"/],
    [":0", /expected a port .*came ":0"/],
    [":99999", /expected a port .*came ":99999"/],
    ["unix:///run/x.sock", /came "unix:\/\/\/run\/x\.sock"/],
    ["/run/x.sock", /expected an address such as .*came "\/run\/x\.sock"/],
    ["127.0.0.1", /expected an address such as .*came "127\.0\.0\.1"/],
    ["::1:80", /expected an address such as .*came "::1:80"/],
    ["", /came ""/],
    [null, /came null/],
    [undefined, /came nothing/],
  ] as const
) {
  Deno.test(`a listener at ${JSON.stringify(address)} is refused with the value`, () => {
    assert.throws(() => read(listener("x", address)), reason);
  });
}
