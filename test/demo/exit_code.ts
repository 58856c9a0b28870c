/** How the demo's processes end. */
export const ExitCode = {
  /** Everything arrived. */
  Good: 0,
  /** Something did not arrive, or something did not work. */
  Bad: 1,
  /** The same, from inside the sandbox: it has been shown already. */
  BadAndTold: 3,
  /** Ended by an interrupt: 128 and the number of SIGINT, as in a shell. */
  Interrupted: 130,
} as const;
