/**
 * A filter in front of system calls (seccomp(2)), for all threads of the process and for good. It
 * refuses what these programs never do after their start and an intruder would begin with: other
 * programs, other processes' memory, rarely used parts of the kernel. Touches the C library only.
 *
 * Writing below certain directories only (Landlock) is no choice: its rules hold for one thread and
 * those it starts, and the runtime's threads are there before the program is.
 */

import { Arena } from "./arena.ts";
import { errnoCode } from "./errno.ts";
import { lastErrno, libc } from "./libc.ts";
import type { FilterInstruction } from "./socket.ts";

/** Calls that are refused with EPERM: [x86-64, arm64]. */
const REFUSED: Readonly<Record<string, readonly [number, number]>> = {
  execve: [59, 221],
  execveat: [322, 281],
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  pidfd_getfd: [438, 438],
  kcmp: [312, 272],
  unshare: [272, 97],
  setns: [308, 268],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  open_by_handle_at: [304, 265],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
};

/** Of one kind of machine. */
interface Machine {
  /** AUDIT_ARCH_… of linux/audit.h. */
  arch: number;
  /** Which number of each pair above. */
  column: 0 | 1;
  seccomp: number;
  ioctl: number;
  clone: number;
  clone3: number;
  socket: number;
}

const MACHINES: Readonly<Record<string, Machine>> = {
  x86_64: {
    arch: 0xc000_003e,
    column: 0,
    seccomp: 317,
    ioctl: 16,
    clone: 56,
    clone3: 435,
    socket: 41,
  },
  aarch64: {
    arch: 0xc000_00b7,
    column: 1,
    seccomp: 277,
    ioctl: 29,
    clone: 220,
    clone3: 435,
    socket: 198,
  },
};

/** linux/bpf_common.h: load a word, compare it with a constant, mask it, return. */
const LOAD = 0x20;
const IF_EQUAL = 0x15;
const IF_AT_LEAST = 0x35;
const IF_ANY_BIT = 0x45;
const AND = 0x54;
const RETURN = 0x06;

/** struct seccomp_data: the call, the kind of machine, the lower halves of its arguments. */
const CALL = 0;
const ARCH = 4;
const FIRST_ARGUMENT = 16;
const SECOND_ARGUMENT = 24;

/** linux/seccomp.h; the errno stands in the lower half. */
const ALLOW: FilterInstruction = [RETURN, 0, 0, 0x7fff_0000];
const REFUSE: FilterInstruction = [RETURN, 0, 0, 0x0005_0000 | 1 /* EPERM */];
const UNKNOWN: FilterInstruction = [RETURN, 0, 0, 0x0005_0000 | 38 /* ENOSYS */];

/** Calls of x86-64's x32 ABI have this bit. */
const X32_BIT = 0x4000_0000;
const CLONE_NEWUSER = 0x1000_0000;
/** Both put characters into a terminal as if they had been typed there. */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_TYPE_MASK = 0xf;

/** The filter for a kind of machine, as Deno names it; `undefined` for one that has none. Pure. */
export function systemCallFilter(machine: string): FilterInstruction[] | undefined {
  const calls = MACHINES[machine];
  if (calls === undefined) return undefined;
  return [
    // Another ABI has other numbers.
    [LOAD, 0, 0, ARCH],
    [IF_EQUAL, 1, 0, calls.arch],
    REFUSE,
    [LOAD, 0, 0, CALL],
    [IF_AT_LEAST, 0, 1, X32_BIT],
    REFUSE,
    ...Object.values(REFUSED).flatMap((numbers): FilterInstruction[] => [
      [IF_EQUAL, 0, 1, numbers[calls.column]],
      REFUSE,
    ]),
    // Its flags lie in memory, where a filter cannot look; the C library then takes clone(2).
    [IF_EQUAL, 0, 1, calls.clone3],
    UNKNOWN,
    [IF_EQUAL, 0, 4, calls.clone],
    [LOAD, 0, 0, FIRST_ARGUMENT],
    [IF_ANY_BIT, 0, 1, CLONE_NEWUSER],
    REFUSE,
    ALLOW,
    // The terminal the program was started from may be root's.
    [IF_EQUAL, 0, 5, calls.ioctl],
    [LOAD, 0, 0, SECOND_ARGUMENT],
    [IF_EQUAL, 1, 0, TIOCSTI],
    [IF_EQUAL, 0, 1, TIOCLINUX],
    REFUSE,
    ALLOW,
    // Those that are needed are open. A thread of the runtime may still have the capability.
    [IF_EQUAL, 0, 9, calls.socket],
    [LOAD, 0, 0, FIRST_ARGUMENT],
    [IF_EQUAL, 5, 0, AF_PACKET],
    [IF_EQUAL, 1, 0, AF_INET],
    [IF_EQUAL, 0, 4, AF_INET6],
    [LOAD, 0, 0, SECOND_ARGUMENT],
    [AND, 0, 0, SOCK_TYPE_MASK],
    [IF_EQUAL, 0, 1, SOCK_RAW],
    REFUSE,
    ALLOW,
    ALLOW,
  ];
}

const SECCOMP_SET_MODE_FILTER = 1n;
/** For all threads, which also gives them no_new_privs. */
const FILTER_FLAG_TSYNC = 1n;
/** Without this, kernels before 5.16 slow the process down for fear of Spectre. */
const FILTER_FLAG_SPEC_ALLOW = 4n;

/**
 * Puts the filter in front of all threads. The calling thread must have no_new_privs already; all
 * others have it afterwards too.
 *
 * @returns why the kernel or the machine has no such filter, or `undefined` when it is in force
 */
export function filterSystemCalls(): string | undefined {
  const program = systemCallFilter(Deno.build.arch);
  if (program === undefined) return `none is written for ${Deno.build.arch}`;
  // struct sock_fprog, and behind it its instructions.
  const memory = new Arena(16 + 8 * program.length);
  const { view } = memory;
  view.setUint16(0, program.length, true);
  view.setBigUint64(8, memory.addressAt(16), true);
  program.forEach(([code, jt, jf, k], index) => {
    const at = 16 + 8 * index;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jt);
    view.setUint8(at + 3, jf);
    view.setUint32(at + 4, k, true);
  });
  const result = libc().syscall(
    BigInt(MACHINES[Deno.build.arch].seccomp),
    SECCOMP_SET_MODE_FILTER,
    FILTER_FLAG_TSYNC | FILTER_FLAG_SPEC_ALLOW,
    memory.addressAt(0),
  );
  const errno = lastErrno();
  memory.free();
  if (result === 0) return undefined;
  return result > 0 ? `thread ${result} has another one` : `seccomp: ${errnoCode(errno)}`;
}
