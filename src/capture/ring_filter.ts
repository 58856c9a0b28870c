/**
 * Packet filters for packet rings: classic BPF programs, put together from a few conditions. Pure.
 *
 * A packet socket sees what arrives before the kernel has looked at it, so that what a raw socket may
 * take for granted (for this host, TCP, whole) is asked for here.
 *
 * @see Documentation/networking/filter.rst in the kernel's sources
 */

import type { FilterInstruction } from "../../ffi/socket.ts";
import type { Partition } from "../wire/partition.ts";
import {
  type CapturePair,
  destinationFilter,
  partitionCondition,
  sourceFilter,
  TCP_DESTINATION_PORT,
  TCP_SOURCE_PORT,
} from "./bpf.ts";

const LD_WORD_ABS = 0x20;
const LD_HALF_ABS = 0x28;
const LD_BYTE_ABS = 0x30;
const LD_HALF_IND = 0x48;
const LD_BYTE_IND = 0x50;
const LDX_BYTE_MSH = 0xb1;
const LD_LENGTH = 0x80;
const AND_K = 0x54;
const JUMP = 0x05;
const JEQ_K = 0x15;
const JGT_K = 0x25;
const JSET_K = 0x45;
const RET_K = 0x06;

/** SKF_AD_OFF + SKF_AD_PROTOCOL: what the link layer says it carries. */
const LINK_PROTOCOL = 0xffff_f000;
const ETH_P_IP = 0x0800;
/** SKF_AD_OFF + SKF_AD_PKTTYPE: whom the packet is for. */
const PACKET_TYPE = 0xffff_f004;
const PACKET_HOST = 0;
const PACKET_OUTGOING = 4;
/** SKF_AD_OFF + SKF_AD_IFINDEX: the device it passes. */
const DEVICE_INDEX = 0xffff_f008;
/** SKF_NET_OFF: offsets from here count from the network header, whatever stands before it. */
const NETWORK_HEADER = 0xfff0_0000;

/** Its number in every network namespace. */
const LOOPBACK = 1;
/** More than the longest packet. */
const KEEP = 0x40000;

const IPV4_FRAGMENT = 6;
const IPV4_FRAGMENT_OFFSET_MASK = 0x1fff;
const IPV4_PROTOCOL = 9;
const IPV4_SOURCE = 12;
const IPV4_DESTINATION = 16;
const TCP = 6;
const TCP_FLAGS = 13;
const SYN = 0x02;
const SYN_ACK = 0x12;
/** In IPv6 headers: what follows, which begins behind them. */
const IPV6_NEXT_HEADER = 6;
const IPV6_HEADER_BYTES = 40;
const KEEP_ANY = 1;

/** Which packets that this host sends are captured beside those that arrive. */
export interface SentPackets {
  /** From one of these addresses, int32, at most MAX_SOURCES; undefined: from any. */
  sources: readonly number[] | undefined;
  /** That leave by one of these devices, by number; undefined: by any that the socket sees. */
  devices?: readonly number[];
  /** Not from this TCP port; 0 for none. */
  exceptPort: number;
}

/** More addresses than these have no place in a filter, beside what else is in it. */
export const MAX_SOURCES = 1000;

/** Packets of some lengths, in bytes with what they begin with. */
export interface LengthRange {
  /** Longer than this; 0 for all. */
  above: number;
  /** And not longer than this; Infinity for all. */
  upTo: number;
}

/**
 * Lets through TCP packets that have arrived for this host's link address and go to one of the
 * destinations, from the clients of a part; for a socket that gets IPv4 packets from the IP header
 * on. Of a packet in fragments the first one passes, so that it can be counted.
 *
 * @throws RangeError for unusable pairs or partitions
 */
export function arrivingFilter(
  pairs: readonly CapturePair[],
  lengths: LengthRange,
  partition?: Partition,
): FilterInstruction[] {
  return [
    ...unless([LD_BYTE_ABS, 0, 0, PACKET_TYPE], [JEQ_K, 1, 0, PACKET_HOST]),
    ...unless([LD_BYTE_ABS, 0, 0, IPV4_PROTOCOL], [JEQ_K, 1, 0, TCP]),
    ...unless([LD_HALF_ABS, 0, 0, IPV4_FRAGMENT], [JSET_K, 0, 1, IPV4_FRAGMENT_OFFSET_MASK]),
    ...lengthCondition(lengths),
    ...partitionCondition(partition, NETWORK_HEADER, TCP_SOURCE_PORT),
    ...destinationFilter(pairs),
  ];
}

