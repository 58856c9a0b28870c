/**
 * Packet filters for the kernel, put together by hand: classic BPF programs over packets that begin
 * with an IPv4 header, as a raw socket sees them. Pure.
 *
 * Captures from devices and files leave compiling to libpcap; what they say when it refuses is here.
 */

import { type FilterInstruction, MAX_FILTER_INSTRUCTIONS } from "../../ffi/socket.ts";
import { type Partition, PARTITION_SHIFT, PARTITION_SPREAD } from "../wire/partition.ts";

/** Operations (linux/bpf_common.h): class, size and mode in one number. */
const LD_WORD_ABS = 0x20;
const LD_HALF_IND = 0x48;
const LDX_BYTE_MSH = 0xb1;
const JEQ_K = 0x15;
const MUL_K = 0x24;
const RSH_K = 0x74;
const MOD_K = 0x94;
const RET_K = 0x06;

/** Keep the whole packet, however long: the operand of RET is the number of bytes to keep. */
const KEEP = 0x40000;
const IPV4_SOURCE = 12;
const IPV4_DESTINATION = 16;
/** Where the ports stand in a TCP header. */
export const TCP_SOURCE_PORT = 0;
export const TCP_DESTINATION_PORT = 2;

/** A destination whose packets are wanted. */
export interface CapturePair {
  /** IPv4 address as a signed 32-bit integer; undefined (or 0) for every address. */
  address?: number;
  /** TCP port, 1..65535. */
  port: number;
}

/**
 * Lets TCP packets to one of the destinations through. The socket must be one for TCP
 * (IPPROTO_TCP): the program does not look at the protocol, nor for fragments, since the kernel puts
 * packets together before such a socket sees them.
 *
 * @param pairs destinations wanted, at least one; up to about 800
 * @param partition only packets from clients of this part
 * @throws RangeError for a port out of range, none or too many pairs, an unusable partition
 */
export function destinationFilter(
  pairs: readonly CapturePair[],
  partition?: Partition,
): FilterInstruction[] {
  return [
    ...partitionCondition(partition, 0, TCP_SOURCE_PORT),
    ...pairsCondition(pairs, TCP_DESTINATION_PORT, IPV4_DESTINATION),
  ];
}

/**
 * Lets packets through that one of the services has sent.
 *
 * @param pairs the services, at least one; up to about 800
 * @throws RangeError as `destinationFilter`
 */
export function sourceFilter(pairs: readonly CapturePair[]): FilterInstruction[] {
  return pairsCondition(pairs, TCP_SOURCE_PORT, IPV4_SOURCE);
}

/** Keeps packets with one of the ports and addresses where they are to stand, and no others. */
function pairsCondition(
  pairs: readonly CapturePair[],
  tcpPort: number,
  ipAddress: number,
): FilterInstruction[] {
  if (pairs.length === 0) throw new RangeError("A capture filter needs at least one port.");
  // X = length of the IP header.
  const program: FilterInstruction[] = [[LDX_BYTE_MSH, 0, 0, 0]];
  for (const { address, port } of pairs) {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new RangeError(`A port to capture is 1 to 65535, not ${port}.`);
    }
    const anyAddress = address === undefined || address === 0;
    program.push([LD_HALF_IND, 0, 0, tcpPort]);
    // If it is another port, skip to behind this pair's RET.
    program.push([JEQ_K, 0, anyAddress ? 1 : 3, port]);
    if (!anyAddress) program.push([LD_WORD_ABS, 0, 0, ipAddress], [JEQ_K, 0, 1, address >>> 0]);
    program.push([RET_K, 0, 0, KEEP]);
  }
  program.push([RET_K, 0, 0, 0]);
  if (program.length > MAX_FILTER_INSTRUCTIONS) {
    throw new RangeError(
      `${pairs.length} address and port pairs are too many for one packet filter ` +
        `(${program.length} instructions of at most ${MAX_FILTER_INSTRUCTIONS}): give fewer.`,
    );
  }
  return program;
}

/**
 * Goes on behind itself for TCP packets whose client is of a part (`partitionOf`), and ends with
 * nothing for others.
 *
 * @param ipHeader where the IPv4 header begins
 * @param clientPort where the client's port stands in the TCP header
 * @throws RangeError for an unusable partition
 */
export function partitionCondition(
  partition: Partition | undefined,
  ipHeader: number,
  clientPort: number,
): FilterInstruction[] {
  if (partition === undefined) return [];
  const { index, count } = partition;
  if (!Number.isInteger(count) || !Number.isInteger(index) || index < 0 || index >= count) {
    throw new RangeError(`A partition is 0 to count - 1, not ${index} of ${count}.`);
  }
  if (count === 1) return [];
  return [
    [LDX_BYTE_MSH, 0, 0, ipHeader],
    [LD_HALF_IND, 0, 0, ipHeader + clientPort],
    [MUL_K, 0, 0, PARTITION_SPREAD],
    [RSH_K, 0, 0, PARTITION_SHIFT],
    [MOD_K, 0, 0, count],
    [JEQ_K, 1, 0, index],
    [RET_K, 0, 0, 0],
  ];
}

/**
 * The same, in the language of pcap-filter(7), for packets to a client; what has no client's port is
 * the first part's.
 */
export function partitionExpression({ index, count }: Partition): string {
  const isInPart = `((tcp[2:2] * ${PARTITION_SPREAD}) >> ${PARTITION_SHIFT}) % ${count} = ${index}`;
  return index === 0 ? `(${isInPart} or ip6)` : `(${isInPart})`;
}

/** The error for a filter expression that libpcap refuses, with libpcap's text. */
export function filterRefused(expression: string, text: string): Error {
  return new Error(
    `The capture filter "${expression}" does not compile (${text}): ` +
      'expected a pcap-filter(7) expression such as "tcp and dst port 80".',
  );
}
