/** The forms a tunnel can have; both of its ends must agree. The original is built for one. Pure. */

import { type FrameMode, RECORD_BYTES, type RecordBytes } from "./codec.ts";

/** The form of a tunnel. */
export interface TunnelForm {
  mode: FrameMode;
  recordBytes: RecordBytes;
  /** Whether intercept sends everything to the one tcpcopy there is, without announcements. */
  isSingle: boolean;
  /** Whether connections are told apart without the target's address. */
  anyTargetAddress: boolean;
}

/** The tunnel of the original's default builds. */
export const DEFAULT_TUNNEL_FORM: TunnelForm = {
  mode: "combined",
  recordBytes: RECORD_BYTES,
  isSingle: false,
  anyTargetAddress: false,
};
