import assert from "node:assert/strict";
import { formatMac, NextHopResolver } from "../../src/inject/next_hop.ts";
import { ipv4, runElsewhere } from "../capture/packets.ts";
import { openFileCount } from "../ffi/open_files.ts";
import { FAR_MAC, LEFT_MAC, ON_A_WIRE } from "./wire.ts";

const ignore = Deno.uid() !== 0;

/** Asks for the way to an address after each change; prints the answers. */
const CHANGES = `
  import { formatMac, NextHopResolver } from "./src/inject/next_hop.ts";
  import { ipv4 } from "./test/capture/packets.ts";
  import { layWire, run } from "./test/inject/wire.ts";
  layWire();
  const resolver = new NextHopResolver();
  const changes = [
    ["198.18.0.2", ":"],
    ["198.18.0.2", "ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:02 dev left nud permanent"],
    ["198.18.0.2", "ip neigh replace 198.18.0.2 lladdr 02:00:00:00:00:09 dev left nud reachable"],
    ["198.18.0.2", "ip neigh replace 198.18.0.2 lladdr 02:00:00:00:00:09 dev left nud stale"],
    ["198.18.0.2", "ip neigh replace 198.18.0.2 dev left nud failed"],
    ["198.18.0.2", "ip neigh del 198.18.0.2 dev left"],
    ["198.18.0.1", ":"],
    ["127.0.0.1", ":"],
    ["198.18.0.255", ":"],
    ["198.18.9.1", ":"],
    ["198.18.9.1", "ip route add blackhole 198.18.9.0/24"],
    ["198.18.5.1", "ip neigh add 198.18.0.3 lladdr 02:00:00:00:00:03 dev left; " +
      "ip route add 198.18.5.0/24 via 198.18.0.3"],
    ["198.18.6.1", "ip route add 198.18.6.0/24 via 198.18.0.3 mtu 1300"],
    ["198.18.5.1", "ip link set left mtu 1400"],
    ["198.18.5.1", "ip link set left address 02:00:00:00:00:11; " +
      "ip neigh replace 198.18.0.3 lladdr 02:00:00:00:00:03 dev left"],
    ["198.18.5.1", "ip link set left arp off"],
    ["198.18.5.1", "ip link set left arp on; " +
      "ip neigh replace 198.18.0.3 lladdr 02:00:00:00:00:03 dev left"],
    ["198.18.5.1", "ip link set right down; sleep 0.1"],
    ["198.18.5.1", "ip link set left down"],
  ];
  for (const [target, change] of changes) {
    run(change);
    const { sourceMac, destinationMac, device, ...answer } = resolver.resolve(ipv4(target));
    console.log(JSON.stringify(sourceMac === undefined ? answer : {
      ...answer, from: formatMac(sourceMac), to: formatMac(destinationMac),
    }));
  }
  resolver.close();`;

function none(reason: string, isLasting: boolean): unknown {
  return { kind: "none", reason, isLasting };
}

function frame(to: string, mtuBytes = 1500, from = LEFT_MAC): unknown {
  return { kind: "frame", deviceName: "left", mtuBytes, from, to };
}

Deno.test({
  name: "the kernel's tables are followed: neighbour, gateway, MTU, device",
  ignore,
  async fn() {
    const output = await runElsewhere(ON_A_WIRE, CHANGES);
    const gatewayMac = "02:00:00:00:00:03";
    assert.deepEqual(output.trim().split("\n").map((line) => JSON.parse(line)), [
      none("neighbour 198.18.0.2 on left is not known", false),
      frame(FAR_MAC),
      frame("02:00:00:00:00:09"),
      none("neighbour 198.18.0.2 on left is to be confirmed", false),
      none("neighbour 198.18.0.2 on left does not answer", false),
      none("neighbour 198.18.0.2 on left is not known", false),
      none("it is an address of this host", true),
      none("it is an address of this host", true),
      none("its route is not unicast (type 3)", true),
      none("no route (Network is unreachable)", false),
      none("no route (Invalid argument)", false),
      frame(gatewayMac),
      frame(gatewayMac, 1300),
      frame(gatewayMac, 1400),
      frame(gatewayMac, 1400, "02:00:00:00:00:11"),
      none("left is no Ethernet with ARP", true),
      frame(gatewayMac, 1400, "02:00:00:00:00:11"),
      none("left has no carrier", false),
      none("no route (Network is unreachable)", false),
    ]);
  },
});

Deno.test("an address of this host has no next hop; nothing is left open", () => {
  const before = openFileCount();
  const resolver = new NextHopResolver();
  for (let i = 0; i < 100; i++) {
    assert.deepEqual(
      resolver.resolve(ipv4("127.0.0.1")),
      none("it is an address of this host", true),
    );
  }
  resolver.close();
  resolver.close();
  assert.equal(openFileCount(), before);
});

Deno.test("hardware addresses are written in hexadecimal", () => {
  assert.equal(formatMac(Uint8Array.of(2, 0, 0xab, 0xff, 9, 16)), "02:00:ab:ff:09:10");
});
