/**
 * How long a request takes from the online server's wire to the target's, by the kernel's clock on
 * both. Reads two capture files; the requests are told apart by the frame they begin with.
 */

import { PcapFileReader } from "../../src/capture/pcap_file.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { HEADER_BYTES, readFrameHeader, REQUEST_MAGIC } from "../../test/lab/protocol.ts";

/** When each request was seen first, µs, by "connection request". */
function requestTimes(path: string, port: number): Map<string, number> {
  const times = new Map<string, number>();
  const packet = new Packet();
  using file = new PcapFileReader(path);
  while (file.next()) {
    const { linkType, bytes, view, offset, capturedLength } = file;
    if (packet.parse(linkType, bytes, view, offset, capturedLength) !== ParseResult.Tcp) continue;
    if (packet.destinationPort !== port || packet.capturedPayloadLength < HEADER_BYTES) continue;
    const { magic, connectionId, requestNumber } = readFrameHeader(view, packet.payloadOffset);
    const key = `${connectionId} ${requestNumber}`;
    if (magic === REQUEST_MAGIC && !times.has(key)) times.set(key, file.timestampUs);
  }
  return times;
}

/** The added delay of every request that reached the target, µs, ascending. */
export function addedDelaysUs(online: string, target: string, port: number): number[] {
  const onlineTimes = requestTimes(online, port);
  const delays: number[] = [];
  for (const [key, timeUs] of requestTimes(target, port)) {
    const onlineUs = onlineTimes.get(key);
    if (onlineUs !== undefined) delays.push(timeUs - onlineUs);
  }
  return delays.sort((a, b) => a - b);
}
