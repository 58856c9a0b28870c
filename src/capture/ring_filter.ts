/**
 * Packet filters for packet rings: classic BPF programs, put together from a few conditions. Pure.
 *
 * A packet socket sees what arrives before the kernel has looked at it, so that what a raw socket may
 * take for granted (for this host, TCP, whole) is asked for here.
 *
 * @see Documentation/networking/filter.rst in the kernel's sources
 */

import type { FilterInstruction } from "../../ffi/socket.ts";
import { type CapturePair, destinationFilter } from "./bpf.ts";

const LD_WORD_ABS = 0x20;
const LD_HALF_ABS = 0x28;
const LD_HALF_IND = 0x48;
const LD_BYTE_ABS = 0x30;
const LD_LENGTH = 0x80;
const LDX_BYTE_MSH = 0xb1;
const LDX_MEMORY = 0x61;
const ST = 0x02;
const JEQ_K = 0x15;
const JGT_K = 0x25;
const JSET_K = 0x45;
const MUL_K = 0x24;
const MOD_K = 0x94;
const RSH_K = 0x74;
const XOR_X = 0xac;
const RET_K = 0x06;

/** SKF_AD_OFF + SKF_AD_PKTTYPE: whom the packet is for. */
const PACKET_TYPE = 0xffff_f004;
const PACKET_HOST = 0;
const PACKET_OUTGOING = 4;
/** SKF_NET_OFF: offsets from here count from the network header, whatever stands before it. */
const NETWORK_HEADER = 0xfff0_0000;

const IPV4_FRAGMENT = 6;
const IPV4_FRAGMENT_OFFSET_MASK = 0x1fff;
const IPV4_PROTOCOL = 9;
const IPV4_SOURCE = 12;
const IPV4_DESTINATION = 16;
const TCP = 6;

/** 2^32 divided by the golden ratio: spreads neighbouring values (multiplicative hashing). */
const SPREAD = 0x9e37_79b1;

/** Packets of some lengths, in bytes with what they begin with. */
export interface LengthRange {
  /** Longer than this; 0 for all. */
  above: number;
  /** And not longer than this; Infinity for all. */
  upTo: number;
}

/** One of several parts of all connections. */
export interface Partition {
  /** 0..count - 1. */
  index: number;
  /** How many parts there are, at least 1. */
  count: number;
}

/**
 * Lets through TCP packets that have arrived for this host's link address and go to one of the
 * destinations; for a socket that gets IPv4 packets from the IP header on. Of a packet in fragments
 * the first one passes, so that it can be counted.
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
    ...partitionCondition(partition),
    ...destinationFilter(pairs),
  ];
}

/**
 * Lets through what another program does, if this host has not sent it.
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
    ...partitionCondition(partition),
    ...program,
  ];
}

/**
 * The part a connection is in, the same for both of its directions: what the filters compute.
 *
 * @param address an address of the connection, int32; `port` the port at this end
 * @param otherAddress the address of the other end, int32
 */
export function partitionOf(
  address: number,
  port: number,
  otherAddress: number,
  otherPort: number,
  count: number,
): number {
  return (Math.imul(address ^ otherAddress ^ port ^ otherPort, SPREAD) >>> 16) % count;
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

function partitionCondition(partition: Partition | undefined): FilterInstruction[] {
  if (partition === undefined) return [];
  const { index, count } = partition;
  if (!Number.isInteger(count) || !Number.isInteger(index) || index < 0 || index >= count) {
    throw new RangeError(`A partition is 0 to count - 1, not ${index} of ${count}.`);
  }
  if (count === 1) return [];
  const fieldsToXor: FilterInstruction[] = [
    [LD_WORD_ABS, 0, 0, NETWORK_HEADER + IPV4_DESTINATION],
    [LD_HALF_IND, 0, 0, NETWORK_HEADER],
    [LD_HALF_IND, 0, 0, NETWORK_HEADER + 2],
  ];
  return [
    [LD_WORD_ABS, 0, 0, NETWORK_HEADER + IPV4_SOURCE],
    ...fieldsToXor.flatMap((load): FilterInstruction[] => [
      // What was gathered so far waits in memory, while X serves as index of the TCP header.
      [ST, 0, 0, 0],
      [LDX_BYTE_MSH, 0, 0, NETWORK_HEADER],
      load,
      [LDX_MEMORY, 0, 0, 0],
      [XOR_X, 0, 0, 0],
    ]),
    [MUL_K, 0, 0, SPREAD],
    [RSH_K, 0, 0, 16],
    [MOD_K, 0, 0, count],
    [JEQ_K, 1, 0, index],
    [RET_K, 0, 0, 0],
  ];
}
