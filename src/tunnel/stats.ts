/**
 * The counters of both ends of the tunnel. Pure. They only ever go up.
 */

/** Counters of a client since it was made. */
export class TunnelClientStats {
  /** Attempts to connect. */
  attempts = 0;
  /** Connections that came up. */
  established = 0;
  /** Connections lost after they were up. */
  lost = 0;
  /** Of these, those whose peer did not speak the protocol. */
  protocolErrors = 0;
  announced = 0;
  forgotten = 0;
  /** Announcements and retractions refused because the output buffer was full. */
  outputFull = 0;
  /** Records handed to `onRecord`. */
  records = 0;
  /** Records dropped because their lengths contradict each other. */
  uselessRecords = 0;
  receivedBytes = 0;
  sendCalls = 0;
}

/** Counters of a server since it was made. */
export class TunnelServerStats {
  /** Connections accepted. */
  accepted = 0;
  /** Connections turned away. */
  refused = 0;
  /** Connections ended because a newer one needed their room. */
  evicted = 0;
  /** Connections ended, for whatever reason. */
  closed = 0;
  /** Of these, those whose peer did not speak the protocol. */
  protocolErrors = 0;
  announced = 0;
  forgotten = 0;
  /** Announcements of connections that another address had announced, too. */
  shared = 0;
  /** Packets given to `forward`. */
  packets = 0;
  /** Records put into an output buffer. */
  records = 0;
  /** Packets that no one had asked for and that are not worth holding. */
  unrouted = 0;
  /** IPv6 packets; the protocol has no place for their addresses. */
  notIpv4 = 0;
  /** SYN-ACKs and RSTs held for a route. */
  held = 0;
  /** Held ones delivered when a route came. */
  heldDelivered = 0;
  /** Records lost because a peer reads too slowly. */
  dropped = 0;
  sendCalls = 0;
  sentBytes = 0;
}
