import assert from "node:assert/strict";
import fc from "fast-check";
import { type CapturePair, destinationFilter } from "../../src/capture/bpf.ts";
import { ipv4, makePacket } from "./packets.ts";

type Program = ReturnType<typeof destinationFilter>;

/** Runs the operations that the filters use, as the kernel does; returns the bytes to keep. */
function run(program: Program, packet: Uint8Array): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  let a = 0;
  let x = 0;
  for (let pc = 0;; pc++) {
    assert.ok(pc < program.length, "the program runs beyond its end");
    const [code, jt, jf, k] = program[pc];
    switch (code) {
      case 0x20:
        a = view.getUint32(k);
        break;
      case 0x48:
        a = view.getUint16(x + k);
        break;
      case 0xb1:
        x = (view.getUint8(k) & 15) * 4;
        break;
      case 0x15:
        pc += a === k ? jt : jf;
        break;
      case 0x06:
        return k;
      default:
        assert.fail(`unknown operation ${code}`);
    }
  }
}

const address = fc.constantFrom(...["10.0.0.1", "198.18.0.9", "255.1.2.3"].map(ipv4));
const port = fc.constantFrom(1, 80, 443, 65_535);
const pair: fc.Arbitrary<CapturePair> = fc.record(
  { port, address: fc.option(address, { nil: undefined }) },
  { requiredKeys: ["port"] },
);

Deno.test("the filter lets exactly the destinations given through", () => {
  fc.assert(
    fc.property(
      fc.array(pair, { minLength: 1, maxLength: 6 }),
      address,
      port,
      fc.integer({ min: 0, max: 10 }),
      (pairs, destination, destinationPort, optionWords) => {
        const plain = makePacket({ destination, destinationPort });
        const packet = new Uint8Array(plain.length + optionWords * 4);
        packet.set(plain.subarray(0, 20));
        packet.set(plain.subarray(20), 20 + optionWords * 4);
        packet[0] = 0x45 + optionWords;
        const wanted = pairs.some((pair) =>
          pair.port === destinationPort &&
          (pair.address === undefined || pair.address === destination)
        );
        assert.equal(run(destinationFilter(pairs), packet) >= 65_535, wanted);
      },
    ),
  );
});

Deno.test("address 0 stands for every address", () => {
  const packet = makePacket({ destinationPort: 80 });
  assert.ok(run(destinationFilter([{ port: 80, address: 0 }]), packet) > 0);
});

Deno.test("a filter that cannot be is refused", () => {
  assert.throws(() => destinationFilter([]), /at least one port/);
  for (const port of [0, 65_536, 1.5, NaN]) {
    assert.throws(() => destinationFilter([{ port }]), /1 to 65535/);
  }
  const many = Array.from({ length: 900 }, (_, index) => ({ port: index + 1, address: 1 }));
  assert.throws(() => destinationFilter(many), /900 address and port pairs are too many/);
  assert.ok(destinationFilter(many.slice(0, 800)).length <= 4096);
});
