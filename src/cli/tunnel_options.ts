/** The options about the form of the tunnel; tcpcopy and intercept must be given the same ones. */

import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { option } from "@optique/core/primitives";
import { RECORD_BYTES, RECORD_WITH_PAYLOAD_BYTES } from "../tunnel/codec.ts";
import type { TunnelForm } from "../tunnel/form.ts";

/** Both programs merge them into their own. */
export const tunnelOptions = object("Form of the tunnel, the same on both sides", {
  single: option("--single", {
    description:
      message`One tcpcopy per intercept: it gets all responses, connections are not announced.`,
  }),
  bare: option("--disable-combined", {
    description: message`Response headers are sent one by one, not several to a frame.`,
  }),
  respPayload: option("--resp-payload", {
    description: message`Responses of up to 128 bytes are passed on with their payload.`,
  }),
  dnat: option("--dnat", {
    description:
      message`The target answers from another address than the one it is sent to; its port is the same.`,
  }),
});

/** What the options yield. */
interface GivenTunnelOptions {
  readonly single: boolean;
  readonly bare: boolean;
  readonly respPayload: boolean;
  readonly dnat: boolean;
}

/** Makes sense of the options. Pure. */
export function tunnelFormOf(given: GivenTunnelOptions): TunnelForm {
  return {
    mode: given.bare ? "bare" : "combined",
    recordBytes: given.respPayload ? RECORD_WITH_PAYLOAD_BYTES : RECORD_BYTES,
    isSingle: given.single,
    anyTargetAddress: given.dnat,
  };
}
