/**
 * A TCP connection that can be ended by a reset. Deno's own `close` always sends a FIN first;
 * `node:net` can do without (SO_LINGER with time zero, socket(7)).
 */

import { connect, type Socket } from "node:net";

/** What the lab's client needs of a connection; `Deno.TcpConn` has all but `reset`. */
export interface ClientConnection {
  setNoDelay(on: boolean): void;
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  /** Ends it with RST instead of FIN. */
  reset?(): void;
}

/** Opens a connection that has `reset`. */
export async function connectResettable(
  hostname: string,
  port: number,
): Promise<ClientConnection> {
  const socket = connect({ host: hostname, port, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return new NodeConnection(socket);
}

class NodeConnection implements ClientConnection {
  readonly #socket: Socket;
  #error: Error | undefined;
  #isOver = false;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("readable", () => this.#wake?.());
    socket.on("end", () => this.#end());
    socket.on("close", () => this.#end());
    socket.on("error", (error: Error) => {
      this.#error = error;
      this.#wake?.();
    });
  }

  #end(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  setNoDelay(on: boolean): void {
    this.#socket.setNoDelay(on);
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const available = Math.min(buffer.length, this.#socket.readableLength);
      const chunk = this.#socket.read(available || undefined) as Uint8Array | null;
      if (chunk !== null) {
        const count = Math.min(chunk.length, buffer.length);
        buffer.set(chunk.subarray(0, count));
        if (count < chunk.length) this.#socket.unshift(chunk.subarray(count));
        return count;
      }
      if (this.#isOver) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  write(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => error ? reject(error) : resolve(bytes.length));
    });
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(resolve));
  }

  close(): void {
    this.#socket.destroy();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }
}
