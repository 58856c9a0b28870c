/** A descriptor that tests of the event loop can make ready at will. */

import { Arena } from "../../ffi/arena.ts";
import { libc } from "../../ffi/libc.ts";
import { closeFd } from "../../ffi/socket.ts";

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

/** A descriptor (an eventfd) that is readable while it is raised. */
export class Flag implements Disposable {
  readonly fd: number;
  readonly #memory = new Arena(16);

  constructor() {
    this.fd = libc().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.fd < 0) throw new Error("eventfd failed");
    this.#memory.view.setBigUint64(0, 1n, true);
  }

  raise(): void {
    libc().write(this.fd, this.#memory.addressAt(0), 8n);
  }

  lower(): void {
    libc().read(this.fd, this.#memory.addressAt(8), 8n);
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
    this.#memory.free();
  }
}
