/** A target that is a captured service too: what is sent there is captured. */

import assert from "node:assert/strict";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG } from "../../src/session/config.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import { type Fields, fromClient, RecordingSink, TARGET, TARGET_PORT } from "./harness.ts";

Deno.test("what was sent to a target that is an online service is not replayed again", () => {
  const sink = new RecordingSink();
  const table = new SessionTable(
    { ...DEFAULT_SESSION_CONFIG },
    new TransferMap([
      { onlineAddress: undefined, onlinePort: 80, targetAddress: TARGET, targetPort: TARGET_PORT },
      {
        onlineAddress: undefined,
        onlinePort: TARGET_PORT,
        targetAddress: TARGET,
        targetPort: 81,
      },
    ]),
    sink,
    new TimerWheel(0),
    { announce() {}, forget() {} },
  );
  const open = (fields: Partial<Fields>, nowMs: number) => {
    table.onCaptured(fromClient({ ...fields, flags: "S", sequence: 1000 }), nowMs);
    table.onCaptured(fromClient({ ...fields, flags: "A", sequence: 1001 }), nowMs);
    table.flush(nowMs);
  };
  open({}, 1);
  const [syn] = sink.take();
  const fields = { destination: TARGET, destinationPort: TARGET_PORT };
  open({ ...fields, source: syn.source, sourcePort: syn.sourcePort }, 2);
  assert.equal(table.ledger.seen, 1);
  open({ ...fields, sourcePort: 7 }, 3);
  assert.equal(table.ledger.seen, 2, "a real client's packet is");
});
