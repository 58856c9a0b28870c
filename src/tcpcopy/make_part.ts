/** Makes a part for this thread. */

import type { Logger } from "@logtape/logtape";
import { FilePart } from "./file_part.ts";
import { LivePart } from "./live_part.ts";
import type { PartSetup } from "./part.ts";
import type { ReplayPart } from "./replay_part.ts";

/**
 * Makes the part that a setup describes.
 *
 * @throws SystemError without the privilege to send packets, CaptureFileError for an unusable file
 */
export function makePart({ replay, source }: PartSetup, log: Logger): ReplayPart {
  return source.kind === "live"
    ? new LivePart(replay, source, log)
    : new FilePart(replay, source, log);
}
