import assert from "node:assert/strict";
import {
  MemoryGuard,
  MIN_MEMORY_MB,
  minMemoryMb,
  payloadCap,
} from "../../src/tcpcopy/memory_guard.ts";

const MB = 1 << 20;
const calm = {
  residentBytes: 100 * MB,
  payloadBytes: 0,
  maxPayloadBytes: 60 * MB,
  shedSessions: 0,
};

Deno.test("over the cap nothing new begins, until memory is clearly below it", () => {
  const guard = new MemoryGuard(200 * MB);
  assert.equal(guard.look(calm, 0), undefined);
  const notice = guard.look({ ...calm, residentBytes: 198 * MB }, 500);
  assert.match(notice!.text, /memory 198 MB comes up to the cap of 200 MB \(-m\)/);
  assert.ok(guard.isShort && notice!.isTrouble);
  assert.equal(guard.look({ ...calm, residentBytes: 195 * MB }, 1000), undefined);
  assert.ok(guard.isShort);
  assert.match(guard.look({ ...calm, residentBytes: 150 * MB }, 1500)!.text, /below the cap again/);
  assert.ok(!guard.isShort);
});

Deno.test("sessions shed for waiting payload are said once in a while", () => {
  const guard = new MemoryGuard(200 * MB);
  const full = { ...calm, payloadBytes: 55 * MB };
  assert.match(guard.look({ ...full, shedSessions: 3 }, 0)!.text, /3 just now.*55 MB.*60 MB may/);
  assert.equal(guard.look({ ...full, shedSessions: 9 }, 500), undefined);
  assert.equal(guard.look({ ...full, shedSessions: 9 }, 60_000), undefined);
  assert.match(guard.look({ ...full, shedSessions: 10 }, 60_500)!.text, /1 just now/);
});

Deno.test("the runtime's own memory is left out of what payload may take", () => {
  assert.equal(payloadCap(1024 * MB), 512 * MB);
  for (const memoryMb of [MIN_MEMORY_MB, 256, 512, 4096]) {
    const payload = payloadCap(memoryMb * MB);
    assert.ok(payload >= 20 * MB && payload + 120 * MB < memoryMb * MB, `${memoryMb}: ${payload}`);
  }
});

Deno.test("what workers take is left out of what payload may take, in the smallest cap too", () => {
  assert.equal(minMemoryMb(1), MIN_MEMORY_MB);
  for (const workers of [1, 2, 16]) {
    const cap = minMemoryMb(workers) * MB;
    assert.equal(payloadCap(cap, workers), payloadCap(MIN_MEMORY_MB * MB));
    assert.ok(payloadCap(400 * MB, 4) < payloadCap(400 * MB, 2));
  }
});
