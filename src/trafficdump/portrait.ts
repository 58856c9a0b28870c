/**
 * Portrait data: what applications tell about themselves once per window, beside the traffic. Pure.
 */

/** One report. */
export interface PortraitReport {
  /** RPC, CONFIGURATION, STATE, or a name of the user's own. */
  businessType: string;
  /** The port of the service it is about, or "" for none. */
  port: string;
  /** The data as JSON in one line. */
  json: string;
}

/** The business types Layotto knows. */
export const BUSINESS_TYPES = ["RPC", "CONFIGURATION", "STATE"] as const;

/** Most bytes of a report. */
export const MAX_PORTRAIT_BYTES = 64 << 10;

/**
 * Checks a report: `{"businessType": …, "port": …, "data": …}`, the port may be left out.
 *
 * @throws Error that says what was expected and what came
 */
export function readPortrait(body: unknown): PortraitReport {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Error('expected a JSON object {"businessType": …, "port": …, "data": …}');
  }
  const { businessType, port, data } = body as Record<string, unknown>;
  if (typeof businessType !== "string" || !/^[\w.:-]{1,64}$/.test(businessType)) {
    throw new Error(
      `businessType: expected ${BUSINESS_TYPES.join(", ")} or a name of 1 to 64 letters, digits ` +
        `and _ . : -, came ${JSON.stringify(businessType) ?? "nothing"}`,
    );
  }
  if (data === undefined) throw new Error("data: expected any JSON value, came nothing");
  const isPort = port === undefined || /^\d{1,5}$/.test(String(port)) && Number(port) <= 65_535;
  if (!isPort) throw new Error(`port: expected a port number, came ${JSON.stringify(port)}`);
  return { businessType, port: String(port ?? ""), json: JSON.stringify(data) };
}
