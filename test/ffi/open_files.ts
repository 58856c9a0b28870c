/** Counting open descriptors, to find leaks. For tests. */

/** How many descriptors this process has open. */
export function openFileCount(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}
