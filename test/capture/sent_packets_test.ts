/** Captures that also see what this host sends: each packet once, by ring and by libpcap. */

import assert from "node:assert/strict";
import { runElsewhere } from "./packets.ts";

/** A cable whose other end is another host's, plugged into a bridge; and a device that swallows. */
const HOST = [
  "unshare",
  "-nm",
  "sh",
  "-ec",
  `echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
   mount -t tmpfs run /run
   ip netns add other
   ip link set lo up
   ip link add left type veth peer name right netns other
   ip -n other link set right up
   ip link add br0 address 02:00:00:00:00:01 type bridge
   ip link set left master br0
   ip link add away type dummy 2>/dev/null || ip link add away type ifb
   for device in left br0 away; do ip link set $device up; done
   ip address add 198.18.0.1/24 dev br0
   ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:11 dev br0
   ip route add 198.19.0.0/16 dev away
   for try in $(seq 100); do ip link show br0 | grep -q 'state UP' && break; sleep 0.05; done
   exec "$0" "$@"`,
] as const;

Deno.test({
  name: "what this host sends of its own is seen once, what it passes on is not seen again",
  ignore: Deno.uid() !== 0,
  async fn() {
    const output = await runElsewhere(
      HOST,
      `import { openCapture } from "./src/intercept/capture.ts";
       import { EventLoop } from "./src/loop/event_loop.ts";
       import { RawIpInjector } from "./src/inject/raw_ip.ts";
       import { Packet } from "./src/wire/packet.ts";
       import { formatIpv4 } from "./src/wire/ipv4.ts";
       import { ipv4, writePacket } from "./test/capture/packets.ts";
       const loop = new EventLoop();
       const packet = new Packet();
       const seen = {};
       const log = { info() {}, warn: console.log };
       let captures = 0;
       for (const capture of ["ring", "pcap"]) {
         for (const device of ["br0", "away", "lo", "any"]) {
           for (const index of [0, 1]) {
             const source = openCapture(device, {
               filter: "tcp dst port 1001 or tcp dst port 1002",
               capture,
               bufferBytes: 2 << 20,
               port: 36524,
               libpcapPath: undefined,
               partition: { index, count: 2 },
               log,
             });
             const list = seen[capture + " " + device] ??= [];
             source.start(loop, (bytes, view, offset, length) => {
               packet.parse(source.linkType, bytes, view, offset, length);
               const { sourceAddress, sourcePort, destinationAddress, destinationPort } = packet;
               if (sourcePort === 36524) list.push("tunnel");
               else {
                 const [from, to] = [sourceAddress, destinationAddress].map(formatIpv4);
                 list.push(from + " to " + to + ":" + destinationPort);
               }
             });
             captures++;
           }
         }
       }
       const injector = new RawIpInjector();
       for (const from of ["198.18.0.1", "198.18.0.99"]) {
         for (const to of ["198.18.0.2", "198.19.0.7"]) {
           for (const sourcePort of [80, 36524]) {
             for (const destinationPort of [1001, 1002]) {
               injector.commit(writePacket(injector.bytes, injector.view, injector.reserve(40), {
                 source: ipv4(from), destination: ipv4(to), sourcePort, destinationPort,
               }));
             }
           }
         }
       }
       injector.commit(writePacket(injector.bytes, injector.view, injector.reserve(40), {
         source: ipv4("127.0.0.1"), destination: ipv4("127.0.0.1"), destinationPort: 1001,
       }));
       injector.flush();
       loop.after(100, () => loop.stop());
       await loop.run();
       for (const list of Object.values(seen)) list.sort();
       console.log(JSON.stringify(seen));
       Deno.exit(0);`,
    );
    const to = (address: string) => [1001, 1002].map((port) => `198.18.0.1 to ${address}:${port}`);
    const toOther = to("198.18.0.2");
    const away = to("198.19.0.7");
    const local = ["127.0.0.1 to 127.0.0.1:1001"];
    // Of all devices those are looked at that are no copies of others: a dummy, but not an ifb.
    const seen = JSON.parse(output);
    const swallowed = seen["ring any"].includes(away[0]) ? away : [];
    const once = { br0: toOther, away, lo: local, any: [...local, ...toOther, ...swallowed] };
    for (const way of ["ring", "pcap"]) {
      for (const [device, packets] of Object.entries(once)) {
        assert.deepEqual(seen[`${way} ${device}`], packets, `${way} on ${device}`);
      }
    }
  },
});
