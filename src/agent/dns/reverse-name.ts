import { formatIp, parseIp } from "../../machinery/cidr.ts";

/** The address that a name under in-addr.arpa or ip6.arpa stands for; undefined for other and for partial names. */
export function addressOfReverseName(name: string): string | undefined {
  const v4 = /^((?:\d{1,3}\.){4})in-addr\.arpa$/.exec(name);
  if (v4) {
    const ip = parseIp(v4[1]!.slice(0, -1).split(".").reverse().join("."));
    return ip && formatIp(ip);
  }
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name);
  if (!v6) return undefined;
  const digits = v6[1]!.replaceAll(".", "").split("").reverse().join("");
  return formatIp({ family: 6, value: BigInt(`0x${digits}`) });
}

/** An address as a label: "10-42-0-5", "fd00--1". */
export function dashedAddress(address: string): string {
  return address.replaceAll(/[.:]/g, "-");
}

/** The address that a pod's label stands for, if it is one. */
export function addressOfDashed(label: string): string | undefined {
  const text = /^\d+-\d+-\d+-\d+$/.test(label) ? label.replaceAll("-", ".") : label.replaceAll("-", ":");
  const ip = parseIp(text);
  return ip && formatIp(ip);
}
