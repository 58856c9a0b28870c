import assert from "node:assert/strict";
import { formatIpv6 } from "../../src/wire/ipv6.ts";

function format(...groups: number[]): string {
  const view = new DataView(new ArrayBuffer(18));
  groups.forEach((group, i) => view.setUint16(2 + 2 * i, group));
  return formatIpv6(view, 2);
}

Deno.test("addresses are written as RFC 5952 wants them", () => {
  assert.equal(format(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1), "2001:db8::1:0:0:1");
  assert.equal(format(0x2001, 0xdb8, 0, 1, 1, 1, 1, 1), "2001:db8:0:1:1:1:1:1");
  assert.equal(format(0, 0, 0, 0, 0, 0, 0, 1), "::1");
  assert.equal(format(0, 0, 0, 0, 0, 0, 0, 0), "::");
  assert.equal(format(0xfe80, 0, 0, 0, 0, 0, 0, 0), "fe80::");
  assert.equal(format(1, 0, 0, 2, 0, 0, 0, 3), "1:0:0:2::3");
  assert.equal(format(1, 2, 3, 4, 5, 6, 7, 0xabcd), "1:2:3:4:5:6:7:abcd");
});
