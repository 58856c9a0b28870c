/**
 * Packets of somebody who is no client: made-up connections, and packets in clients' names without
 * knowledge of their numbers, or only of some. Pure.
 */

import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { buildPacket, type SegmentFields } from "./packet_builder.ts";
import type { Random } from "./random.ts";
import type { Scenario } from "./scenario.ts";
import type { Script } from "./script.ts";

/** A packet that reaches the capture at a time. */
export interface AttackPacket {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

const NOBODY = 0xc6140000 | 0; // 198.20.0.0
const PAYLOAD = new TextEncoder().encode("GET /attack HTTP/1.1\r\n\r\n");
const OLD_BYTES = 100_000_000;
const { Ack, Fin, Psh, Rst, Syn } = TcpFlag;

/** Draws the packets of an attack that goes on until `endMs`. */
export function drawAttack(scenario: Scenario, endMs: number, random: Random): AttackPacket[] {
  const { onlineAddress, onlinePort } = scenario.capture;
  const packets: AttackPacket[] = [];
  const at = () => random.int(0, endMs);
  const add = (atMs: number, fields: Partial<SegmentFields> & { flags: number }) =>
    packets.push({
      atMs,
      bytes: buildPacket({
        source: 0,
        sourcePort: 0,
        sequence: 0,
        window: 502,
        ...fields,
        destination: onlineAddress,
        destinationPort: onlinePort,
      }),
    });
  const any = () => random.int(0, 0xffff_ffff) | 0;
  for (let count = random.int(1, 40); count > 0; count--) {
    // A whole connection of nobody's.
    const source = (NOBODY + random.int(1, 0xffff)) | 0;
    const whose = { source, sourcePort: random.int(1024, 65_535) };
    const [sequence, acknowledgment, atMs] = [any(), any(), at()];
    add(atMs, { ...whose, flags: Syn, sequence });
    const next = { ...whose, sequence: (sequence + 1) | 0, acknowledgment };
    add(atMs + 1, { ...next, flags: Ack });
    add(atMs + 1, { ...next, flags: Ack | Psh, payload: PAYLOAD });
    add(atMs + 2, {
      ...next,
      sequence: (sequence + 1 + PAYLOAD.length) | 0,
      flags: Ack | (random.chance(0.5) ? Fin : Rst),
    });
  }
  for (let count = random.int(1, 60); count > 0; count--) {
    const script = random.pick(scenario.scripts);
    add(at(), { ...inNameOf(script, any, random), ...clientOf(script) });
  }
  for (let count = random.int(1, 10); count > 0; count--) {
    const bytes = buildPacket({
      ...clientOf(random.pick(scenario.scripts)),
      ...{ destination: onlineAddress, destinationPort: onlinePort, flags: Ack, window: 502 },
      sequence: any(),
      payload: PAYLOAD,
    });
    bytes[bytes.length - 1] ^= 1; // so that its checksum is wrong
    packets.push({ atMs: at(), bytes });
  }
  return packets.sort((a, b) => a.atMs - b.atMs);
}

function clientOf({ clientAddress, clientPort }: Script) {
  return { source: clientAddress, sourcePort: clientPort };
}

function inNameOf(script: Script, any: () => number, random: Random) {
  const inside = (script.clientSequence + 1 + random.int(0, script.stream.length)) | 0;
  const behind = (script.clientSequence + 1 + script.stream.length + random.int(2, 50_000)) | 0;
  const old = (script.serverSequence - OLD_BYTES) | 0;
  return random.pick([
    { flags: Syn, sequence: any(), acknowledgment: 0 },
    { flags: Ack | Psh, sequence: inside, acknowledgment: old, payload: PAYLOAD },
    { flags: Ack | Fin, sequence: inside, acknowledgment: old },
    { flags: Ack | Psh, sequence: any(), acknowledgment: any(), payload: PAYLOAD },
    { flags: Ack | Fin, sequence: any(), acknowledgment: any() },
    { flags: Rst, sequence: any(), acknowledgment: 0 },
    { flags: Rst, sequence: behind, acknowledgment: 0 },
    { flags: Rst | Ack, sequence: behind, acknowledgment: any() },
  ]);
}
