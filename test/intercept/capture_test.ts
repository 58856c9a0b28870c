import assert from "node:assert/strict";
import type { Logger } from "@logtape/logtape";
import { PcapDeviceCapture } from "../../src/capture/pcap_device.ts";
import { RingCapture } from "../../src/capture/ring.ts";
import { openCapture, type ResponseCaptureOptions } from "../../src/intercept/capture.ts";
import { WHOLE } from "../../src/wire/partition.ts";

/** What kind of capture is opened on loopback, and what is said about it. */
function open(options: Partial<ResponseCaptureOptions>): [kind: unknown, lines: string[]] {
  const lines: string[] = [];
  const log = { info: (text: string) => lines.push(text) } as unknown as Logger;
  const capture = openCapture("lo", {
    filter: "tcp port 9",
    capture: "auto",
    bufferBytes: 1 << 20,
    port: 36524,
    libpcapPath: undefined,
    partition: WHOLE,
    log,
    ...options,
  });
  capture.close();
  return [capture.constructor, lines];
}

Deno.test({
  name: "responses are captured by ring, and by libpcap where a ring cannot",
  ignore: Deno.uid() !== 0,
  fn() {
    assert.deepEqual(open({}), [RingCapture, []]);
    assert.deepEqual(open({ capture: "pcap" }), [PcapDeviceCapture, []]);
    const [kind, lines] = open({ filter: "vlan and tcp" });
    assert.equal(kind, PcapDeviceCapture);
    assert.equal(lines.length, 1);
    assert.match(lines[0], /^lo by libpcap: .*VLAN tags/);
    assert.throws(() => open({ capture: "ring", filter: "vlan" }), /VLAN tags/);
    assert.throws(() => open({ filter: "nonsense" }), /does not compile.*syntax error/);
    // Whoever names a libpcap wants it.
    assert.throws(() => open({ libpcapPath: "/nowhere/libpcap.so" }), /nowhere/);
  },
});
