import { parseIp } from "../../machinery/cidr.ts";

/** The name servers of a resolv.conf text, in order. */
export function parseNameservers(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    const address = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    // A zone ("fe80::1%eth0") belongs to the address for a socket, but not for its check.
    return address && parseIp(address.split("%")[0]!) ? [address] : [];
  });
}
