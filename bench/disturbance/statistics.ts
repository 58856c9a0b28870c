/** Means with confidence intervals, also of differences between figures of the same round. Pure. */

/** Student's t for 95 %, two-sided, by degrees of freedom from 1 on; beyond the last: the normal. */
const T_95 = [
  ...[12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228],
  ...[2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086],
  ...[2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042],
];
const NORMAL_95 = 1.96;

/** A mean, and how far on both sides the 95 % interval goes; NaN for less than two values. */
export interface Estimate {
  mean: number;
  halfWidth: number;
}

export function estimate(values: readonly number[]): Estimate {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count < 2) return { mean, halfWidth: NaN };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, halfWidth: (T_95[count - 2] ?? NORMAL_95) * Math.sqrt(variance / count) };
}

/** The difference between two figures that were measured in the same rounds. */
export function pairedDifference(values: readonly number[], base: readonly number[]): Estimate {
  if (values.length !== base.length) throw new RangeError("there are rounds without a partner");
  return estimate(values.map((value, round) => value - base[round]));
}

/** The value below which `share` of the ascending values lie; NaN when there are none. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}
