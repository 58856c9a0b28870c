/**
 * A first pass over a capture file, before anything is sent: is it whole, does it hold the requests
 * that are asked for, how long will it take.
 */

import type { Recording } from "../capture/recording.ts";
import { formatEndpoint } from "../cli/addresses.ts";
import { UsageError } from "../cli/fatal.ts";
import type { TransferMap } from "../session/transfer.ts";
import { Packet, ParseResult } from "../wire/packet.ts";

/** What a capture file holds. */
export interface Survey {
  packets: number;
  /** Packets sent to the online servers of the transfers. */
  requestPackets: number;
  /** How many of them are not whole. */
  cutPackets: number;
  /** Recorded time with pauses cut to the given bound, ms. */
  durationMs: number;
}

const MOST_FREQUENT = 5;
/** With more than one request packet in so many cut short, replaying the file makes no sense. */
const BEARABLE_CUT_ONE_IN = 20;

/**
 * Reads the file to its end and rewinds it.
 *
 * @param maxGapMs longer pauses count as this long
 * @throws CaptureFileError for a broken file, UsageError for one that cannot be replayed
 */
export function surveyFile(
  file: Recording,
  transfers: TransferMap,
  maxGapMs: number,
): Survey {
  const packet = new Packet();
  const destinations = new Map<string, number>();
  let packets = 0;
  let requestPackets = 0;
  let cutPackets = 0;
  let durationMs = 0;
  let lastUs = -1;
  while (file.next()) {
    packets++;
    if (lastUs >= 0) {
      durationMs += Math.min(maxGapMs, Math.max(0, (file.timestampUs - lastUs) / 1000));
    }
    lastUs = Math.max(lastUs, file.timestampUs);
    const result = packet.parse(
      file.linkType,
      file.bytes,
      file.view,
      file.offset,
      file.capturedLength,
    );
    if (result !== ParseResult.Tcp || packet.ipVersion !== 4) continue;
    if (isRequest(transfers, packet)) {
      requestPackets++;
      if (packet.capturedPayloadLength < packet.payloadLength) cutPackets++;
    } else if (requestPackets === 0 && destinations.size < 1000) {
      const to = formatEndpoint(packet.destinationAddress, packet.destinationPort);
      destinations.set(to, (destinations.get(to) ?? 0) + 1);
    }
  }
  if (requestPackets === 0) throw nothingToReplay(file.path, packets, destinations);
  if (cutPackets * BEARABLE_CUT_ONE_IN > requestPackets) {
    throw new UsageError(
      `${file.path}: ${cutPackets} of ${requestPackets} request packets were cut short when they ` +
        "were recorded; record whole packets (tcpdump -s 0)",
    );
  }
  file.rewind();
  return { packets, requestPackets, cutPackets, durationMs };
}

function isRequest(transfers: TransferMap, packet: Packet): boolean {
  for (let i = 0; i < transfers.transfers.length; i++) {
    if (transfers.matches(i, packet.destinationAddress, packet.destinationPort)) return true;
  }
  return false;
}

function nothingToReplay(
  path: string,
  packets: number,
  destinations: Map<string, number>,
): UsageError {
  const frequent = [...destinations].sort((a, b) => b[1] - a[1]).slice(0, MOST_FREQUENT);
  const instead = frequent.length === 0
    ? "there are no TCP packets over IPv4 in it"
    : `most go to ${frequent.map(([to]) => to).join(", ")}`;
  return new UsageError(
    `${path}: none of its ${packets} packets is sent to an online server of -x; ${instead}`,
  );
}
