/** Kubernetes' ip and cidr libraries. */
import { type Cidr, formatIp, type IpAddress, parseCidr, parseIp } from "../../cidr.ts";
import { global, type Library, member, type Overload } from "../functions.ts";
import { costs } from "../sizes.ts";
import { bool, type CelType, int, opaque, string } from "../types.ts";
import { CelError, CelObject, type CelValue, noSuchOverload, sizeOf } from "../values.ts";

export const ipType = opaque("net.IP");
export const cidrType = opaque("net.CIDR");

export class IpValue extends CelObject {
  readonly ip: IpAddress;

  constructor(ip: IpAddress) {
    super();
    this.ip = ip;
  }

  get type(): CelType {
    return ipType;
  }

  equals(other: CelValue): boolean {
    return other instanceof IpValue && other.ip.family === this.ip.family && other.ip.value === this.ip.value;
  }

  /** Bytes. */
  override get size(): number {
    return this.ip.family === 4 ? 4 : 16;
  }
}

/** A range that keeps the host bits it was written with, as Go's netip.Prefix does. */
export class CidrValue extends CelObject {
  readonly cidr: Cidr;
  readonly address: IpAddress;

  constructor(cidr: Cidr, address: IpAddress) {
    super();
    this.cidr = cidr;
    this.address = address;
  }

  get type(): CelType {
    return cidrType;
  }

  equals(other: CelValue): boolean {
    return (
      other instanceof CidrValue &&
      other.cidr.prefix === this.cidr.prefix &&
      other.address.family === this.address.family &&
      other.address.value === this.address.value
    );
  }

  override get size(): number {
    return Math.ceil(this.cidr.prefix / 8);
  }

  override toString(): string {
    return `${formatIp(this.address)}/${this.cidr.prefix}`;
  }
}

const mappedPrefix = 0xffffn << 32n;
const isMapped = ({ family, value }: IpAddress) => family === 6 && value >> 32n === mappedPrefix >> 32n;

/** Zones and IPv4 addresses inside IPv6 ones are refused. */
function readIp(text: string): IpAddress | string {
  const ip = parseIp(text);
  if (!ip) return `ParseAddr(${JSON.stringify(text)}): unable to parse IP`;
  return isMapped(ip) ? `IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed` : ip;
}

function toIp(text: string): IpValue {
  const ip = readIp(text);
  if (typeof ip === "string")
    throw new CelError(`IP Address ${JSON.stringify(text)} parse error during conversion from string: ${ip}`);
  return new IpValue(ip);
}

function readCidr(text: string): CidrValue | string {
  try {
    const cidr = parseCidr(text);
    const address = parseIp(text.slice(0, text.indexOf("/")))!;
    // Leading zeros of the prefix mean nothing good.
    if (/\/0\d/.test(text)) return `netip.ParsePrefix(${JSON.stringify(text)}): bad bits after slash`;
    return isMapped(address)
      ? `IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed`
      : new CidrValue(cidr, address);
  } catch {
    const [address = "", prefix = ""] = text.split("/");
    const why = !text.includes("/")
      ? "no '/'"
      : !parseIp(address)
        ? `ParseAddr(${JSON.stringify(address)}): unable to parse IP`
        : /^\d{1,3}$/.test(prefix)
          ? "prefix length out of range"
          : `bad bits after slash: ${JSON.stringify(prefix)}`;
    return `netip.ParsePrefix(${JSON.stringify(text)}): ${why}`;
  }
}

function toCidr(text: string): CidrValue {
  const cidr = readCidr(text);
  // Kubernetes says it twice, too.
  const what = "network address parse error during conversion from string";
  if (typeof cidr === "string") throw new CelError(`${what}: ${what}: ${cidr}`);
  return cidr;
}

/** What a text in the place of an address must be; Kubernetes gives no reason here. */
function ipOrNone(text: string): IpAddress {
  const ip = readIp(text);
  if (typeof ip === "string") throw noSuchOverload();
  return ip;
}

function cidrOrNone(text: string): CidrValue {
  const cidr = readCidr(text);
  if (typeof cidr === "string") throw noSuchOverload();
  return cidr;
}

const top = ({ family, value }: IpAddress, bits: number) => value >> BigInt((family === 4 ? 32 : 128) - bits);

