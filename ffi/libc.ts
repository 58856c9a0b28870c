/**
 * The C library: the symbol table, written like the headers, and errno.
 *
 * The library is opened on first use, so that importing this file needs no permission. Addresses go
 * in as "usize", that is as bigint: Deno 2.9 has a fast path for it (about 10 ns), while a plain number
 * above 2^31 would get through, untyped, by the slow one (about 200 ns). Results that
 * are ssize_t in C are declared "i32": no call here moves 2 GiB, and an "isize" would come back as
 * a bigint.
 */

import { InvariantError } from "./invariant.ts";

/** A native address. C functions take it as bigint; the wrappers around them accept either. */
export type Address = number | bigint;

const SYMBOLS = {
  /** void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset) */
  mmap: {
    parameters: [
      "usize", /* addr */
      "usize", /* length */
      "i32", /* prot */
      "i32", /* flags */
      "i32", /* fd */
      "i64", /* offset */
    ],
    result: "pointer",
  },
  /** int munmap(void *addr, size_t length) */
  munmap: { parameters: ["usize", /* addr */ "usize" /* length */], result: "i32" },
  /** void *memcpy(void *dest, const void *src, size_t n); the result is of no use here */
  memcpy: { parameters: ["usize", /* dest */ "usize", /* src */ "u32" /* n */], result: "void" },
  /** int *__errno_location(void) */
  __errno_location: { parameters: [], result: "pointer" },

  /** int open(const char *pathname, int flags), for files that exist */
  open: { parameters: ["buffer", /* pathname */ "i32" /* flags */], result: "i32" },
  /** int openat(int dirfd, const char *pathname, int flags, mode_t mode) */
  openat: {
    parameters: ["i32", /* dirfd */ "buffer", /* pathname */ "i32", /* flags */ "u32" /* mode */],
    result: "i32",
  },
  /** int mkdirat(int dirfd, const char *pathname, mode_t mode) */
  mkdirat: {
    parameters: ["i32", /* dirfd */ "buffer", /* pathname */ "u32" /* mode */],
    result: "i32",
  },
  /** ssize_t readlinkat(int dirfd, const char *pathname, char *buf, size_t bufsiz) */
  readlinkat: {
    parameters: ["i32", /* dirfd */ "buffer", /* pathname */ "buffer", /* buf */ "usize"],
    result: "i32",
  },
  /** int fchown(int fd, uid_t owner, gid_t group) */
  fchown: { parameters: ["i32", /* fd */ "u32", /* owner */ "u32" /* group */], result: "i32" },
  /** int flock(int fd, int operation) */
  flock: { parameters: ["i32", /* fd */ "i32" /* operation */], result: "i32" },
  /** int dup2(int oldfd, int newfd) */
  dup2: { parameters: ["i32", /* oldfd */ "i32" /* newfd */], result: "i32" },
  /** int memfd_create(const char *name, unsigned int flags) */
  memfd_create: { parameters: ["buffer", /* name */ "u32" /* flags */], result: "i32" },
  /** int dup3(int oldfd, int newfd, int flags) */
  dup3: { parameters: ["i32", /* oldfd */ "i32", /* newfd */ "i32" /* flags */], result: "i32" },
  /** int close(int fd) */
  close: { parameters: ["i32" /* fd */], result: "i32" },
  /** int fcntl(int fd, int cmd, int arg) */
  fcntl: { parameters: ["i32", /* fd */ "i32", /* cmd */ "i32" /* arg */], result: "i32" },
  /** ssize_t read(int fd, void *buf, size_t count) */
  read: { parameters: ["i32", /* fd */ "usize", /* buf */ "usize" /* count */], result: "i32" },
  /** ssize_t write(int fd, const void *buf, size_t count) */
  write: { parameters: ["i32", /* fd */ "usize", /* buf */ "usize" /* count */], result: "i32" },
  /** int eventfd(unsigned int initval, int flags) */
  eventfd: { parameters: ["u32", /* initval */ "i32" /* flags */], result: "i32" },

  /** int epoll_create1(int flags) */
  epoll_create1: { parameters: ["i32" /* flags */], result: "i32" },
  /** int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) */
  epoll_ctl: {
    parameters: ["i32", /* epfd */ "i32", /* op */ "i32", /* fd */ "usize" /* event */],
    result: "i32",
  },
  /** int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout) */
  epoll_wait: {
    parameters: [
      "i32", /* epfd */
      "usize", /* events */
      "i32", /* maxevents */
      "i32", /* timeout */
    ],
    result: "i32",
  },
  /** The same on a thread of its own; its errno is out of reach. */
  epoll_wait_on_thread: {
    name: "epoll_wait",
    parameters: [
      "i32", /* epfd */
      "usize", /* events */
      "i32", /* maxevents */
      "i32", /* timeout */
    ],
    result: "i32",
    nonblocking: true,
  },

  /** int socket(int domain, int type, int protocol) */
  socket: {
    parameters: ["i32", /* domain */ "i32", /* type */ "i32" /* protocol */],
    result: "i32",
  },
  /** int bind(int sockfd, const struct sockaddr *addr, socklen_t addrlen) */
  bind: {
    parameters: ["i32", /* sockfd */ "usize", /* addr */ "u32" /* addrlen */],
    result: "i32",
  },
  /** int socketpair(int domain, int type, int protocol, int sv[2]) */
  socketpair: {
    parameters: ["i32", /* domain */ "i32", /* type */ "i32", /* protocol */ "usize" /* sv */],
    result: "i32",
  },
  /** int listen(int sockfd, int backlog) */
  listen: { parameters: ["i32", /* sockfd */ "i32" /* backlog */], result: "i32" },
  /** int accept4(int sockfd, struct sockaddr *addr, socklen_t *addrlen, int flags) */
  accept4: {
    parameters: ["i32", /* sockfd */ "usize", /* addr */ "usize", /* addrlen */ "i32" /* flags */],
    result: "i32",
  },
  /** int connect(int sockfd, const struct sockaddr *addr, socklen_t addrlen) */
  connect: {
    parameters: ["i32", /* sockfd */ "usize", /* addr */ "u32" /* addrlen */],
    result: "i32",
  },
  /** int shutdown(int sockfd, int how) */
  shutdown: { parameters: ["i32", /* sockfd */ "i32" /* how */], result: "i32" },
  /** int getsockname(int sockfd, struct sockaddr *addr, socklen_t *addrlen) */
  getsockname: {
    parameters: ["i32", /* sockfd */ "usize", /* addr */ "usize" /* addrlen */],
    result: "i32",
  },
  /** int getpeername(int sockfd, struct sockaddr *addr, socklen_t *addrlen) */
  getpeername: {
    parameters: ["i32", /* sockfd */ "usize", /* addr */ "usize" /* addrlen */],
    result: "i32",
  },
  /** int getsockopt(int sockfd, int level, int optname, void *optval, socklen_t *optlen) */
  getsockopt: {
    parameters: [
      "i32", /* sockfd */
      "i32", /* level */
      "i32", /* optname */
      "usize", /* optval */
      "usize", /* optlen */
    ],
    result: "i32",
  },
  /** int setsockopt(int sockfd, int level, int optname, const void *optval, socklen_t optlen) */
  setsockopt: {
    parameters: [
      "i32", /* sockfd */
      "i32", /* level */
      "i32", /* optname */
      "usize", /* optval */
      "u32", /* optlen */
    ],
    result: "i32",
  },
  /** ssize_t recv(int sockfd, void *buf, size_t len, int flags) */
  recv: {
    parameters: ["i32", /* sockfd */ "usize", /* buf */ "usize", /* len */ "i32" /* flags */],
    result: "i32",
  },
  /** ssize_t send(int sockfd, const void *buf, size_t len, int flags) */
  send: {
    parameters: ["i32", /* sockfd */ "usize", /* buf */ "usize", /* len */ "i32" /* flags */],
    result: "i32",
  },
  /** int recvmmsg(int sockfd, struct mmsghdr *msgvec, unsigned vlen, int flags, timespec *timeout) */
  recvmmsg: {
    parameters: [
      "i32", /* sockfd */
      "usize", /* msgvec */
      "u32", /* vlen */
      "i32", /* flags */
      "usize", /* timeout */
    ],
    result: "i32",
  },
  /** int sendmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags) */
  sendmmsg: {
    parameters: ["i32", /* sockfd */ "usize", /* msgvec */ "u32", /* vlen */ "i32" /* flags */],
    result: "i32",
  },
  /** unsigned int if_nametoindex(const char *ifname) */
  if_nametoindex: { parameters: ["buffer" /* ifname */], result: "u32" },

  /** int sched_setscheduler(pid_t pid, int policy, const struct sched_param *param) */
  sched_setscheduler: {
    parameters: ["i32", /* pid */ "i32", /* policy */ "usize" /* param */],
    result: "i32",
  },

  /** int setfsgid(gid_t fsgid); of the calling thread only */
  setfsgid: { parameters: ["u32" /* fsgid */], result: "i32" },
  /** int setgroups(size_t size, const gid_t *list) */
  setgroups: { parameters: ["usize", /* size */ "usize" /* list */], result: "i32" },
  /** int setresgid(gid_t rgid, gid_t egid, gid_t sgid) */
  setresgid: { parameters: ["u32", /* rgid */ "u32", /* egid */ "u32" /* sgid */], result: "i32" },
  /** int setresuid(uid_t ruid, uid_t euid, uid_t suid) */
  setresuid: { parameters: ["u32", /* ruid */ "u32", /* euid */ "u32" /* suid */], result: "i32" },
  /** int prctl(int option, unsigned long arg2, …); the ABIs in use pass its arguments like these */
  prctl: { parameters: ["i32", /* option */ "u64", "u64", "u64", "u64"], result: "i32" },
  /** int capset(cap_user_header_t hdrp, const cap_user_data_t datap) */
  capset: { parameters: ["buffer", /* hdrp */ "buffer" /* datap */], result: "i32" },
  /** long syscall(long number, …); for seccomp(2), which has no function of its own */
  syscall: { parameters: ["i64", /* number */ "u64", "u64", "u64"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C functions, callable by name. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Libc | undefined;
/** The calling thread's errno. An isolate keeps to one thread, so its place never changes. */
let errnoCell: Int32Array | undefined;

/**
 * Opens the C library on the first call and returns its functions.
 *
 * @throws Error when this is not Linux with glibc
 */
export function libc(): Libc {
  if (opened !== undefined) return opened;
  if (Deno.build.os !== "linux") {
    throw new Error(`This program needs Linux, but it was started on ${Deno.build.os}.`);
  }
  let symbols: Libc;
  try {
    symbols = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    throw new Error(
      "libc.so.6 was not found: this program needs a Linux with the GNU C library " +
        "(Debian, Ubuntu, RHEL, …); musl systems such as Alpine are not supported.",
      { cause },
    );
  }
  const cell = symbols.__errno_location();
  if (cell === null) throw new InvariantError("The C library gave no address for errno.");
  errnoCell = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(cell, 4));
  opened = symbols;
  return symbols;
}

/**
 * The number the last failing C function left in errno. Only meaningful right after a function
 * of `libc()` reported failure, before anything else runs.
 */
export function lastErrno(): number {
  return errnoCell === undefined ? 0 : errnoCell[0];
}
