import assert from "node:assert/strict";
import { FirstSigns, type SignFigures } from "../../src/tcpcopy/first_signs.ts";

const NOTHING: SignFigures = { requestsOf: [0, 0], sessions: 0, sent: 0, held: 0, answers: 0 };

/** What is said of these figures, from one second to the next; the last ones stay. */
function watch(
  ports: readonly number[],
  seconds: readonly Partial<SignFigures>[],
  listening?: (ports: ReadonlySet<number>) => ReadonlySet<number>,
): string[] {
  const said: string[] = [];
  const signs = new FirstSigns(
    { ports, listening },
    0,
    (text, isTrouble) => said.push(`${isTrouble ? "warn" : "info"} ${text}`),
  );
  let figures = NOTHING;
  let goesOn = true;
  for (let step = 1; step <= 60 && goesOn; step++) {
    figures = { ...figures, ...seconds[step >> 1] };
    const before = said.length;
    goesOn = signs.look(figures, 500 * step);
    if (said.length > before) said[before] = `${step / 2} s: ${said[before]}`;
  }
  return said;
}

Deno.test("a port on which nothing is captured is told within 5 s, with what is known of it", () => {
  const served = new Set([8080]);
  const said = watch([80, 8080], [], () => served);
  assert.match(said[0], /^4 s: warn port 80: nothing captured yet, and no service listens there/);
  assert.equal(said[1], "info port 8080: nothing captured yet; a service listens there");
  assert.equal(said.length, 2);
  assert.match(watch([80], [])[0], /does the mirror send it here, wrapped perhaps/);
  assert.deepEqual(watch([80, 8080], [{}, {}, { requestsOf: [1, 1] }], () => served), []);
  assert.deepEqual(watch([], []), []);
  // Of two pairs for the same port one may be for an address that has no clients.
  assert.equal(watch([80, 80], []).length, 1);
  assert.deepEqual(watch([80, 80], [{}, { requestsOf: [0, 1] }]), []);
});

Deno.test("sessions without any answer are told within 5 s", () => {
  const said = watch([], [{}, {}, {}, { sessions: 2, sent: 1 }]);
  assert.equal(said.length, 1);
  assert.match(said[0], /^7 s: warn 2 sessions have begun, and no answer has come: /);
});

Deno.test("not where answers come, and not where the interlock has said it", () => {
  const sent = { sessions: 1, sent: 1 };
  assert.deepEqual(watch([], [{}, sent, {}, {}, { answers: 1 }]), []);
  assert.deepEqual(watch([], [{}, sent, {}, {}, { held: 1 }]), []);
});
