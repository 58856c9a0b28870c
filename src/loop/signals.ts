/**
 * Signals of the operating system. May touch Deno's signal listeners only.
 *
 * The callback runs between two turns of the event loop, never inside one; to act inside the loop,
 * let it call `EventLoop.stop` or `EventLoop.wake`.
 */

/**
 * Calls back for each of the signals given until unsubscribed; their default action (ending the
 * program) no longer takes place meanwhile.
 *
 * ```ts
 * const unsubscribe = onSignals(["SIGINT", "SIGTERM"], (signal) => console.log(signal));
 * unsubscribe();
 * ```
 *
 * @returns a function that restores the default; a second call does nothing
 * @throws TypeError for a signal that cannot be caught (SIGKILL, SIGSTOP)
 */
export function onSignals(
  signals: readonly Deno.Signal[],
  callback: (signal: Deno.Signal) => void,
): () => void {
  const listeners = signals.map((signal) => ({ signal, listener: () => callback(signal) }));
  let added = 0;
  const unsubscribe = (): void => {
    for (; added > 0; added--) {
      const { signal, listener } = listeners[added - 1];
      Deno.removeSignalListener(signal, listener);
    }
  };
  try {
    for (const { signal, listener } of listeners) {
      Deno.addSignalListener(signal, listener);
      added++;
    }
  } catch (error) {
    unsubscribe();
    throw error;
  }
  return unsubscribe;
}
