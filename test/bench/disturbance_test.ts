import assert from "node:assert/strict";
import { estimate, pairedDifference, quantile } from "../../bench/disturbance/statistics.ts";
import { requirePrograms } from "../lab/hosts.ts";

const program = new URL("../../bench/disturbance/main.ts", import.meta.url).pathname;

Deno.test("a mean's interval is Student's, a difference is that of each round", () => {
  const ten = [12, 9, 11, 10, 8, 10, 11, 9, 10, 10];
  const { mean, halfWidth } = estimate(ten);
  assert.equal(mean, 10);
  // Standard deviation 1.1547, t with 9 degrees of freedom 2.262.
  assert.ok(Math.abs(halfWidth - 0.826) < 0.001, `${halfWidth}`);
  assert.ok(Number.isNaN(estimate([1]).halfWidth));
  // What all rounds have in common counts for nothing.
  const later = pairedDifference(ten.map((value) => value + 3), ten);
  assert.deepEqual(later, { mean: 3, halfWidth: 0 });
  assert.throws(() => pairedDifference([1], [1, 2]), RangeError);
});

Deno.test("a quantile is a value that is there", () => {
  const values = Float64Array.from({ length: 100 }, (_, index) => index + 1);
  assert.deepEqual([0.5, 0.99, 1].map((share) => quantile(values, share)), [51, 100, 100]);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

Deno.test("the benchmark of what production feels measures something", async () => {
  requirePrograms(["ip", "nsenter", "unshare", "ethtool", "nginx", "h2load"]);
  const out = await Deno.makeTempDir();
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--quiet", program, "--rounds", "1", "--seconds", "1", "--rate", "200"],
        ...["--condition", "SIGSTOP", "--condition", "SIGKILL", "--out", out],
      ],
      stdin: "null",
      signal: AbortSignal.timeout(120_000),
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(code, 0, text);
    const table = await Deno.readTextFile(`${out}/disturbance.md`);
    for (const name of ["without the tool", "tcpcopy frozen", "tcpcopy killed"]) {
      assert.match(table, new RegExp(`^\\| ${name}.* \\| [1-9][\\d,.]* +\\|`, "m"));
    }
  } finally {
    await Deno.remove(out, { recursive: true });
  }
});
