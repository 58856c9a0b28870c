/** The kinds of machine an executable can be made for. */

/** One kind of machine. */
export interface Target {
  /** As the runtime and the Rust compiler call it. */
  triple: string;
  /** What uname(1) -m says there. */
  machine: string;
  /** The npm package that holds its runtime. */
  runtimePackage: string;
}

/** All targets. */
export const TARGETS: readonly Target[] = [
  {
    triple: "x86_64-unknown-linux-gnu",
    machine: "x86_64",
    runtimePackage: "@deno/linux-x64-glibc",
  },
  {
    triple: "aarch64-unknown-linux-gnu",
    machine: "aarch64",
    runtimePackage: "@deno/linux-arm64-glibc",
  },
];

/**
 * The target called `triple`; this machine's own when none is named.
 *
 * @throws Error naming those there are
 */
export function findTarget(triple: string = Deno.build.target): Target {
  const target = TARGETS.find((target) => target.triple === triple);
  if (target !== undefined) return target;
  const names = TARGETS.map(({ triple }) => triple).join(" or ");
  throw new Error(`--target: expected ${names}, got "${triple}"`);
}
