import assert from "node:assert/strict";
import { openRecording } from "../../src/capture/recording.ts";
import { UsageError } from "../../src/cli/fatal.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import { surveyRecording } from "../../src/tcpcopy/survey.ts";
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
async function survey(
  whole: number,
  cut: number,
  maxGapMs: number | undefined = undefined,
  allowTruncated = false,
) {
  const { bytes } = fromClient({ flags: "PA", payload: new Uint8Array(100) });
  const writer = new PcapWriter(LinkType.Raw);
  for (let i = 0; i < whole + cut; i++) {
    const kept = i < whole ? bytes.length : bytes.length - 1;
    writer.add(1_000_000 + i * 100_000, bytes.subarray(0, kept), bytes.length);
  }
  const path = Deno.makeTempFileSync({ suffix: ".pcap" });
  try {
    Deno.writeFileSync(path, writer.bytes());
    using recording = openRecording([path]);
    const survey = await surveyRecording(recording, {
      name: path,
      transfers,
      maxGapMs,
      allowTruncated,
    });
    const { packets, requestPackets, cutPackets, recordedMs, durationMs } = survey;
    return { packets, requestPackets, cutPackets, recordedMs, durationMs };
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("packets and their time are counted, pauses up to the bound", async () => {
  const whole = { packets: 5, requestPackets: 5, cutPackets: 0, recordedMs: 400 };
  assert.deepEqual(await survey(5, 0), { ...whole, durationMs: 400 });
  assert.deepEqual(await survey(5, 0, 10), { ...whole, durationMs: 40 });
});

Deno.test("packets cut short are refused, unless they are allowed", async () => {
  await assert.rejects(survey(100, 1), (error: unknown) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, /1 of 101 request packets were cut short.*--allow-truncated/);
    return true;
  });
  assert.equal((await survey(100, 6, undefined, true)).cutPackets, 6);
});

Deno.test("a recording without requests is refused, with what there is instead", async () => {
  await assert.rejects(survey(0, 0), /none of its 0 packets.*there are no TCP packets/);
});
