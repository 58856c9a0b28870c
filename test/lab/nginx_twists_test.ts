/** Unit tests of nginx's twists: what it is told to answer. */

import assert from "node:assert/strict";
import { nginxAnswers, usualAnswers } from "./nginx_twists.ts";
import { twistNamed, twists } from "./twists.ts";

/** What nginx answers by the twist of that name. */
function answers(name: string) {
  const made = nginxAnswers(twistNamed(name));
  assert(made !== undefined, `nginx cannot have ${name}`);
  return made;
}

Deno.test("nginx has the twists of length and of closing, and no other", () => {
  const possible = [...twists.values()].filter((twist) => nginxAnswers(twist) !== undefined);
  assert.deepEqual(possible.map(({ name }) => name), [
    ...["equal", "minus7", "plus7", "mixed7", "half", "double", "empty", "random"],
    ...["closes50", "closes1"],
  ]);
});

Deno.test("bodies have the lengths their twist says", () => {
  // Its line feed is written with two characters.
  const usual = usualAnswers.body.length - 1;
  assert.deepEqual(answers("equal"), usualAnswers);
  const differences = { minus7: usual - 7, plus7: usual + 7, double: usual * 2, empty: 0 };
  for (const [name, bytes] of Object.entries(differences)) {
    assert.equal(answers(name).body.length, bytes, name);
  }
  const mixed = [...answers("mixed7").http.matchAll(/^\s*(\S+) "(x*)";/gm)];
  assert.deepEqual(
    mixed.map(([, choice, body]) => [choice, body.length - usual]),
    [["20%", -7], ["20%", 7], ["*", 0]],
  );
});

Deno.test("nginx closes by its own settings", () => {
  assert.match(answers("closes50").http, /^keepalive_requests 50;$/);
  assert.match(answers("closes1").http, /^keepalive_timeout 0;$/);
});
