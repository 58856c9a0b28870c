/** Medians and ratios as a Markdown table. Pure but for the date and the machine's name. */

import type { Figures } from "./measure.ts";

/** All runs of one scene, by contender; the first contender is what the others are divided by. */
export interface Measured {
  name: string;
  runs: ReadonlyMap<string, readonly Figures[]>;
}

/** The median of some numbers; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of a figure over all runs of a contender. */
export function medianOf(runs: readonly Figures[], figure: string): number {
  return median(runs.map((run) => run[figure]).filter((value) => Number.isFinite(value)));
}

/** A table per scene. */
export function markdown(measured: readonly Measured[], rounds: number): string {
  const date = new Date().toISOString().slice(0, 10);
  const cores = navigator.hardwareConcurrency;
  const lines = [
    `${date}, ${cores} cores, Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}; medians of ` +
    `${rounds} alternating runs (least–most).`,
  ];
  for (const { name, runs } of measured) lines.push("", ...sceneTable(name, runs));
  return lines.join("\n") + "\n";
}

function sceneTable(name: string, runs: Measured["runs"]): string[] {
  const [base, ...others] = [...runs.keys()];
  const heads = [base, ...others.flatMap((other) => [other, `${other} : ${base}`])];
  const figures = Object.keys(runs.get(base)![0]);
  return [
    `**${name}**`,
    "",
    `| | ${heads.join(" | ")} |`,
    `| --- |${heads.map(() => " ---: |").join("")}`,
    ...figures.map((figure) => {
      const first = medianOf(runs.get(base)!, figure);
      const cells = others.flatMap((other) => [
        cell(runs.get(other)!, figure),
        formatNumber(medianOf(runs.get(other)!, figure) / first),
      ]);
      return `| ${[figure, cell(runs.get(base)!, figure), ...cells].join(" | ")} |`;
    }),
  ];
}

function cell(runs: readonly Figures[], figure: string): string {
  const values = runs.map((run) => run[figure]).filter((value) => Number.isFinite(value));
  if (values.length === 0) return "–";
  const range = `${formatNumber(Math.min(...values))}–${formatNumber(Math.max(...values))}`;
  return `${formatNumber(median(values))} (${range})`;
}

function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
