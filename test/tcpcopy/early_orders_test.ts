import assert from "node:assert/strict";
import { EarlyOrders } from "../../src/tcpcopy/early_orders.ts";
import type { Part } from "../../src/tcpcopy/part.ts";
import type { Reconfiguration } from "../../src/tcpcopy/replay.ts";

/** A part that notes what it is told. */
function recorder(): { part: Part; told: string[] } {
  const told: string[] = [];
  const part = {
    setShedding: (shedding: boolean) => void told.push(`shedding ${shedding}`),
    setSampling: (sampling: boolean) => Promise.resolve(void told.push(`sampling ${sampling}`)),
    reconfigure: ({ percentage }: Reconfiguration) => void told.push(`percentage ${percentage}`),
  } as Partial<Part> as Part;
  return { part, told };
}

const next = (percentage: number) => ({ percentage }) as Reconfiguration;

Deno.test("what a part is told before it is there is in force when it is", async () => {
  const orders = new EarlyOrders();
  orders.setShedding(true);
  orders.reconfigure(next(10));
  orders.reconfigure(next(20));
  await orders.setSampling(false);
  const { part, told } = recorder();
  await orders.attach(part);
  assert.deepEqual(told.sort(), ["percentage 20", "sampling false", "shedding true"]);
});

Deno.test("from then on it is told at once", async () => {
  const orders = new EarlyOrders();
  const { part, told } = recorder();
  await orders.attach(part);
  assert.deepEqual(told, ["shedding false", "sampling true"]);
  told.length = 0;
  orders.setShedding(true);
  orders.setShedding(false);
  await orders.setSampling(false);
  orders.reconfigure(next(5));
  assert.deepEqual(told, ["shedding true", "shedding false", "sampling false", "percentage 5"]);
});
