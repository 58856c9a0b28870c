/**
 * Packet sockets for sending: whole frames, straight to a device. See packet(7).
 */

import { closeFd, openSocket, setOption, setSendBuffer, SOCK_RAW } from "./socket.ts";

export const AF_PACKET = 17;
const SOL_PACKET = 263;
const PACKET_QDISC_BYPASS = 20;

/** sizeof(struct sockaddr_ll) */
export const SOCKADDR_LL_BYTES = 20;

/**
 * Opens a packet socket that sends frames and receives nothing.
 *
 * @param bypassQdisc whether frames pass the devices' queueing disciplines by
 * @param sendBufferBytes send buffer to ask for
 * @param what for the error message: what the socket is for
 * @returns the file descriptor
 * @throws SystemError, EPERM without root or CAP_NET_RAW
 */
export function openFrameSocket(
  bypassQdisc: boolean,
  sendBufferBytes: number,
  what: string,
): number {
  // Protocol 0: no packet is ever handed to this socket.
  const fd = openSocket(AF_PACKET, SOCK_RAW, 0, what);
  try {
    if (bypassQdisc) setOption(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
    setSendBuffer(fd, sendBufferBytes);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}

/**
 * Writes a struct sockaddr_ll that names the device of a whole frame.
 *
 * @param view native memory
 * @param offset where the 20 bytes begin; they must be zero before the first time
 * @param device interface index
 * @param etherType what the frame carries
 */
export function writeSockaddrLl(
  view: DataView,
  offset: number,
  device: number,
  etherType: number,
): void {
  view.setUint16(offset, AF_PACKET, true);
  view.setUint16(offset + 2, etherType, false);
  view.setInt32(offset + 4, device, true);
}
