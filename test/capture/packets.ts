/** Packets and connections for the tests of capture and injection. */

import { formatIpv4, parseIpv4, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { writeTcpChecksumIpv4, writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

/** An address from its dotted form. */
export function ipv4(text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(`${text} is no IPv4 address`);
  return address;
}

export const LOOPBACK = ipv4("127.0.0.1");

/** What a test packet says. */
export interface TestPacket {
  source?: number;
  destination?: number;
  sourcePort?: number;
  destinationPort: number;
  sequence?: number;
  payload?: Uint8Array;
}

/** Length of `writePacket`'s packet. */
export function packetBytes(packet: TestPacket): number {
  return 40 + (packet.payload?.length ?? 0);
}

/** Writes an IPv4 packet with a TCP segment, checksums included; returns its length. */
export function writePacket(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  packet: TestPacket,
): number {
  const payload = packet.payload ?? new Uint8Array(0);
  const length = packetBytes(packet);
  const { source = LOOPBACK, destination = LOOPBACK } = packet;
  writeIpv4Header(view, offset, length, 1, 64, 6, source, destination);
  writeTcpHeader(
    view,
    offset + 20,
    packet.sourcePort ?? 1234,
    packet.destinationPort,
    packet.sequence ?? 0,
    0,
    20,
    TcpFlag.Ack,
    1000,
  );
  bytes.set(payload, offset + 40);
  writeTcpChecksumIpv4(bytes, view, offset, offset + 20, length - 20);
  return length;
}

/** The same in memory of its own. */
export function makePacket(packet: TestPacket): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(packetBytes(packet));
  writePacket(bytes, new DataView(bytes.buffer), 0, packet);
  return bytes;
}

/** Opens a connection to a listener of its own, sends, and returns what the listener read. */
export async function talk(address: number, payload: Uint8Array, port = 0): Promise<{
  port: number;
  received: number;
}> {
  const hostname = formatIpv4(address);
  const listener = Deno.listen({ hostname, port });
  const serve = async (): Promise<number> => {
    const connection = await listener.accept();
    let received = 0;
    for await (const chunk of connection.readable) received += chunk.length;
    return received;
  };
  const serving = serve();
  const connection = await Deno.connect({ hostname, port: listener.addr.port });
  for (let at = 0; at < payload.length;) at += await connection.write(payload.subarray(at));
  connection.close();
  const received = await serving;
  listener.close();
  return { port: listener.addr.port, received };
}

/** A TCP port of this host that nothing listens on. */
export function unusedPort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/**
 * Runs TypeScript in a process of its own, wrapped in a command that takes privileges or the
 * network away.
 *
 * @returns its standard output; standard error is shown
 */
export async function runElsewhere(wrapper: readonly string[], code: string): Promise<string> {
  const [command, ...rest] = wrapper;
  const cwd = new URL("../..", import.meta.url);
  const args = [...rest, Deno.execPath(), "eval", "--ext=ts", code];
  const { success, stdout } = await new Deno.Command(command, { args, cwd, stderr: "inherit" })
    .output();
  if (!success) throw new Error(`${wrapper.join(" ")}: the process failed`);
  return new TextDecoder().decode(stdout);
}

/** Takes away what raw sockets need, also from root. */
export const UNPRIVILEGED = ["setpriv", "--bounding-set=-net_raw,-net_admin"] as const;
