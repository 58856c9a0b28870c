/** The version all programs report, and the commit they are made from. */

/** The version of all programs. */
export const VERSION = "0.1.0";

/** Stands for the commit; the build of an executable puts it in its place. */
export const BUILT_FROM: string = "@built-from@";

/** Version and commit, for example "0.1.0 (b769a3212345)"; the version alone where none is known. */
export function versionText(): string {
  const commit = BUILT_FROM.startsWith("@") ? commitOfCheckout() : BUILT_FROM;
  return commit === undefined ? VERSION : `${VERSION} (${commit})`;
}

/**
 * The commit checked out in `root`, 12 digits; `undefined` where there is none. Git's own files are
 * read, see gitrepository-layout(5): no other program is started for it.
 */
export function commitOfCheckout(root = new URL("../", import.meta.url)): string | undefined {
  const read = (path: string) => Deno.readTextFileSync(new URL(`.git/${path}`, root)).trim();
  try {
    const head = read("HEAD");
    const commit = head.startsWith("ref: ") ? commitOf(head.slice(5), read) : head;
    return commit?.slice(0, 12);
  } catch {
    return undefined; // no checkout, or one that may not be read: the version alone is true as well
  }
}

function commitOf(ref: string, read: (path: string) => string): string | undefined {
  try {
    return read(ref);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return read("packed-refs").split("\n").find((line) => line.endsWith(` ${ref}`))?.split(" ")[0];
  }
}
