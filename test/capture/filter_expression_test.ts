import assert from "node:assert/strict";
import { libpcap } from "../../ffi/libpcap.ts";
import { compileFilter } from "../../ffi/pcap_handle.ts";
import { destinationExpression } from "../../src/capture/filter_expression.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { runFilter } from "./filter_program.ts";
import { ipv4, makePacket } from "./packets.ts";

const ONLINE = ipv4("198.18.0.1");
const wanted = makePacket({ destination: ONLINE, destinationPort: 80 });
const elsewhere = makePacket({ destination: ipv4("198.18.0.9"), destinationPort: 80 });
const otherPort = makePacket({ destination: ONLINE, destinationPort: 81 });

function concat(...parts: (number[] | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function outer(protocol: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = 20 + content.length;
  const head = [0x45, 0, length >>> 8, length & 255, 0, 1, 0, 0, 64, protocol, 0, 0];
  return concat(head, [198, 18, 0, 1, 198, 18, 0, 4], content);
}

const ethernet = (packet: Uint8Array, ...tags: number[][]) =>
  concat(new Uint8Array(12), ...tags, [8, 0], packet);
const TAG = [0x81, 0, 0, 5];
const vxlan = (frame: Uint8Array, port = 4789) =>
  outer(17, concat([1, 1, port >>> 8, port & 255, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0], frame));

/** An IPv4 header of 24 bytes: one word of options. */
function withOptions(packet: Uint8Array): Uint8Array<ArrayBuffer> {
  const made = concat(packet.subarray(0, 20), [1, 1, 1, 0], packet.subarray(20));
  made[0] = 0x46;
  return made;
}

function takes(stripsTunnels: boolean, address: number | undefined = undefined) {
  const pairs = [{ address, port: 8080 }, { address, port: 80 }];
  const expression = destinationExpression(pairs, { stripsTunnels, linkType: LinkType.Ethernet });
  const program = compileFilter(libpcap(), expression, LinkType.Ethernet, 262_144);
  return (frame: Uint8Array) => runFilter(program, frame) > 0;
}

Deno.test("plain packets for the destinations are let through, and no others", () => {
  const any = takes(false);
  assert.equal(any(ethernet(wanted)), true);
  assert.equal(any(ethernet(withOptions(wanted))), true);
  assert.equal(any(ethernet(elsewhere)), true);
  assert.equal(any(ethernet(otherPort)), false);
  assert.equal(any(ethernet(vxlan(ethernet(wanted)))), false);
  assert.equal(any(ethernet(outer(4, wanted))), false);
  const one = takes(false, ONLINE);
  assert.equal(one(ethernet(wanted)), true);
  assert.equal(one(ethernet(elsewhere)), false);
});

Deno.test("the tag that the kernel leaves in place does not hide them", () => {
  const any = takes(false);
  assert.equal(any(ethernet(wanted, TAG)), true);
  assert.equal(any(ethernet(withOptions(wanted), TAG)), true);
  assert.equal(any(ethernet(otherPort, TAG)), false);
});

Deno.test("tunnels are let through when they are taken off; VXLAN only with such packets", () => {
  const any = takes(true);
  for (const port of [4789, 8472]) {
    assert.equal(any(ethernet(vxlan(ethernet(wanted), port))), true);
    assert.equal(any(ethernet(vxlan(ethernet(wanted, TAG), port))), true);
    assert.equal(any(ethernet(vxlan(ethernet(withOptions(wanted)), port))), true);
    assert.equal(any(ethernet(vxlan(ethernet(otherPort), port))), false);
  }
  assert.equal(any(ethernet(vxlan(ethernet(wanted), 53))), false);
  assert.equal(any(ethernet(outer(47, wanted))), true);
  assert.equal(any(ethernet(outer(4, wanted))), true);
  assert.equal(any(ethernet(wanted)), true);
  assert.equal(any(ethernet(otherPort)), false);
});

Deno.test("it compiles for every kind of device, with many destinations", () => {
  const pairs = Array.from({ length: 60 }, (_, index) => ({
    address: index % 2 ? ONLINE : undefined,
    port: 1000 + index,
  }));
  for (const linkType of [LinkType.Ethernet, LinkType.LinuxSll, LinkType.RawBsd]) {
    const expression = destinationExpression(pairs, { stripsTunnels: true, linkType });
    assert.ok(compileFilter(libpcap(), expression, linkType, 262_144).length > 60);
  }
});
