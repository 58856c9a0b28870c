/**
 * Linux "cooked" capture headers, which libpcap puts in front of packets from the device "any"
 * (https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html and …_SLL2.html). Pure.
 */

/** Length of a version 1 header. */
export const SLL_HEADER_BYTES = 16;

/** Where the EtherType stands in a version 1 header; it is the last field. */
export const SLL_PROTOCOL_OFFSET = 14;

/** Length of a version 2 header. */
export const SLL2_HEADER_BYTES = 20;

/** Where the EtherType stands in a version 2 header; it is the first field. */
export const SLL2_PROTOCOL_OFFSET = 0;