const isUnspecified = ({ value }: IpAddress) => value === 0n;
const isLoopback = (ip: IpAddress) => (ip.family === 4 ? top(ip, 8) === 127n : ip.value === 1n);
const isMulticast = (ip: IpAddress) => (ip.family === 4 ? top(ip, 4) === 14n : top(ip, 8) === 0xffn);
const isLinkLocalMulticast = (ip: IpAddress) =>
  ip.family === 4 ? top(ip, 24) === 0xe00000n : top(ip, 8) === 0xffn && (top(ip, 16) & 0xfn) === 2n;
const isLinkLocalUnicast = (ip: IpAddress) => (ip.family === 4 ? top(ip, 16) === 0xa9fen : top(ip, 10) === 0x3fan);
const isBroadcast = (ip: IpAddress) => ip.family === 4 && ip.value === 0xffffffffn;
const isGlobalUnicast = (ip: IpAddress) =>
  !isBroadcast(ip) && !isUnspecified(ip) && !isLoopback(ip) && !isMulticast(ip) && !isLinkLocalUnicast(ip);

const walk = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * costs.stringTraversal);
const walkTwice = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * 2 * costs.stringTraversal);

function containsCost(parses: boolean, whole: boolean) {
  return ([cidr, other]: readonly CelValue[]) => {
    const size = sizeOf(cidr!);
    const compare = Math.ceil(2 * size * costs.stringTraversal);
    const mask = whole ? Math.ceil(size * costs.stringTraversal) + 1 : 0;
    return compare + mask + (parses ? Math.ceil(sizeOf(other!) * costs.stringTraversal) : 0);
  };
}

const containsCidr = (outer: CidrValue, inner: CidrValue) =>
  outer.cidr.prefix <= inner.cidr.prefix && outer.cidr.contains({ family: inner.cidr.family, value: inner.cidr.base });

const kind = (name: string, id: string, holds: (ip: IpAddress) => boolean): [string, Overload] => [
  name,
  member(id, [ipType], bool, ({ ip }: IpValue) => holds(ip)),
];

export const networks: Library = [
  ["isIP", global("is_ip", [string], bool, (text: string) => typeof readIp(text) !== "string", walk)],
  [
    "ip",
    global("string_to_ip", [string], ipType, toIp, walk),
    member("cidr_ip", [cidrType], ipType, ({ address }: CidrValue) => new IpValue(address)),
  ],
  [
    "ip.isCanonical",
    global("ip_is_canonical", [string], bool, (text: string) => formatIp(toIp(text).ip) === text, walkTwice),
  ],
  ["family", member("ip_family", [ipType], int, ({ ip }: IpValue) => ip.family)],
  kind("isUnspecified", "ip_is_unspecified", isUnspecified),
  kind("isLoopback", "ip_is_loopback", isLoopback),
  kind("isLinkLocalMulticast", "ip_is_link_local_multicast", isLinkLocalMulticast),
  kind("isLinkLocalUnicast", "ip_is_link_local_unicast", isLinkLocalUnicast),
  kind("isGlobalUnicast", "ip_is_global_unicast", isGlobalUnicast),
  [
    "string",
    global("ip_to_string", [ipType], string, ({ ip }: IpValue) => formatIp(ip)),
    global("cidr_to_string", [cidrType], string, String),
  ],
  ["isCIDR", global("is_cidr", [string], bool, (text: string) => typeof readCidr(text) !== "string", walk)],
  ["cidr", global("string_to_cidr", [string], cidrType, toCidr, walk)],
  [
    "containsIP",
    member(
      "cidr_contains_ip_ip",
      [cidrType, ipType],
      bool,
      ({ cidr }: CidrValue, { ip }: IpValue) => cidr.contains(ip),
      containsCost(false, false),
    ),
    member(
      "cidr_contains_ip_string",
      [cidrType, string],
      bool,
      ({ cidr }: CidrValue, text: string) => cidr.contains(ipOrNone(text)),
      containsCost(true, false),
    ),
  ],
  [
    "containsCIDR",
    member("cidr_contains_cidr", [cidrType, cidrType], bool, containsCidr, containsCost(false, true)),
    member(
      "cidr_contains_cidr_string",
      [cidrType, string],
      bool,
      (outer: CidrValue, text: string) => containsCidr(outer, cidrOrNone(text)),
      containsCost(true, true),
    ),
  ],
  [
    "masked",
    member(
      "cidr_masked",
      [cidrType],
      cidrType,
      ({ cidr }: CidrValue) => new CidrValue(cidr, { family: cidr.family, value: cidr.base }),
    ),
  ],
  ["prefixLength", member("cidr_prefix_length", [cidrType], int, ({ cidr }: CidrValue) => cidr.prefix)],
];