/**
 * Lets through what another program does, if this host has not sent it, and if it goes to a client of
 * the part.
 *
 * @throws RangeError for an unusable partition
 */
export function incomingFilter(
  program: readonly FilterInstruction[],
  lengths: LengthRange,
  partition?: Partition,
): FilterInstruction[] {
  return [
    ...unless([LD_BYTE_ABS, 0, 0, PACKET_TYPE], [JEQ_K, 0, 1, PACKET_OUTGOING]),
    ...lengthCondition(lengths),
    ...partitionCondition(partition, NETWORK_HEADER, TCP_DESTINATION_PORT),
    ...program,
  ];
}

/**
 * As `incomingFilter`, and lets through what this host sends, as far as that is asked for.
 *
 * @throws RangeError for an unusable partition
 */
export function passingFilter(
  program: readonly FilterInstruction[],
  sent: SentPackets,
  lengths: LengthRange,
  partition?: Partition,
): FilterInstruction[] {
  return [
    ...either([], sentConditions(sent)),
    ...lengthCondition(lengths),
    ...partitionCondition(partition, NETWORK_HEADER, TCP_DESTINATION_PORT),
    ...program,
  ];
}

/**
 * Narrows a program that is in force (none: all is kept) to what arrives, and what this host sends as far
 * as that is asked for; where devices are named, what arrives by others than them and the loopback is
 * kept out, too.
 */
export function narrowedFilter(
  program: readonly FilterInstruction[],
  sent: SentPackets,
): FilterInstruction[] {
  const { devices } = sent;
  const arriving = devices === undefined
    ? []
    : oneOf([LD_WORD_ABS, 0, 0, DEVICE_INDEX], [LOOPBACK, ...devices]);
  const rest: readonly FilterInstruction[] = program.length > 0 ? program : [[RET_K, 0, 0, KEEP]];
  return [...either(arriving, sentConditions(sent)), ...rest];
}

/**
 * As `passingFilter`, without what arrives.
 *
 * @throws RangeError for an unusable partition
 */
export function sendingFilter(
  program: readonly FilterInstruction[],
  sent: SentPackets,
  lengths: LengthRange,
  partition?: Partition,
): FilterInstruction[] {
  return [
    ...unless([LD_BYTE_ABS, 0, 0, PACKET_TYPE], [JEQ_K, 1, 0, PACKET_OUTGOING]),
    ...sentConditions(sent),
    ...lengthCondition(lengths),
    ...partitionCondition(partition, NETWORK_HEADER, TCP_DESTINATION_PORT),
    ...program,
  ];
}

function sentConditions({ sources, devices, exceptPort }: SentPackets): FilterInstruction[] {
  return [
    ...(devices === undefined ? [] : oneOf([LD_WORD_ABS, 0, 0, DEVICE_INDEX], devices)),
    ...(sources === undefined
      ? []
      : oneOf([LD_WORD_ABS, 0, 0, NETWORK_HEADER + IPV4_SOURCE], sources)),
    [LDX_BYTE_MSH, 0, 0, NETWORK_HEADER],
    ...unless([LD_HALF_IND, 0, 0, NETWORK_HEADER + TCP_SOURCE_PORT], [JEQ_K, 0, 1, exceptPort]),
  ];
}

/**
 * Lets SYN-ACKs over IPv4 through that this host sends for one of the services, to the clients of a
 * part; for a socket that gets all packets from the network header on.
 *
 * @throws RangeError for unusable pairs or partitions
 */
