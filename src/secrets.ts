/** Leaves secrets out of a configuration that is to be shown or kept. Pure. */

/** What stands in their place. */
export const MASK = "***";

/** Names of values nobody else is to see, in any notation: `open_api_token`, `secretKey`. */
const SECRET =
  /secret|token|passw|passphrase|pwd|credential|private_?key|access_?key|api_?key|auth(orization)?$/i;
/** The password in an address: `redis://user:password@host`. */
const PASSWORD_IN_URL = /(\/\/[^/\s:@]*:)[^/\s@]+@/g;

/** Whether the name of a setting says that its value is a secret. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name.replaceAll("-", "_"));
}

/** A copy of a JSON value without secrets: what has such a name, and passwords in addresses. */
export function maskSecrets(value: unknown): unknown {
  if (typeof value === "string") return value.replace(PASSWORD_IN_URL, `$1${MASK}@`);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(maskSecrets);
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, mask(name, one)]),
  );
}

/** Of a group with a secret's name the names inside are shown, and no values. */
function mask(name: string, value: unknown, isInside = isSecretName(name)): unknown {
  if (!isInside) return maskSecrets(value);
  if (Array.isArray(value)) return value.map((one) => mask(name, one, true));
  if (typeof value !== "object" || value === null) {
    return value === null || typeof value === "boolean" ? value : MASK;
  }
  return Object.fromEntries(
    Object.entries(value).map(([inner, one]) => [inner, mask(inner, one, true)]),
  );
}
