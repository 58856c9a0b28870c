/** Taking connections and giving them back, in programs that have to outlive every failure of both. */

/** Long enough not to spin while nothing changes, short enough for nobody to wait for long. */
const PAUSE_MS = 50;

/**
 * The next connection. A failure (mostly EMFILE: no descriptor is left) is told and followed by
 * a pause: meanwhile connections wait in the kernel.
 *
 * @param isClosed whether the listener was closed, which ends the waiting
 * @returns undefined when the listener was closed
 */
export async function acceptNext<T extends Deno.Conn>(
  listener: { accept(): Promise<T> },
  isClosed: () => boolean,
  onFailure: (reason: string) => void,
): Promise<T | undefined> {
  for (;;) {
    try {
      return await listener.accept();
    } catch (error) {
      if (isClosed()) return undefined;
      onFailure(`a connection could not be accepted: ${(error as Error).message}`);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      if (isClosed()) return undefined;
    }
  }
}

/** Closes a connection that may be closed already. */
export function closeQuietly(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
