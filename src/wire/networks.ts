/** Lists of IPv4 networks: pairs of address and mask, int32. Pure. */

/** Whether an address is in one of the networks. */
export function isInNetworks(networks: Int32Array, address: number): boolean {
  for (let i = 0; i < networks.length; i += 2) {
    if ((address & networks[i + 1]) === networks[i]) return true;
  }
  return false;
}
