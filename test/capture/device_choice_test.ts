import assert from "node:assert/strict";
import { chooseDevices, findOverlap, sendingDevices } from "../../src/capture/device_choice.ts";
import { type NetworkDevice, networkDevices } from "../../src/capture/network_devices.ts";
import { runElsewhere } from "./packets.ts";

let nextIndex = 1;

function device(name: string, changes: Partial<NetworkDevice> = {}): NetworkDevice {
  const index = nextIndex++;
  return { index, name, isUp: true, hardware: 1, kind: "", master: 0, lower: 0, ...changes };
}

const names = (devices: readonly NetworkDevice[]) => devices.map(({ name }) => name).join(" ");

const lo = device("lo", { hardware: 772 });
const eth0 = device("eth0");
const eth1 = device("eth1", { isUp: false });

Deno.test("devices that are up, without the loopback, unless there is no other", () => {
  assert.equal(names(chooseDevices([lo, eth0, eth1], false)), "eth0");
  assert.equal(names(chooseDevices([lo, eth1], false)), "lo");
  assert.equal(names(chooseDevices([eth1], false)), "");
  const can = device("can0", { hardware: 280 });
  const copies = device("ifb0", { kind: "ifb" });
  const wireguard = device("wg0", { kind: "wireguard", hardware: 65534 });
  assert.equal(names(chooseDevices([lo, can, copies, wireguard], false)), "wg0");
});

Deno.test("ports instead of their bridge or bond, the device instead of its VLAN", () => {
  const br0 = device("br0", { kind: "bridge" });
  const veth = device("veth0", { kind: "veth", master: br0.index });
  const bond = device("bond0", { kind: "bond" });
  const slaves = [1, 2].map((n) => device(`slave${n}`, { master: bond.index }));
  const vlan = device("vlan5", { kind: "vlan", lower: bond.index });
  const macvlan = device("macvlan0", { kind: "macvlan", lower: vlan.index });
  const all = [lo, br0, veth, bond, ...slaves, vlan, macvlan];
  assert.equal(names(chooseDevices(all, false)), "veth0 slave1 slave2");
  assert.equal(findOverlap(all, [veth, ...slaves]), undefined);
  assert.equal(names(findOverlap(all, [slaves[1], macvlan]) ?? []), "macvlan0 slave2");
  assert.equal(names(findOverlap(all, [veth, br0]) ?? []), "br0 veth0");
});

Deno.test("what is sent is seen on the lowest devices, too, and on those that swallow it", () => {
  const br0 = device("br0", { kind: "bridge" });
  const veth = device("veth0", { kind: "veth", master: br0.index });
  const vlan = device("vlan5", { kind: "vlan", lower: eth0.index });
  const dummy = device("dummy0", { kind: "dummy" });
  const copies = device("ifb0", { kind: "ifb" });
  assert.equal(
    names(sendingDevices([lo, eth0, eth1, br0, veth, vlan, dummy, copies])),
    "eth0 veth0 dummy0",
  );
});

Deno.test("a bridge whose ports are all down is taken itself", () => {
  const br0 = device("br0", { kind: "bridge" });
  const port = device("port0", { master: br0.index, isUp: false });
  assert.equal(names(chooseDevices([lo, br0, port], false)), "br0");
});

Deno.test("the two ends of a veth are two devices; a VLAN from another namespace is the lowest", () => {
  const left = device("left", { kind: "veth" });
  const right = device("right", { kind: "veth", lower: left.index });
  left.lower = right.index;
  const vlan = device("vlan6", { kind: "vlan", lower: 0 });
  assert.equal(names(chooseDevices([left, right, vlan], false)), "left right vlan6");
});

Deno.test("tunnels are left out when the capture looks into them below", () => {
  const vxlan = device("vxlan0", { kind: "vxlan", lower: eth0.index });
  assert.equal(names(chooseDevices([eth0, vxlan], false)), "eth0 vxlan0");
  assert.equal(names(chooseDevices([eth0, vxlan], true)), "eth0");
});

Deno.test("devices stacked in a circle end the search", () => {
  const one = device("one", { kind: "macvlan" });
  const two = device("two", { kind: "macvlan", lower: one.index });
  one.lower = two.index;
  assert.equal(chooseDevices([one, two], false).length <= 2, true);
});

Deno.test("the kernel's list has the loopback", () => {
  const loopback = networkDevices().find(({ hardware }) => hardware === 772);
  assert.equal(loopback?.name, "lo");
  assert.equal(loopback?.index, 1);
  assert.equal(loopback?.kind, "");
});

Deno.test({
  name: "devices of a real host: bridge and port, a veth and its macvlan, VXLAN",
  ignore: Deno.uid() !== 0,
  async fn() {
    const script = `ip link set lo up
      ip link add br0 type bridge
      ip link add port0 type veth peer name inside
      ip link set port0 master br0
      ip link add out type veth peer name wire
      ip link add vx0 type vxlan id 7 dev out dstport 4789
      ip link add link out name mac0 type macvlan
      ip link add quiet type veth peer name other
      for device in br0 port0 inside out wire mac0 vx0; do ip link set $device up; done`;
    const output = await runElsewhere(
      ["unshare", "-n", "sh", "-ec", `${script}; "$@"`, "sh"],
      `import { chooseDevices, findOverlap, sendingDevices } from "./src/capture/device_choice.ts";
       import { networkDevices } from "./src/capture/network_devices.ts";
       const all = networkDevices();
       const names = (devices) => devices.map(({ name }) => name).sort().join(" ");
       const named = (...wanted) => all.filter(({ name }) => wanted.includes(name));
       console.log(names(chooseDevices(all, false)));
       console.log(names(chooseDevices(all, true)));
       console.log(names(findOverlap(all, named("br0", "inside", "port0")) ?? []));
       console.log(names(findOverlap(all, named("wire", "out")) ?? []));`,
    );
    assert.deepEqual(output.split("\n"), [
      "inside out port0 vx0 wire",
      "inside out port0 wire",
      "br0 port0",
      "",
      "",
    ]);
  },
});
