/**
 * Names for the numbers the kernel reports failures with, and the error that carries one. No FFI.
 *
 * The numbers are those of Linux on x86-64 and arm64 (asm-generic/errno.h). A message always says
 * what was being done, which call failed and how; where the cure is known it says that too.
 */

/** The error numbers the project tests for by name. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EMFILE: 24,
  EPIPE: 32,
  EMSGSIZE: 90,
  EPROTONOSUPPORT: 93,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EINPROGRESS: 115,
} as const;

/** Number to [name, description]; calls the project makes can fail with any of these. */
const KNOWN: ReadonlyMap<number, readonly [code: string, text: string]> = new Map([
  [1, ["EPERM", "Operation not permitted"]],
  [2, ["ENOENT", "No such file or directory"]],
  [3, ["ESRCH", "No such process"]],
  [4, ["EINTR", "Interrupted system call"]],
  [5, ["EIO", "Input/output error"]],
  [6, ["ENXIO", "No such device or address"]],
  [7, ["E2BIG", "Argument list too long"]],
  [9, ["EBADF", "Bad file descriptor"]],
  [11, ["EAGAIN", "Resource temporarily unavailable"]],
  [12, ["ENOMEM", "Cannot allocate memory"]],
  [13, ["EACCES", "Permission denied"]],
  [14, ["EFAULT", "Bad address"]],
  [16, ["EBUSY", "Device or resource busy"]],
  [17, ["EEXIST", "File exists"]],
  [19, ["ENODEV", "No such device"]],
  [20, ["ENOTDIR", "Not a directory"]],
  [21, ["EISDIR", "Is a directory"]],
  [22, ["EINVAL", "Invalid argument"]],
  [23, ["ENFILE", "Too many open files in system"]],
  [24, ["EMFILE", "Too many open files"]],
  [28, ["ENOSPC", "No space left on device"]],
  [32, ["EPIPE", "Broken pipe"]],
  [38, ["ENOSYS", "Function not implemented"]],
  [40, ["ELOOP", "Too many levels of symbolic links"]],
  [71, ["EPROTO", "Protocol error"]],
  [88, ["ENOTSOCK", "Socket operation on non-socket"]],
  [89, ["EDESTADDRREQ", "Destination address required"]],
  [90, ["EMSGSIZE", "Message too long"]],
  [92, ["ENOPROTOOPT", "Protocol not available"]],
  [93, ["EPROTONOSUPPORT", "Protocol not supported"]],
  [94, ["ESOCKTNOSUPPORT", "Socket type not supported"]],
  [95, ["EOPNOTSUPP", "Operation not supported"]],
  [97, ["EAFNOSUPPORT", "Address family not supported by protocol"]],
  [98, ["EADDRINUSE", "Address already in use"]],
  [99, ["EADDRNOTAVAIL", "Cannot assign requested address"]],
  [100, ["ENETDOWN", "Network is down"]],
  [101, ["ENETUNREACH", "Network is unreachable"]],
  [103, ["ECONNABORTED", "Software caused connection abort"]],
  [104, ["ECONNRESET", "Connection reset by peer"]],
  [105, ["ENOBUFS", "No buffer space available"]],
  [106, ["EISCONN", "Transport endpoint is already connected"]],
  [107, ["ENOTCONN", "Transport endpoint is not connected"]],
  [110, ["ETIMEDOUT", "Connection timed out"]],
  [111, ["ECONNREFUSED", "Connection refused"]],
  [112, ["EHOSTDOWN", "Host is down"]],
  [113, ["EHOSTUNREACH", "No route to host"]],
  [114, ["EALREADY", "Operation already in progress"]],
  [115, ["EINPROGRESS", "Operation now in progress"]],
]);

/** The symbolic name of an error number: `"EPERM"` for 1, `"errno 9999"` for an unknown one. */
export function errnoCode(errno: number): string {
  return KNOWN.get(errno)?.[0] ?? `errno ${errno}`;
}

/** The system's words for an error number, as strerror(3) gives them in the C locale. */
export function errnoText(errno: number): string {
  return KNOWN.get(errno)?.[1] ?? `Unknown error ${errno}`;
}

/** What cures a failure of this call, or an empty string where no single cure is known. */
function hint(call: string, errno: number): string {
  const notPermitted = errno === Errno.EPERM || errno === Errno.EACCES;
  if (notPermitted && call === "socket") return "needs root or CAP_NET_RAW";
  if (notPermitted && call === "setsockopt") return "needs root or CAP_NET_ADMIN";
  if (notPermitted && call === "bind") {
    return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
  }
  if (errno === Errno.EADDRINUSE && (call === "bind" || call === "listen")) {
    return "another program uses this address and port: stop it or choose another port";
  }
  if (errno === Errno.EADDRNOTAVAIL && (call === "bind" || call === "connect")) {
    return "the address belongs to no interface of this host";
  }
  if (errno === Errno.EMFILE) return "raise the limit on open files (ulimit -n)";
  return "";
}

/**
 * A system call that failed.
 *
 * The message has the shape
 * `capture socket: socket failed: EPERM (Operation not permitted): needs root or CAP_NET_RAW`.
 */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** The C function that failed, without parentheses: `"bind"`. */
  readonly call: string;
  /** The number it left in errno, always positive. */
  readonly errno: number;
  /** The symbolic name of that number: `"EADDRINUSE"`. */
  readonly code: string;

  /**
   * @param what what was being done, in the user's terms
   * @param call the C function
   * @param errno the positive error number
   */
  constructor(what: string, call: string, errno: number) {
    const code = errnoCode(errno);
    const cure = hint(call, errno);
    super(
      `${what}: ${call} failed: ${code} (${errnoText(errno)})${cure === "" ? "" : `: ${cure}`}`,
    );
    this.call = call;
    this.errno = errno;
    this.code = code;
  }
}
