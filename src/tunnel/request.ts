/**
 * What tcpcopy says to intercept: fixed messages of 14 bytes over TCP. Pure.
 *
 * Layout, every integer in network byte order: client address (4), client port (2), type (2),
 * target address (4), target port (2). The first message on a connection carries the protocol
 * version as its type and zeros elsewhere. There is no answer to any of them.
 */

import { formatIpv4 } from "../wire/ipv4.ts";

/** Port on which intercept listens unless told otherwise. */
export const DEFAULT_TUNNEL_PORT = 36524;

/** The one version of the protocol in use, sent as the type of the first message. */
export const PROTOCOL_VERSION = 6;

/** Length of every message. */
export const REQUEST_BYTES = 14;

/** What a message after the first one asks for. */
export const RequestType = {
  /** Send this connection's responses to me. */
  Announce: 1,
  /** Send them no longer. */
  Forget: 2,
} as const;

/** One of the values of {@link RequestType}. */
export type RequestType = typeof RequestType[keyof typeof RequestType];

/**
 * Writes one message.
 *
 * @param clientAddress int32, the address the replayed connection comes from
 * @param targetAddress int32, the address it goes to
 */
export function encodeRequest(
  view: DataView,
  offset: number,
  type: number,
  clientAddress: number,
  clientPort: number,
  targetAddress: number,
  targetPort: number,
): void {
  view.setInt32(offset, clientAddress);
  view.setUint16(offset + 4, clientPort);
  view.setUint16(offset + 6, type);
  view.setInt32(offset + 8, targetAddress);
  view.setUint16(offset + 12, targetPort);
}

/** Writes the message that has to be the first one on a connection. */
export function encodeVersion(view: DataView, offset: number): void {
  encodeRequest(view, offset, PROTOCOL_VERSION, 0, 0, 0, 0);
}

/** Receives the messages of one connection; addresses are int32. */
export interface RequestHandler {
  onAnnounce(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): void;
  onForget(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): void;
}

/**
 * Cuts a byte stream into messages and checks them. One decoder serves one connection; it holds at
 * most one unfinished message. After an error it takes nothing more.
 */
export class RequestDecoder {
  /** Why the stream was refused; empty while it is good. */
  error: string;
  /** Whether the version message has come. */
  greeted: boolean;
  /** Whole messages taken so far, the version message included. */
  messages: number;
  readonly #handler: RequestHandler;
  /** Where the beginning of a message waits for its rest; made when there is one. */
  #carry: DataView | undefined;
  #carryLength: number;

  constructor(handler: RequestHandler) {
    this.error = "";
    this.greeted = false;
    this.messages = 0;
    this.#handler = handler;
    this.#carry = undefined;
    this.#carryLength = 0;
  }

  /**
   * Takes the next bytes of the stream, cut anywhere.
   *
   * @returns false when the stream is not the protocol; `error` then says why
   */
  feed(view: DataView, offset: number, length: number): boolean {
    let at = offset;
    const end = offset + length;
    while (at < end && this.error === "") {
      if (this.#carryLength === 0 && end - at >= REQUEST_BYTES) {
        this.#take(view, at);
        at += REQUEST_BYTES;
        continue;
      }
      const carry = this.#carry ??= new DataView(new ArrayBuffer(REQUEST_BYTES));
      carry.setUint8(this.#carryLength++, view.getUint8(at++));
      if (this.#carryLength === REQUEST_BYTES) {
        this.#carryLength = 0;
        this.#take(carry, 0);
      }
    }
    return this.error === "";
  }

  #take(view: DataView, at: number): void {
    const clientAddress = view.getInt32(at);
    const clientPort = view.getUint16(at + 4);
    const type = view.getUint16(at + 6);
    if (!this.greeted) {
      this.#greet(clientAddress, clientPort, type);
      return;
    }
    const targetAddress = view.getInt32(at + 8);
    const targetPort = view.getUint16(at + 12);
    if (type === RequestType.Announce) {
      this.#handler.onAnnounce(clientAddress, clientPort, targetAddress, targetPort);
    } else if (type === RequestType.Forget) {
      this.#handler.onForget(clientAddress, clientPort, targetAddress, targetPort);
    } else {
      this.error = `expected a message of type ${RequestType.Announce} (announce) or ` +
        `${RequestType.Forget} (forget), got type ${type}`;
      return;
    }
    this.messages++;
  }

  #greet(clientAddress: number, clientPort: number, type: number): void {
    if (clientAddress !== 0 || clientPort !== 0) {
      this.error = `expected the version message first, got type ${type} for ` +
        `${formatIpv4(clientAddress)}:${clientPort}`;
      return;
    }
    if (type !== PROTOCOL_VERSION) {
      this.error = `expected protocol version ${PROTOCOL_VERSION}, the peer speaks ${type}`;
      return;
    }
    this.greeted = true;
    this.messages++;
  }
}
