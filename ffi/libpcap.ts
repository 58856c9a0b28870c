/**
 * libpcap: the symbol table, written like pcap/pcap.h, and how the library is found.
 *
 * The library is opened on first use; a program that captures through raw sockets only never needs
 * it. What is built on these functions is in `pcap_handle.ts`.
 */

const SYMBOLS = {
  /** pcap_t *pcap_create(const char *source, char *errbuf) */
  pcap_create: { parameters: ["buffer", /* source */ "usize" /* errbuf */], result: "pointer" },
  /** pcap_t *pcap_open_dead(int linktype, int snaplen) */
  pcap_open_dead: { parameters: ["i32", /* linktype */ "i32" /* snaplen */], result: "pointer" },
  /** int pcap_set_snaplen(pcap_t *p, int snaplen) */
  pcap_set_snaplen: { parameters: ["pointer", /* p */ "i32" /* snaplen */], result: "i32" },
  /** int pcap_set_promisc(pcap_t *p, int promisc) */
  pcap_set_promisc: { parameters: ["pointer", /* p */ "i32" /* promisc */], result: "i32" },
  /** int pcap_set_immediate_mode(pcap_t *p, int immediate_mode) */
  pcap_set_immediate_mode: {
    parameters: ["pointer", /* p */ "i32" /* immediate_mode */],
    result: "i32",
  },
  /** int pcap_set_timeout(pcap_t *p, int to_ms) */
  pcap_set_timeout: { parameters: ["pointer", /* p */ "i32" /* to_ms */], result: "i32" },
  /** int pcap_set_buffer_size(pcap_t *p, int buffer_size) */
  pcap_set_buffer_size: { parameters: ["pointer", /* p */ "i32" /* buffer_size */], result: "i32" },
  /** int pcap_activate(pcap_t *p) */
  pcap_activate: { parameters: ["pointer" /* p */], result: "i32" },
  /** void pcap_close(pcap_t *p) */
  pcap_close: { parameters: ["pointer" /* p */], result: "void" },

  /** int pcap_setdirection(pcap_t *p, pcap_direction_t d) */
  pcap_setdirection: { parameters: ["pointer", /* p */ "i32" /* d */], result: "i32" },
  /** int pcap_compile(pcap_t *, struct bpf_program *, const char *str, int optimize, bpf_u_int32) */
  pcap_compile: {
    parameters: [
      "pointer", /* p */
      "usize", /* fp */
      "buffer", /* str */
      "i32", /* optimize */
      "u32", /* netmask */
    ],
    result: "i32",
  },
  /** int pcap_setfilter(pcap_t *p, struct bpf_program *fp) */
  pcap_setfilter: { parameters: ["pointer", /* p */ "usize" /* fp */], result: "i32" },
  /** void pcap_freecode(struct bpf_program *fp) */
  pcap_freecode: { parameters: ["usize" /* fp */], result: "void" },
  /** int pcap_setnonblock(pcap_t *p, int nonblock, char *errbuf) */
  pcap_setnonblock: {
    parameters: ["pointer", /* p */ "i32", /* nonblock */ "usize" /* errbuf */],
    result: "i32",
  },
  /** int pcap_get_selectable_fd(pcap_t *p) */
  pcap_get_selectable_fd: { parameters: ["pointer" /* p */], result: "i32" },

  /** int pcap_datalink(pcap_t *p) */
  pcap_datalink: { parameters: ["pointer" /* p */], result: "i32" },
  /** int pcap_snapshot(pcap_t *p) */
  pcap_snapshot: { parameters: ["pointer" /* p */], result: "i32" },
  /** int pcap_next_ex(pcap_t *p, struct pcap_pkthdr **pkt_header, const u_char **pkt_data) */
  pcap_next_ex: {
    parameters: ["pointer", /* p */ "usize", /* pkt_header */ "usize" /* pkt_data */],
    result: "i32",
  },
  /** int pcap_inject(pcap_t *p, const void *buf, size_t size) */
  pcap_inject: {
    parameters: ["pointer", /* p */ "usize", /* buf */ "usize" /* size */],
    result: "i32",
  },
  /** int pcap_stats(pcap_t *p, struct pcap_stat *ps) */
  pcap_stats: { parameters: ["pointer", /* p */ "usize" /* ps */], result: "i32" },
  /** char *pcap_geterr(pcap_t *p) */
  pcap_geterr: { parameters: ["pointer" /* p */], result: "pointer" },
  /** const char *pcap_statustostr(int error) */
  pcap_statustostr: { parameters: ["i32" /* error */], result: "pointer" },
  /** const char *pcap_lib_version(void) */
  pcap_lib_version: { parameters: [], result: "pointer" },

  /** int pcap_findalldevs(pcap_if_t **alldevsp, char *errbuf) */
  pcap_findalldevs: { parameters: ["usize", /* alldevsp */ "usize" /* errbuf */], result: "i32" },
  /** void pcap_freealldevs(pcap_if_t *alldevs) */
  pcap_freealldevs: { parameters: ["pointer" /* alldevs */], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of libpcap, callable by name. */
export type Libpcap = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Debian's name, the name elsewhere, the name that comes with the development files. */
const NAMES = ["libpcap.so.0.8", "libpcap.so.1", "libpcap.so"] as const;

const opened = new Map<string, Libpcap>();

/**
 * Opens libpcap, once per path.
 *
 * @param path the library file; without it the system's library is looked for
 * @throws Error when there is none, or when it lacks a function (older than 1.5)
 */
export function libpcap(path?: string): Libpcap {
  const key = path ?? "";
  const known = opened.get(key);
  if (known !== undefined) return known;
  const names: readonly string[] = path === undefined ? NAMES : [path];
  const causes: Error[] = [];
  for (const name of names) {
    try {
      const { symbols } = Deno.dlopen(name, SYMBOLS);
      opened.set(key, symbols);
      return symbols;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable || !(error instanceof Error)) throw error;
      causes.push(error);
    }
  }
  // A library that is there, but of which a function is missing, says so in Deno's message.
  const unfit = causes.find((cause) => cause.message.includes("pcap_"));
  if (unfit !== undefined) {
    throw new Error(
      `libpcap does not fit (${unfit.message}): version 1.5 or later is needed`,
      { cause: unfit },
    );
  }
  throw new Error(
    `libpcap was not found (tried ${names.join(", ")}): install it with ` +
      "`apt-get install libpcap0.8`, or give --libpcap PATH",
    { cause: causes[0] },
  );
}

/** The text at a char pointer; empty for NULL. */
export function readText(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : new Deno.UnsafePointerView(pointer).getCString();
}

/**
 * A text as C wants it: UTF-8 and a zero at the end.
 *
 * @throws TypeError when a zero stands inside
 */
export function cText(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new TypeError(`${JSON.stringify(text)} has a zero character in it.`);
  }
  return new TextEncoder().encode(`${text}\0`);
}
