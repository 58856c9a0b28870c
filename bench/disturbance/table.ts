/** The figures of all rounds as Markdown. Pure but for the date and the machine's name. */

import type { Figures, Load } from "./measure.ts";
import { type Estimate, estimate, pairedDifference } from "./statistics.ts";

/** A condition and its rounds; or why it could not be measured. */
export interface Measured {
  name: string;
  rounds: readonly Figures[];
  missing?: string;
}

/** @param measured the first is what the others are compared with */
export function markdown(measured: readonly Measured[], load: Load): string {
  const [base, ...others] = measured;
  const date = new Date().toISOString().slice(0, 10);
  const cores = navigator.hardwareConcurrency;
  const of = ({ rounds }: Measured, figure: keyof Figures) => rounds.map((one) => one[figure]);
  const row = (one: Measured, isBase: boolean) => {
    const differences = (["p50Us", "p99Us"] as const).map((figure) =>
      isBase ? "" : signed(pairedDifference(of(one, figure), of(base, figure)))
    );
    const cells = [
      ...[plain(estimate(of(one, "p50Us"))), differences[0]],
      ...[plain(estimate(of(one, "p99Us"))), differences[1]],
      plain(estimate(of(one, "requestsPerSecond"))),
      String(of(one, "failed").reduce((sum, count) => sum + count, 0)),
      isBase ? "" : plain(estimate(of(one, "replayedPercent"))),
    ];
    return `| ${one.name} | ${cells.join(" | ")} |`;
  };
  const missing = others.filter((one) => one.missing !== undefined);
  return [
    `${date}, ${cores} cores, Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}; ` +
    `${base.rounds.length} alternating rounds of ${load.seconds} s, ${load.connections} connections ` +
    `that ask ${
      load.requestsPerSecond.toLocaleString("en-US")
    } times a second in all, small requests ` +
    "and replies; all hosts of the lab share the cores. Means with 95 % confidence intervals; the " +
    "differences are those between runs of the same round.",
    "",
    "| | p50, µs | difference | p99, µs | difference | requests/s | failed | replayed, % |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    row(base, true),
    ...others.filter((one) => one.missing === undefined).map((one) => row(one, false)),
    ...(missing.length === 0 ? [] : [""]),
    ...missing.map(({ name, missing }) => `Not measured: ${name}: ${missing}`),
  ].join("\n") + "\n";
}

function plain({ mean, halfWidth }: Estimate): string {
  return `${formatNumber(mean)} ${formatWidth(halfWidth)}`;
}

function signed({ mean, halfWidth }: Estimate): string {
  return `${mean > 0 ? "+" : ""}${formatNumber(mean)} ${formatWidth(halfWidth)}`;
}

function formatWidth(halfWidth: number): string {
  return Number.isFinite(halfWidth) ? `± ${formatNumber(halfWidth)}` : "";
}

function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
