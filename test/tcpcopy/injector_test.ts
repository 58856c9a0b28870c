import assert from "node:assert/strict";
import { chooseWay, type InjectorChoice } from "../../src/tcpcopy/injector.ts";
import { runElsewhere, UNPRIVILEGED } from "../capture/packets.ts";
import { ON_A_WIRE } from "../inject/wire.ts";
import { fileExists } from "../lab/hosts.ts";

function choose(
  choice: Partial<InjectorChoice>,
  policies: number | undefined,
): [way: string, reason?: string] {
  return chooseWay({ inject: "auto", transfers: [], ...choice }, () => policies);
}

Deno.test("frames by default, but not past IPsec, and not unasked", () => {
  assert.deepEqual(choose({}, 0), ["link"]);
  const [way, reason] = choose({}, 3);
  assert.equal(way, "raw");
  assert.match(reason ?? "", /^packets leave by raw IP.*IPsec policies \(3 for outgoing/);
  const [unknown, other] = choose({}, undefined);
  assert.equal(unknown, "raw");
  assert.match(other ?? "", /^packets leave by raw IP: the kernel does not tell.*CAP_NET_ADMIN/);
});

Deno.test("what the user chooses is not asked for", () => {
  for (const inject of ["raw", "link", "pcap"] as const) {
    assert.deepEqual(choose({ inject }, 3), [inject]);
  }
  assert.deepEqual(choose({ outputDevice: "eth0" }, 3), ["link"]);
  const transfer = {
    ...{ onlineAddress: 0, onlinePort: 80, targetAddress: 1, targetPort: 80 },
    targetMac: new Uint8Array(6),
  };
  assert.deepEqual(choose({ transfers: [transfer] }, 3), ["link"]);
});

Deno.test({
  name: "the kernel counts its IPsec policies, for those who may see them",
  ignore: Deno.uid() !== 0 || !fileExists("/proc/net/xfrm_stat"),
  async fn() {
    const add = "ip xfrm policy add dst 198.18.0.2/32 dir out tmpl proto esp mode transport";
    const ask = `
      import { outgoingIpsecPolicies } from "./src/inject/ipsec.ts";
      import { run } from "./test/inject/wire.ts";
      const counts = [outgoingIpsecPolicies()];
      run("ip xfrm policy add dst 198.18.0.9/32 dir in tmpl proto esp mode transport");
      counts.push(outgoingIpsecPolicies());
      run("${add}");
      counts.push(outgoingIpsecPolicies());
      console.log(counts.join(" "));`;
    assert.equal((await runElsewhere(ON_A_WIRE, ask)).trim(), "0 0 1");
    const unprivileged = `
      import { outgoingIpsecPolicies } from "./src/inject/ipsec.ts";
      console.log(outgoingIpsecPolicies());`;
    assert.equal((await runElsewhere(UNPRIVILEGED, unprivileged)).trim(), "undefined");
  },
});