export function answeringFilter(
  pairs: readonly CapturePair[],
  partition?: Partition,
): FilterInstruction[] {
  return [
    ...unless([LD_BYTE_ABS, 0, 0, PACKET_TYPE], [JEQ_K, 1, 0, PACKET_OUTGOING]),
    ...unless([LD_HALF_ABS, 0, 0, LINK_PROTOCOL], [JEQ_K, 1, 0, ETH_P_IP]),
    ...unless([LD_BYTE_ABS, 0, 0, IPV4_PROTOCOL], [JEQ_K, 1, 0, TCP]),
    [LDX_BYTE_MSH, 0, 0, 0],
    [LD_BYTE_IND, 0, 0, TCP_FLAGS],
    ...unless([AND_K, 0, 0, SYN_ACK], [JEQ_K, 1, 0, SYN_ACK]),
    ...partitionCondition(partition, NETWORK_HEADER, TCP_DESTINATION_PORT),
    ...sourceFilter(pairs),
  ];
}

/**
 * Takes SYNs over IPv6 for this host and one of the ports; for a socket that gets IPv6 packets from the
 * network header on.
 *
 * @param ports at least one, at most 2,000
 */
export function ipv6OpeningFilter(ports: readonly number[]): FilterInstruction[] {
  return [
    ...unless([LD_BYTE_ABS, 0, 0, PACKET_TYPE], [JEQ_K, 1, 0, PACKET_HOST]),
    ...unless([LD_BYTE_ABS, 0, 0, IPV6_NEXT_HEADER], [JEQ_K, 1, 0, TCP]),
    [LD_BYTE_ABS, 0, 0, IPV6_HEADER_BYTES + TCP_FLAGS],
    ...unless([AND_K, 0, 0, SYN_ACK], [JEQ_K, 1, 0, SYN]),
    [LD_HALF_ABS, 0, 0, IPV6_HEADER_BYTES + TCP_DESTINATION_PORT],
    ...ports.flatMap((port): FilterInstruction[] => [[JEQ_K, 0, 1, port], [RET_K, 0, 0, KEEP_ANY]]),
    [RET_K, 0, 0, 0],
  ];
}

/**
 * Lets TCP packets over IPv4 to one of the addresses through, whoever sends them and whichever way they
 * go; for a socket that gets all packets from the network header on.
 *
 * @param snapLength how much of each is kept, bytes
 */
export function towardsFilter(
  addresses: readonly number[],
  snapLength: number,
): FilterInstruction[] {
  return [
    ...unless([LD_HALF_ABS, 0, 0, LINK_PROTOCOL], [JEQ_K, 1, 0, ETH_P_IP]),
    ...unless([LD_BYTE_ABS, 0, 0, IPV4_PROTOCOL], [JEQ_K, 1, 0, TCP]),
    ...oneOf([LD_WORD_ABS, 0, 0, IPV4_DESTINATION], addresses),
    [RET_K, 0, 0, snapLength],
  ];
}

/** Loads, and goes on only with one of the values. Of any length: jumps of conditions are short. */
function oneOf(load: FilterInstruction, values: readonly number[]): FilterInstruction[] {
  const tests = values.flatMap((value, index): FilterInstruction[] => [
    [JEQ_K, 0, 1, value >>> 0],
    [JUMP, 0, 0, 2 * (values.length - 1 - index) + 1],
  ]);
  return [load, ...tests, [RET_K, 0, 0, 0]];
}

/** Other conditions for what arrives and for what is sent; both go on behind them. */
function either(
  arriving: readonly FilterInstruction[],
  sent: readonly FilterInstruction[],
): FilterInstruction[] {
  return [
    [LD_BYTE_ABS, 0, 0, PACKET_TYPE],
    [JEQ_K, 0, 1, PACKET_OUTGOING],
    [JUMP, 0, 0, arriving.length + 1],
    ...arriving,
    [JUMP, 0, 0, sent.length],
    ...sent,
  ];
}

/** Loads and tests; the test goes one further to keep the packet. */
function unless(load: FilterInstruction, test: FilterInstruction): FilterInstruction[] {
  return [load, test, [RET_K, 0, 0, 0]];
}

function lengthCondition({ above, upTo }: LengthRange): FilterInstruction[] {
  const load: FilterInstruction = [LD_LENGTH, 0, 0, 0];
  return [
    ...(above > 0 ? unless(load, [JGT_K, 1, 0, above]) : []),
    ...(upTo < Infinity ? unless(load, [JGT_K, 0, 1, upTo]) : []),
  ];
}
