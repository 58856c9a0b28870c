import assert from "node:assert/strict";
import { cText, libpcap, readText } from "../../ffi/libpcap.ts";
import { pcapDevices } from "../../ffi/pcap_handle.ts";

Deno.test("libpcap is found and lists devices", () => {
  const lib = libpcap();
  assert.match(readText(lib.pcap_lib_version()), /^libpcap version \d+\.\d+/);
  assert.ok(pcapDevices(lib).includes("lo"));
  assert.equal(libpcap(), lib);
});

Deno.test("a libpcap that is not there is reported with what to do", () => {
  assert.throws(() => libpcap("/nonexistent/libpcap.so"), {
    message: "libpcap was not found (tried /nonexistent/libpcap.so): install it with " +
      "`apt-get install libpcap0.8`, or give --libpcap PATH",
  });
});

Deno.test("a library that is not libpcap is reported as such", () => {
  assert.throws(() => libpcap("libc.so.6"), /^Error: libpcap does not fit .*1\.5 or later/);
});

Deno.test("texts for C end with a zero and contain none", () => {
  assert.deepEqual([...cText("aé")], [0x61, 0xc3, 0xa9, 0]);
  assert.throws(() => cText("a\0b"), TypeError);
  assert.equal(readText(null), "");
});
