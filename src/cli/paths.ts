/** What stands at a path, for messages about the user's mistakes. Only looks. */

/** @returns undefined where there is nothing; "file" also for what this user may not look at */
export function kindOfPath(path: string): "file" | "directory" | undefined {
  try {
    return Deno.statSync(path).isDirectory ? "directory" : "file";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    if (error instanceof Deno.errors.PermissionDenied) return "file";
    throw error;
  }
}
