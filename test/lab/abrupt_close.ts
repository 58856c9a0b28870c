/**
 * Closes a server's connections as most servers do: with close(2) and nothing before it. When bytes
 * have come that nobody read, the kernel then sends a reset at once; Deno's own `close` would send
 * a FIN first.
 */

import { libc } from "../../ffi/libc.ts";
import { peerEndpoint } from "../../ffi/socket.ts";
import { formatIpv4 } from "../../src/wire/ipv4.ts";

const O_RDWR = 2;
/** Descriptors below this are looked at, and so many above the highest one known. */
const SEARCHED = 64;

/** The connections of one server, and their descriptors, which Deno does not tell. */
export class AbruptCloser {
  readonly #fds = new Map<Deno.TcpConn, number>();
  readonly #taken = new Set<number>();
  /** Descriptors that are no connection: files, the event loop's own. */
  readonly #foreign = new Set<number>();
  #highest = 0;
  #nothing: number | undefined;

  /** Takes a connection that was just accepted. */
  add(conn: Deno.TcpConn): void {
    // The kernel gives the lowest number that is free, so the search is short.
    for (let fd = 0; fd < this.#highest + SEARCHED; fd++) {
      if (this.#taken.has(fd) || this.#foreign.has(fd) || !this.#is(conn, fd)) continue;
      this.#fds.set(conn, fd);
      this.#taken.add(fd);
      this.#highest = Math.max(this.#highest, fd);
      return;
    }
    // It was reset already: there is nothing left to be closed otherwise.
  }

  #is(conn: Deno.TcpConn, fd: number): boolean {
    const { hostname, port } = conn.remoteAddr;
    try {
      const peer = peerEndpoint(fd);
      return peer?.port === port && formatIpv4(peer.address) === hostname;
    } catch {
      this.#foreign.add(fd);
      return false;
    }
  }

  /** Forgets a connection that ends otherwise, before it is closed. */
  remove(conn: Deno.TcpConn): void {
    const fd = this.#fds.get(conn);
    if (fd !== undefined) this.#taken.delete(fd);
    this.#fds.delete(conn);
  }

  /** Closes a connection; nothing may be under way on it. */
  close(conn: Deno.TcpConn): void {
    const fd = this.#fds.get(conn);
    this.remove(conn);
    if (fd !== undefined) {
      this.#nothing ??= libc().open(new TextEncoder().encode("/dev/null\0"), O_RDWR);
      // The socket goes; its number stays Deno's, which closes what is there instead of it.
      libc().dup2(this.#nothing, fd);
    }
    conn.close();
  }
}
