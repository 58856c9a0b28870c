import assert from "node:assert/strict";
import { PcapFileReader } from "../../src/capture/pcap_file.ts";
import { UsageError } from "../../src/cli/fatal.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import { surveyFile } from "../../src/tcpcopy/survey.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { fromClient } from "../session/harness.ts";

const transfers = new TransferMap([{
  onlineAddress: undefined,
  onlinePort: 80,
  targetAddress: 0xc6120201 | 0,
  targetPort: 8080,
}]);

/** Surveys a file of `whole` and `cut` request packets, 100 ms apart. */
function survey(whole: number, cut: number, maxGapMs = Infinity) {
  const { bytes } = fromClient({ flags: "PA", payload: new Uint8Array(100) });
  const writer = new PcapWriter(LinkType.Raw);
  for (let i = 0; i < whole + cut; i++) {
    const kept = i < whole ? bytes.length : bytes.length - 1;
    writer.add(1_000_000 + i * 100_000, bytes.subarray(0, kept), bytes.length);
  }
  const path = Deno.makeTempFileSync({ suffix: ".pcap" });
  try {
    Deno.writeFileSync(path, writer.bytes());
    using file = new PcapFileReader(path);
    return surveyFile(file, transfers, maxGapMs);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("packets and their time are counted, pauses up to the bound", () => {
  const whole = { packets: 5, requestPackets: 5, cutPackets: 0 };
  assert.deepEqual(survey(5, 0), { ...whole, durationMs: 400 });
  assert.deepEqual(survey(5, 0, 10), { ...whole, durationMs: 40 });
});

Deno.test("a few packets cut short are borne, many are not", () => {
  assert.equal(survey(100, 5).cutPackets, 5);
  assert.throws(() => survey(100, 6), UsageError);
});
