import assert from "node:assert/strict";
import { assertDepth, goJson, parseExactly } from "../../src/trafficdump/exact_json.ts";

Deno.test("numbers stand as they came, whatever their size", () => {
  for (
    const text of [
      '{"id":12345678901234567890,"next":9007199254740993}',
      "[-9223372036854775808,1.0,1e2,0.1,0.10000000000000000001,-0,7]",
      "18446744073709551615",
    ]
  ) {
    assert.equal(JSON.stringify(parseExactly(text)), text);
    assert.equal(goJson(parseExactly(text)), text);
  }
  assert.deepEqual(parseExactly('{"port":8080,"rate":0.5}'), { port: 8080, rate: 0.5 });
});

Deno.test("as Go writes it: keys in the order of their bytes, <, > and & as escapes", () => {
  const cases = [
    ['{"b":1,"a":{"z":[],"y":{}},"A":null}', '{"A":null,"a":{"y":{},"z":[]},"b":1}'],
    ['"<a href=\\"x\\">&</a>"', '"\\u003ca href=\\"x\\"\\u003e\\u0026\\u003c/a\\u003e"'],
    ['"\\u2028\\u2029"', '"\\u2028\\u2029"'],
    ['"\\b\\f\\n\\r\\t\\u0001\\\\b\\/"', '"\\u0008\\u000c\\n\\r\\t\\u0001\\\\b/"'],
    ['"\\ud800x"', '"\ufffdx"'],
    ['{"<":"grün"}', '{"\\u003c":"grün"}'],
    // In UTF-16 the second comes first.
    ['{"😀":1,"\uff01":2,"a":3,"ab":4}', '{"a":3,"ab":4,"\uff01":2,"😀":1}'],
    ['{"__proto__":1,"10":2,"9":3}', '{"10":2,"9":3,"__proto__":1}'],
    ["[true,false,null,0.5]", "[true,false,null,0.5]"],
  ];
  for (const [text, expected] of cases) assert.equal(goJson(parseExactly(text)), expected);
});

Deno.test("nesting beyond 100 levels is refused, brackets in strings are none", () => {
  assertDepth("[".repeat(100) + "]".repeat(100));
  assertDepth(JSON.stringify({ text: "[{".repeat(200) + '\\"[' }));
  assertDepth("[[]],".repeat(500));
  for (const bracket of ["[", '{"a":']) {
    assert.throws(() => assertDepth(bracket.repeat(101)), /deeper than 100 levels/);
  }
});
