/**
 * Does it disturb production? What requests to the online server take, without the tool, beside it,
 * and while things go wrong with it; in the lab's namespaces, alternating.
 *
 *     deno task bench:disturbance [--rounds 10] [--seconds 10] [--connections 20] [--rate N]
 *         [--condition TEXT]… [--out FOLDER]
 *
 * The rate is fixed (h2load), by default a third of what the machine can do without the tool; requests
 * that are late are sent at once. `--condition` picks the conditions whose names contain the text; each is
 * compared with "without the tool". Writes disturbance.md to the folder, anew after each round. Limits on CPU and memory need
 * root and control groups; without them those conditions are named as not measured.
 */

import { isInside, runInside } from "../../test/lab/enter.ts";
import { type Condition, CONDITIONS } from "./conditions.ts";
import { GroupError } from "./control_group.ts";
import { capacity, type Figures, type Load, measure } from "./measure.ts";
import { markdown, type Measured } from "./table.ts";

const EXPECTED =
  "expected --rounds N, --seconds N, --connections N, --rate N, --out FOLDER, or --condition with " +
  `a part of one of ${CONDITIONS.map(({ name }) => `"${name}"`).join(", ")}`;
/** Of what the machine can do: it is not to be busy. */
const SHARE_OF_CAPACITY = 1 / 3;
const CAPACITY_SECONDS = 3;

interface Options {
  rounds: number;
  seconds: number;
  connections: number;
  rate: number | undefined;
  out: string;
  conditions: Condition[];
}

function readOptions(args: readonly string[]): Options {
  const options: Options = {
    rounds: 10,
    seconds: 10,
    connections: 20,
    rate: undefined,
    out: "bench/results",
    conditions: [],
  };
  const [base, ...others] = CONDITIONS;
  for (let i = 0; i < args.length; i += 2) {
    const value = args[i + 1];
    if (value === undefined) throw new Error(`${args[i]}: a value is missing`);
    const named = others.filter(({ name }) => name.includes(value));
    const isCount = /^[1-9]\d*$/.test(value);
    if (args[i] === "--rounds" && isCount) options.rounds = Number(value);
    else if (args[i] === "--seconds" && isCount) options.seconds = Number(value);
    else if (args[i] === "--connections" && isCount) options.connections = Number(value);
    else if (args[i] === "--rate" && isCount) options.rate = Number(value);
    else if (args[i] === "--out") options.out = value;
    else if (args[i] === "--condition" && named.length > 0) options.conditions.push(...named);
    else throw new Error(`${args[i]} ${value}: ${EXPECTED}`);
  }
  const picked = options.conditions.length === 0 ? others : [...new Set(options.conditions)];
  return { ...options, conditions: [base, ...picked] };
}

async function loadOf({ rate, seconds, connections }: Options): Promise<Load> {
  const most = rate ?? await capacity(connections, CAPACITY_SECONDS) * SHARE_OF_CAPACITY;
  // h2load wants a whole number for each connection.
  const perConnection = Math.max(1, Math.round(most / connections));
  return { connections, seconds, requestsPerSecond: perConnection * connections };
}

async function main(): Promise<number> {
  const options = readOptions(Deno.args);
  if (!isInside()) {
    await Deno.mkdir(options.out, { recursive: true });
    return await runInside(new URL(import.meta.url).pathname, Deno.args);
  }
  const { conditions, rounds, out } = options;
  const load = await loadOf(options);
  const runs = conditions.map(() => [] as Figures[]);
  const missing = new Map<string, string>();
  for (let round = 0; round < rounds; round++) {
    // Beginning with another one each round: what drifts hits all alike.
    for (let turn = 0; turn < conditions.length; turn++) {
      const index = (round + turn) % conditions.length;
      const condition = conditions[index];
      if (missing.has(condition.name)) continue;
      console.error(`round ${round + 1} of ${rounds}: ${condition.name}`);
      try {
        runs[index].push(await measure(condition, load));
      } catch (error) {
        if (!(error instanceof GroupError)) throw error;
        missing.set(condition.name, error.message);
      }
    }
    const measured = conditions.map(({ name }, index): Measured => ({
      name,
      rounds: runs[index],
      missing: missing.get(name),
    }));
    await Deno.writeTextFile(`${out}/disturbance.md`, markdown(measured, load));
  }
  console.log(await Deno.readTextFile(`${out}/disturbance.md`));
  return 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main());
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(2);
  }
}
