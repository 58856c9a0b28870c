/** What a dump has done and what it could not do. Plain numbers, to be reported. */

/** Counted where data is taken. */
export class DumpCounters {
  /** Connections of which something was dumped, and those of them that were open before. */
  connections = 0;
  joined = 0;
  /** Pieces of request data handed to the writer. */
  records = 0;
  recordBytes = 0;
  /** Pieces given up because the writer is too far behind. */
  shedRecords = 0;
  shedBytes = 0;
  /** Packets handed to the writer, and those given up, with all later ones of their connection. */
  packets = 0;
  shedPackets = 0;
  /** Connections whose dump ended early: bytes missing in the capture, or no memory to wait in. */
  gaps = 0;
  outOfMemory = 0;
  /** Captured packets that are no TCP over IPv4. */
  unusable = 0;
}

/** Counted where files are written. */
export class WriterCounters {
  records = 0;
  recordBytes = 0;
  packets = 0;
  /** What the disk did not take. */
  failedRecords = 0;
  failedBytes = 0;
  failedPackets = 0;
  failedLines = 0;
  /** What was on its way when the fuse tripped, and was given up. */
  fusedRecords = 0;
  fusedBytes = 0;
  /** Bytes written to all files. */
  fileBytes = 0;
  /** Old files deleted to stay within the cap. */
  deletedFiles = 0;
}
