/**
 * The permissions an executable is made with. A program that lacks one fails where it first needs
 * it, perhaps in production: so the build looks for what a bundle obviously needs.
 */

/** A permission of the runtime; "all" stands for every one, and for reading /proc and /sys. */
export type Permission = "all" | "ffi" | "net" | "read" | "write" | "env" | "sys" | "run";

/** As options of the command line. */
export function permissionFlags(permissions: readonly Permission[]): string[] {
  return permissions.map((permission) => `--allow-${permission}`);
}

/** What in a program's text shows which permission it needs. */
const SIGNS: readonly { pattern: RegExp; needs: Permission }[] = [
  { pattern: /\bDeno\.Command\b/, needs: "run" },
  { pattern: /\bDeno\.(listen\w*|connect\w*|serve)\b/, needs: "net" },
  { pattern: /\bDeno\.dlopen\b/, needs: "ffi" },
  { pattern: /["'`]\/(proc|sys)\//, needs: "all" },
];

/** The permissions a bundled program needs by its text, and has not been given. */
export function missingPermissions(code: string, granted: readonly Permission[]): Permission[] {
  if (granted.includes("all")) return [];
  return SIGNS.filter(({ pattern, needs }) => pattern.test(code) && !granted.includes(needs))
    .map(({ needs }) => needs);
}
