/**
 * The protocol between tcpcopy and intercept: bytes to messages and back. Pure.
 *
 * It is the protocol of TCPCopy 1.x, so either side works with the original's other side. tcpcopy
 * connects and sends requests (`request.ts`); intercept answers with the headers of the packets the
 * target sends (`record.ts`), several to a frame (`response.ts`).
 */

export {
  DEFAULT_TUNNEL_PORT,
  encodeRequest,
  encodeVersion,
  PROTOCOL_VERSION,
  REQUEST_BYTES,
  RequestDecoder,
  type RequestHandler,
  RequestType,
} from "./request.ts";
export {
  MAX_RECORD_PAYLOAD_BYTES,
  MAX_RECORD_TCP_HEADER_BYTES,
  normalizeRecord,
  NOT_A_RECORD,
  RECORD_BYTES,
  RECORD_WITH_PAYLOAD_BYTES,
  type RecordBytes,
  USELESS_RECORD,
  writeRecord,
} from "./record.ts";
export {
  FRAME_HEADER_BYTES,
  type FrameMode,
  maxRecordsPerFrame,
  type RecordHandler,
  ResponseDecoder,
  ResponseEncoder,
} from "./response.ts";
