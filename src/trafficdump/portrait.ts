/**
 * Portrait data: what applications tell about themselves once per window, beside the traffic. Pure.
 */

import { unknownName } from "../closest.ts";

/** One report. */
export interface PortraitReport {
  /** RPC, CONFIGURATION, STATE, or a name of the user's own. */
  businessType: string;
  /** The port of the service it is about, or "" for none. */
  port: string;
  /** Any JSON value but null. */
  data: unknown;
}

/** A report that is none; the message says what was expected and what came. */
export class PortraitError extends Error {
  override readonly name = "PortraitError";
}

/** The business types Layotto knows. */
export const BUSINESS_TYPES = ["RPC", "CONFIGURATION", "STATE"] as const;

const FIELDS = ["businessType", "port", "data"];
const FORM = '{"businessType": …, "port": …, "data": …}';

/** Most bytes of a report. */
export const MAX_PORTRAIT_BYTES = 64 << 10;

/**
 * Checks a report: `{"businessType": …, "port": …, "data": …}`, the port may be left out.
 *
 * @throws PortraitError
 */
export function readPortrait(body: unknown): PortraitReport {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new PortraitError(
      `expected a JSON object ${FORM}, came ${JSON.stringify(body).slice(0, 80)}`,
    );
  }
  for (const name of Object.keys(body)) {
    const refusal = unknownName(name, FIELDS, FORM);
    if (refusal !== undefined) throw new PortraitError(refusal);
  }
  const { businessType, port, data } = body as Record<string, unknown>;
  if (typeof businessType !== "string" || !/^[\w.:-]{1,64}$/.test(businessType)) {
    throw new PortraitError(
      `businessType: expected ${BUSINESS_TYPES.join(", ")} or a name of 1 to 64 letters, digits ` +
        `and _ . : -, came ${shown(businessType)}`,
    );
  }
  if (data === undefined || data === null) {
    throw new PortraitError(`data: expected a JSON value other than null, came ${shown(data)}`);
  }
  return { businessType, port: readPort(port), data };
}

/** A number, or its digits as text. */
function readPort(port: unknown): string {
  if (port === undefined) return "";
  const isText = typeof port === "string" && /^[1-9]\d{0,4}$/.test(port);
  const number = isText || typeof port === "number" ? Number(port) : 0;
  if (Number.isInteger(number) && number >= 1 && number <= 65_535) return String(number);
  throw new PortraitError(`port: expected a number from 1 to 65535, came ${shown(port)}`);
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80);
}
