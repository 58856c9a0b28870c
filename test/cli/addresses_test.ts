import assert from "node:assert/strict";
import {
  MAX_CLIENT_ADDRESSES,
  parseClientAddresses,
  parseHosts,
  parseTransfers,
} from "../../src/cli/addresses.ts";
import { UsageError } from "../../src/cli/fatal.ts";
import { formatIpv4, parseIpv4 } from "../../src/wire/ipv4.ts";

const address = (text: string) => parseIpv4(text)!;

Deno.test("transfers: with and without the online server's address, several of them", () => {
  assert.deepEqual(parseTransfers("80-198.18.0.2:8080, 198.18.0.1:443-198.18.0.2:8443"), [
    {
      onlineAddress: undefined,
      onlinePort: 80,
      targetAddress: address("198.18.0.2"),
      targetPort: 8080,
    },
    {
      onlineAddress: address("198.18.0.1"),
      onlinePort: 443,
      targetAddress: address("198.18.0.2"),
      targetPort: 8443,
    },
  ]);
});

Deno.test("transfers: hardware addresses behind either side", () => {
  const mac = (last: number) => Uint8Array.from([2, 0, 0, 0, 0xab, last]);
  const [both, left, right] = parseTransfers(
    "198.18.0.1:80@02:00:00:00:ab:01-198.18.0.2:81@02:00:00:00:AB:02," +
      "80@02:00:00:00:ab:03-198.18.0.3:81,80-198.18.0.4:81@02-00-00-00-ab-04",
  );
  assert.deepEqual([both.sourceMac, both.targetMac], [mac(1), mac(2)]);
  assert.deepEqual([both.onlineAddress, both.onlinePort], [address("198.18.0.1"), 80]);
  assert.deepEqual([both.targetAddress, both.targetPort], [address("198.18.0.2"), 81]);
  assert.deepEqual([left.sourceMac, left.targetMac], [mac(3), undefined]);
  assert.deepEqual([right.sourceMac, right.targetMac], [undefined, mac(4)]);
});

Deno.test("transfers: everything malformed is refused with the form that was expected", () => {
  for (
    const text of [
      "",
      "80",
      "80-",
      "80-198.18.0.2",
      "80-198.18.0.2:",
      "80-198.18.0.2:0",
      "80-198.18.0.2:65536",
      "0-198.18.0.2:80",
      "80-198.18.0.300:80",
      "80-198.18.0.2:80-90",
      "80-198.18.0.2:80,",
      "a:b:80-198.18.0.2:80",
      "198.18.0.2:80-198.18.0.2:80",
      "80-host:80",
      "80@-198.18.0.2:80",
      "80@02:00:00:00:00-198.18.0.2:80",
      "80@02-00-00-00-00-01-198.18.0.2:80",
      "80-198.18.0.2:80@ff:ff:ff:ff:ff:ff",
      "80-198.18.0.2:80@00:00:00:00:00:00",
      "80-198.18.0.2:80@02:00:00:00:00:01:02",
    ]
  ) assert.throws(() => parseTransfers(text), UsageError, text);
});

Deno.test("client addresses: single ones, a.b.c.x and CIDR, each once", () => {
  const format = (text: string) => [...parseClientAddresses(text)].map(formatIpv4);
  assert.deepEqual(format("198.18.0.7,198.18.0.9,198.18.0.7"), ["198.18.0.7", "198.18.0.9"]);
  const range = format("198.19.0.x");
  assert.equal(range.length, 254);
  assert.deepEqual([range[0], range.at(-1)], ["198.19.0.1", "198.19.0.254"]);
  assert.deepEqual(format("198.18.4.6/30"), ["198.18.4.5", "198.18.4.6"]);
  assert.deepEqual(format("198.18.4.6/31"), ["198.18.4.6", "198.18.4.7"]);
  assert.deepEqual(format("198.18.4.6/32"), ["198.18.4.6"]);
  assert.equal(parseClientAddresses("198.18.0.0/16").length, 65534);
});

Deno.test("client addresses: malformed and too many are refused", () => {
  for (
    const text of ["", "x", "198.18.x", "198.18.0.0/7", "198.18.0.0/33", "198.18.0.0/", "1.2.3"]
  ) {
    assert.throws(() => parseClientAddresses(text), UsageError, text);
  }
  assert.throws(
    () => parseClientAddresses("198.0.0.0/8"),
    new RegExp(`more than ${MAX_CLIENT_ADDRESSES} addresses`),
  );
});

Deno.test("hosts: with the default port and with their own", () => {
  assert.deepEqual(parseHosts("assistant, 198.18.0.3:1234", "-s", 36524), [
    { host: "assistant", port: 36524 },
    { host: "198.18.0.3", port: 1234 },
  ]);
  for (const text of ["", ":1", "a:b", "a:0", "a:1:2"]) {
    assert.throws(() => parseHosts(text, "-s", 36524), UsageError, text);
  }
});

Deno.test("what is no address of a host is refused", () => {
  for (const text of ["0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255"]) {
    assert.throws(() => parseTransfers(`80-${text}:80`), UsageError, text);
    assert.throws(() => parseTransfers(`${text}:80-198.18.0.2:80`), UsageError, text);
    assert.throws(() => parseClientAddresses(text), UsageError, text);
  }
  assert.throws(() => parseClientAddresses("224.0.0.x"), UsageError);
  assert.equal(parseTransfers("223.255.255.1:80-1.0.0.1:80").length, 1);
});

Deno.test("transfers: one port to two targets, but not the same pair twice", () => {
  assert.equal(parseTransfers("80-198.18.0.2:80,80-198.18.0.5:80,80-198.18.0.5:81").length, 3);
  assert.throws(() => parseTransfers("80-198.18.0.2:80,80-198.18.0.2:80"), /named twice.*-n 2/);
});
