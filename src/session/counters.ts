/**
 * What the sessions of one table count while they run. Pure. Every counter only grows, but for
 * `acknowledgedBytes`, which falls when a turn is repeated.
 */
export class SessionCounters {
  /** Captured payload bytes accepted in order, each once. */
  capturedBytes = 0;
  /**
   * Payload bytes besides that clients are known to have sent: missing in the capture, or of
   * connections whose session had ended early. Of the latter, what was sent again counts again.
   */
  unreplayedBytes = 0;
  /** Payload bytes the target has acknowledged. */
  acknowledgedBytes = 0;
  /** Payload bytes given up: of turns cut by a reset, or waiting when a session ended early. */
  lostBytes = 0;
  /** Captured payload bytes seen before: retransmissions and overlaps. */
  duplicateBytes = 0;
  /** Captured segments that came ahead of a missing one. */
  outOfOrderSegments = 0;
  /** Captured segments whose payload was not captured whole. */
  truncatedSegments = 0;
  /** Captured packets with a wrong checksum. */
  wrongChecksums = 0;
  /** Packets behind a SYN, or in mid-stream, that do not prove that the service knows the client. */
  unprovenPackets = 0;
  /** Packets in a client's name with numbers its server does not accept (RFC 5961). */
  implausiblePackets = 0;
  /** Captured connections that another tcpcopy replays, and that are left out. */
  foreignConnections = 0;
  /** Resets in a client's name that its server cannot have believed. */
  unbelievedResets = 0;
  /** Response headers handed to the table. */
  responsePackets = 0;
  /** Response headers that belong to no session. */
  strayResponses = 0;
  /** Packets written for the target. */
  sentPackets = 0;
  /** Of these, those without payload, SYN, FIN or RST. */
  sentAcks = 0;
  /** Segments sent again: payload, SYN and FIN. */
  retransmits = 0;
  /** Retransmission time-outs. */
  timeouts = 0;
  /** Routes announced again because nothing was heard on their connections. */
  announcedAgain = 0;
  /** Packets that found no room in the injector's queue; retransmission recovers them. */
  unsentPackets = 0;
  /** Packets held back because nothing was to be sent to their target; they are sent again later. */
  heldPackets = 0;
  /** Connections opened again because the target had closed the previous one. */
  reconnects = 0;
  /** Resets and SYNs in the target's name that could not be its own, or came out of order. */
  challenges = 0;
  /** Connections the target reset. */
  resets = 0;
  /** Turns released to the target. */
  turns = 0;
  /** Of these, those after which the target said something, before it was done with them. */
  answeredTurns = 0;
  /** Of all, those released by a silence: the answer before had another length than online. */
  otherLengths = 0;
  /** Those released because the target did not answer the turn before, where online did. */
  unanswered = 0;
  /** Those released without waiting, because the session was too far behind. */
  unwaited = 0;
  /** Those of which it turned out that they had come before the end of an answer. */
  early = 0;
  /** Turns sent again on a fresh connection: the target reset the one before without answering. */
  repeatedTurns = 0;
  /** Connections the target ended without having answered anything. */
  fruitless = 0;
  /** Sessions that could not keep the client's source port. */
  movedPorts = 0;
  /** Connections that could not be opened because every source port was in use. */
  withoutPort = 0;
  /** Sessions that began in mid-stream. */
  joined = 0;
  /** Connections left out by sampling. */
  sampledOut = 0;
  /** Connections that were drawn from, at their SYN; how many were to be expected, and were drawn. */
  drawnFrom = 0;
  drawnExpected = 0;
  drawn = 0;
}
