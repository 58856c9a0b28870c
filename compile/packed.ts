/** Makes a self-extracting executable: a shell script, then the program and the runtime behind it. */

import { digest } from "./digest.ts";
import { permissionFlags } from "./permissions.ts";
import { ADDRESS_SPACE_KIB, ENGINE_FLAGS, type Program } from "./programs.ts";
import { gzip, type Runtime } from "./runtime.ts";
import type { Target } from "./targets.ts";

/** Digits of a digest that name what is unpacked. */
const KEY_DIGITS = 16;

/** Writes the executable to the file `output`. */
export async function writePacked(
  program: Program,
  target: Target,
  text: string,
  runtime: Runtime,
  output: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  const [programSha256, packed] = await Promise.all([digest(bytes), gzip(bytes)]);
  const stub = await fillStub({
    title: `${program.name} for ${target.triple}`,
    name: program.name,
    machine: target.machine,
    // Also the runtime's: the same program on another runtime is unpacked anew.
    programKey: `${programSha256.slice(0, KEY_DIGITS)}-${runtime.sha256.slice(0, 8)}`,
    programBytes: String(bytes.length),
    programPacked: String(packed.length),
    programSha256,
    addressSpace: String(ADDRESS_SPACE_KIB),
    runtimeVersion: runtime.version,
    runtimeKey: runtime.sha256.slice(0, KEY_DIGITS),
    runtimeBytes: String(runtime.sizeBytes),
    runtimePacked: String(runtime.packed.length),
    runtimeSha256: runtime.sha256,
    flags: [ENGINE_FLAGS, ...permissionFlags(program.permissions)].join(" "),
  });
  await Deno.writeFile(output, new Blob([stub, packed, runtime.packed]).stream(), { mode: 0o755 });
}

/** The shell script with its `@name@`s replaced. */
async function fillStub(values: Record<string, string>): Promise<string> {
  const stub = await Deno.readTextFile(new URL("stub.sh", import.meta.url));
  return stub.replaceAll(/@(\w+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`stub.sh: @${name}@ has no value`);
    return value;
  });
}
