/** What a running program could still do beyond its work, as /proc shows it. Reads /proc only. */

import { NOBODY } from "../../ffi/privileges.ts";

/** A daemon's streams, or what the operator redirected them to. */
const STANDARD_STREAMS = 3;

/**
 * Everything a program has left that it should have given up, one sentence each.
 *
 * @param pid a program that was started as root
 */
export function leftPrivileges(pid: number): string[] {
  return [...leftInThreads(pid), ...leftOpen(pid), ...leftMapped(pid)];
}

/** proc_pid_status(5), of all threads. */
function leftInThreads(pid: number): string[] {
  const left = new Set<string>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const text = Deno.readTextFileSync(`/proc/${pid}/task/${name}/status`);
    const fields = new Map(
      text.trim().split("\n").map((line) => {
        const [, key, value] = /^(\w+):\s*(.*)$/.exec(line) ?? [];
        return [key, value.trim()];
      }),
    );
    const expect = (key: string, value: string) => {
      const came = fields.get(key);
      if (came !== value) left.add(`${fields.get("Name")}: ${key} is "${came}"`);
    };
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) expect(set, "0".repeat(16));
    for (const ids of ["Uid", "Gid"]) expect(ids, Array(4).fill(NOBODY).join("\t"));
    expect("Groups", "");
    expect("NoNewPrivs", "1");
    expect("Seccomp", "2"); // a filter
  }
  return [...left];
}

/** Descriptors of files and devices that can be written and are not nobody's. */
function leftOpen(pid: number): string[] {
  const left: string[] = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    if (Number(name) < STANDARD_STREAMS) continue;
    let target: string, flags: string, uid: number | null;
    try {
      target = Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
      flags = Deno.readTextFileSync(`/proc/${pid}/fdinfo/${name}`);
      uid = Deno.statSync(`/proc/${pid}/fd/${name}`).uid;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue; // closed meanwhile
      throw error;
    }
    const access = parseInt(/^flags:\s*(\d+)$/m.exec(flags)?.[1] ?? "", 8) & 3;
    if (target.startsWith("/") && access !== 0 && uid !== NOBODY) {
      left.push(`descriptor ${name} can write ${target}, of user ${uid}`);
    }
  }
  return left;
}

/** Files whose memory is shared with other processes: proc_pid_maps(5). */
function leftMapped(pid: number): string[] {
  return Deno.readTextFileSync(`/proc/${pid}/maps`).split("\n")
    .filter((line) => /^\S+ ...s \S+ \S+ \d+ +\//.test(line))
    .map((line) => `shared memory: ${line}`);
}
