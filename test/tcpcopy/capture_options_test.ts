import assert from "node:assert/strict";
import { UsageError } from "../../src/cli/fatal.ts";
import { type GivenCaptureOptions, readInput } from "../../src/tcpcopy/capture_options.ts";
import { openCapture } from "../../src/tcpcopy/live_capture.ts";
import { WHOLE } from "../../src/wire/partition.ts";

const nothing: GivenCaptureOptions = {
  capture: undefined,
  input: undefined,
  filter: undefined,
  buffer: undefined,
  snapLength: undefined,
  decapsulate: false,
  allowTruncated: false,
  libpcap: undefined,
  inject: "raw",
  outputDevice: undefined,
};

const read = (given: Partial<GivenCaptureOptions>) => readInput({ ...nothing, ...given });
const refused = (given: Partial<GivenCaptureOptions>, pattern: RegExp) =>
  assert.throws(() => read(given), (error: unknown) => {
    assert.ok(error instanceof UsageError, String(error));
    assert.match(error.message, pattern);
    return true;
  });

/** Runs the body with two files there, one of them with a comma in its name. */
function withFiles(body: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    for (const name of ["a", "b", "a,b"]) Deno.writeTextFileSync(`${directory}/${name}`, "");
    body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const live = (given: Partial<GivenCaptureOptions>) => {
  const input = read(given);
  assert.ok("live" in input);
  return input.live;
};

Deno.test("without -i packets are live, from a raw socket unless another way is chosen", () => {
  assert.equal(live({}).way, "raw");
  assert.equal(live({ capture: "ring" }).way, "ring");
  assert.deepEqual(live({ capture: "pcap" }).devices, []);
});

Deno.test("-i names files, several of them, standard input, or one with a comma", () => {
  withFiles((directory) => {
    const [a, b] = [`${directory}/a`, `${directory}/b`];
    assert.deepEqual(read({ input: `${a},${b}` }), { files: [a, b], allowTruncated: false });
    assert.deepEqual(read({ input: `-,${b}`, allowTruncated: true }), {
      files: ["-", b],
      allowTruncated: true,
    });
    assert.deepEqual(read({ input: `${a},b` }), { files: [`${a},b`], allowTruncated: false });
    refused({ input: `${a},,${b}` }, /one of them is empty/);
    refused({ input: "-,-" }, /can be read once only/);
  });
});

Deno.test("-i names devices with a way to capture from devices", () => {
  const given = live({
    ...{ capture: "pcap", input: "eth0,eth1", filter: "tcp", buffer: 16, snapLength: 2000 },
    ...{ decapsulate: true, libpcap: "/x.so" },
  });
  assert.deepEqual(given, {
    way: "pcap",
    devices: ["eth0", "eth1"],
    filter: "tcp",
    bufferBytes: 16 << 20,
    snapLength: 2000,
    stripsTunnels: true,
    libpcapPath: "/x.so",
  });
});

Deno.test("a value that is taken for the other kind, or is neither, is explained", () => {
  refused({ input: "lo" }, /no such file, but a network device.*--capture pcap/);
  refused({ input: "nothing0" }, /No such file, and no network device/);
  withFiles((directory) => {
    const open = (name: string) =>
      openCapture([{ port: 80 }], live({ capture: "pcap", input: name }), {
        partition: WHOLE,
        maxPayloadBytes: 1 << 28,
      });
    assert.throws(() => open(`${directory}/a`), /this is a file.*leave --capture out/);
    assert.throws(
      () => open("nothing0"),
      /neither a network device of that name .*lo.* nor a file/,
    );
    refused({ capture: "raw", input: `${directory}/a` }, /nothing to name; leave --capture out/);
  });
});

Deno.test("options that do not go together are refused", () => {
  refused({ filter: "tcp" }, /-F is for --capture pcap and ring/);
  refused({ snapLength: 500 }, /-S is for --capture/);
  refused({ decapsulate: true }, /--decapsulate is for --capture/);
  refused({ input: "x.pcap", filter: "tcp" }, /-F is for live capture/);
  refused({ input: "x.pcap", buffer: 5 }, /-B is for live capture/);
  refused({ allowTruncated: true }, /--allow-truncated is for offline/);
  refused({ inject: "pcap" }, /--inject pcap needs -o/);
  refused({ outputDevice: "eth0", inject: "raw" }, /-o names the device of --inject link and pcap/);
});
