/**
 * Our programs and the originals side by side, alternating in one run.
 *
 *     TCPCOPY_ORIG=… INTERCEPT_ORIG=… deno task bench:peers [--rounds 5] [--out FOLDER]
 *         [--scene TEXT]… [--ours "NAME|tcpcopy options|intercept options"]…
 *
 * Without the two variables, which name the originals' binaries, only ours are measured. `--scene`
 * picks the scenes whose names contain the text. Writes peers.md (a table of medians and ratios) and
 * peers.svg (a plot) to the folder, anew after each scene. A round of all takes some two minutes.
 */

import { isInside, runInside } from "../../test/lab/enter.ts";
import {
  type Contender,
  type Figures,
  measureDelay,
  measureNginx,
  measureUploads,
} from "./measure.ts";
import { plotRatios } from "./plot.ts";
import { markdown, type Measured } from "./table.ts";

const SCENES: readonly { name: string; measure: (contender: Contender) => Promise<Figures> }[] = [
  {
    name: "keep-alive, wrk with 20 connections",
    measure: (contender) => measureNginx(contender, "nginx-keepalive"),
  },
  {
    name: "short connections, wrk with 20 at a time",
    measure: (contender) => measureNginx(contender, "nginx-close"),
  },
  { name: "1,000 requests/s, nothing busy", measure: measureDelay },
  { name: "uploads of 4 MB, 8 at once", measure: measureUploads },
];

const EXPECTED =
  "expected --rounds N, --out FOLDER, --ours TEXT, or --scene with a part of one of " +
  SCENES.map(({ name }) => `"${name}"`).join(", ");

interface Options {
  rounds: number;
  out: string;
  scenes: string[];
  ours: Contender[];
}

function readOptions(args: readonly string[]): Options {
  const options: Options = { rounds: 5, out: "bench/results", scenes: [], ours: [] };
  for (let i = 0; i < args.length; i += 2) {
    const value = args[i + 1];
    if (value === undefined) throw new Error(`${args[i]}: a value is missing`);
    if (args[i] === "--rounds" && Number(value) >= 1) options.rounds = Number(value);
    else if (args[i] === "--out") options.out = value;
    else if (args[i] === "--ours") options.ours.push(ours(value));
    else if (args[i] === "--scene" && scenesNamed([value]).length > 0) options.scenes.push(value);
    else throw new Error(`${args[i]} ${value}: ${EXPECTED}`);
  }
  if (options.ours.length === 0) options.ours.push(ours("ours||"));
  return options;
}

function scenesNamed(texts: readonly string[]): typeof SCENES {
  if (texts.length === 0) return SCENES;
  return SCENES.filter(({ name }) => texts.some((text) => name.includes(text)));
}

function ours(text: string): Contender {
  const [name, tcpcopy = "", intercept = ""] = text.split("|");
  const words = (some: string) => some.split(" ").filter((word) => word !== "");
  return { name, maker: "ours", tcpcopyArgs: words(tcpcopy), interceptArgs: words(intercept) };
}

function contenders(options: Options): Contender[] {
  const hasOriginals = Deno.env.has("TCPCOPY_ORIG") && Deno.env.has("INTERCEPT_ORIG");
  const original = { name: "original", maker: "original", tcpcopyArgs: [], interceptArgs: [] };
  return [...(hasOriginals ? [original as Contender] : []), ...options.ours];
}

async function main(): Promise<number> {
  const options = readOptions(Deno.args);
  if (!isInside()) {
    await Deno.mkdir(options.out, { recursive: true });
    return await runInside(new URL(import.meta.url).pathname, Deno.args);
  }
  const all = contenders(options);
  const measured: Measured[] = [];
  for (const scene of scenesNamed(options.scenes)) {
    const runs = new Map<string, Figures[]>(all.map(({ name }) => [name, []]));
    for (let round = 0; round < options.rounds; round++) {
      // Alternating, and beginning with another one each round: what drifts hits all alike.
      for (let turn = 0; turn < all.length; turn++) {
        const contender = all[(round + turn) % all.length];
        console.error(`${scene.name}: round ${round + 1} of ${options.rounds}, ${contender.name}`);
        runs.get(contender.name)!.push(await scene.measure(contender));
      }
    }
    measured.push({ name: scene.name, runs });
    await Deno.writeTextFile(`${options.out}/peers.md`, markdown(measured, options.rounds));
    await Deno.writeTextFile(`${options.out}/peers.svg`, plotRatios(measured));
  }
  console.log(markdown(measured, options.rounds));
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
