/**
 * Whether the kernel wraps outgoing packets in IPsec. Touches a netlink socket; changes nothing.
 *
 * Frames go past these policies, in the clear: whoever sends frames by default has to ask first.
 *
 * @see linux/xfrm.h, ip-xfrm(8)
 */

import { Errno, SystemError } from "../../ffi/errno.ts";
import { findAttribute, NETLINK_XFRM, NetlinkSocket } from "../../ffi/netlink.ts";

const XFRM_MSG_GETSPDINFO = 0x25;
const XFRMA_SPD_INFO = 1;
/** u32 flags, in request and answer. */
const FLAGS_BYTES = 4;
/** struct xfrmu_spdinfo: u32 policies in, out, forwarded; the same of sockets. */
const SPD_INFO_BYTES = 24;
const SPD_OUT = 4;

const WHAT = "look for IPsec policies";

/**
 * Counts the policies for outgoing packets in this network namespace.
 *
 * @returns 0 also where the kernel has no IPsec; undefined where it does not tell: without
 * CAP_NET_ADMIN, or in a sandbox without netlink
 */
export function outgoingIpsecPolicies(): number | undefined {
  let netlink;
  try {
    netlink = new NetlinkSocket(NETLINK_XFRM, WHAT);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return error.errno === Errno.EPROTONOSUPPORT ? 0 : undefined;
  }
  try {
    let policies: number | undefined;
    const result = netlink.ask(
      XFRM_MSG_GETSPDINFO,
      0,
      (_, at) => at + FLAGS_BYTES,
      (view, at, end) => {
        const info = findAttribute(view, at + FLAGS_BYTES, end, XFRMA_SPD_INFO, SPD_INFO_BYTES);
        if (info >= 0) policies = view.getUint32(info + SPD_OUT, true);
      },
    );
    return result < 0 ? undefined : policies;
  } finally {
    netlink.close();
  }
}
