import assert from "node:assert/strict";
import fc from "fast-check";
import {
  offeredMss,
  offeredScale,
  offersSack,
  offersTimestamps,
  packHandshake,
} from "../../src/session/handshake.ts";

Deno.test("packed options come out as they went in", () => {
  const options = fc.record({
    mss: fc.integer({ min: 0, max: 65535 }),
    windowScale: fc.integer({ min: -1, max: 14 }),
    sackPermitted: fc.boolean(),
    timestamps: fc.boolean(),
  });
  fc.assert(fc.property(options, (one) => {
    const packed = packHandshake(one);
    assert.deepEqual({
      mss: offeredMss(packed),
      windowScale: offeredScale(packed),
      sackPermitted: offersSack(packed),
      timestamps: offersTimestamps(packed),
    }, { ...one });
  }));
});
