/** What is known of the online service besides its clients' packets. Pure. */

/** Answers for the service, where it runs on this host. */
export interface ServiceEvidence {
  /**
   * Hands over the service's SYN-ACKs that are waiting to `SessionTable.onServiceAccepts`, in the order
   * in which they were sent, until the one that is looked for has come. What was sent after it is left:
   * captured packets may be read late, and the next connection of the same client must not be known
   * before this one.
   */
  lookAgain(isFound: () => boolean): void;
  /**
   * Whether the service has this connection; undefined where nobody can tell, because no such service
   * is known here. Addresses are int32.
   */
  hasConnection(
    clientAddress: number,
    clientPort: number,
    serviceAddress: number,
    servicePort: number,
  ): boolean | undefined;
}

/** Where packets are all there is. */
export const NO_EVIDENCE: ServiceEvidence = {
  lookAgain() {},
  hasConnection: () => undefined,
};
