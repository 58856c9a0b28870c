/** What the sessions of one table count while they run. Pure; every counter only grows. */
export class SessionCounters {
  /** Captured packets handed to the table that belong to a transfer. */
  requestPackets = 0;
  /** Captured payload bytes accepted in order, each once. */
  capturedBytes = 0;
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
  /** Response headers handed to the table. */
  responsePackets = 0;
  /** Response headers that belong to no session. */
  strayResponses = 0;
  /** Packets written for the target. */
  sentPackets = 0;
  /** Of these, those without payload, SYN, FIN or RST. */
  sentAcks = 0;
  /** Payload segments sent again. */
  retransmits = 0;
  /** Retransmission time-outs. */
  timeouts = 0;
  /** Packets that found no room in the injector's queue; retransmission recovers them. */
  unsentPackets = 0;
  /** Connections opened again because the target had closed the previous one. */
  reconnects = 0;
  /** Connections the target reset. */
  resets = 0;
  /** Turns released because the target's answer ended, shorter than the online server's. */
  shortAnswers = 0;
  /** Sessions that could not keep the client's source port. */
  movedPorts = 0;
  /** Connections that could not be opened because every source port was in use. */
  withoutPort = 0;
  /** Sessions that began in mid-stream. */
  joined = 0;
  /** Connections left out by sampling. */
  sampledOut = 0;
}
