/** Bytes that cannot be had. */
export class ByteStreamError extends Error {
  override readonly name = "ByteStreamError";
  constructor(message: string, /** Whether they just end too early. */ readonly truncated = false) {
    super(message);
  }
}
