/** Addresses and ranges in fields that are older than strict parsing, and in newer ones. */
import { formatIp, type IpAddress, parseIp } from "../../machinery/cidr.ts";
import type { Errors } from "./errors.ts";

const notIp = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const notCidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/** Leading zeros in IPv4 octets were once let pass. */
const withoutZeros = (text: string) => (text.includes(":") ? text : text.replace(/(^|\.)0+(?=\d)/g, "$1"));

function isMapped({ family, value }: IpAddress): boolean {
  return family === 6 && value >> 32n === 0xffffn;
}

/** As Go sees an address: one that is mapped into IPv6 counts as IPv4. */
function unmapped(ip: IpAddress): IpAddress {
  return isMapped(ip) ? { family: 4, value: ip.value & 0xffffffffn } : ip;
}

interface Range {
  readonly ip: IpAddress;
  readonly prefix: number;
  readonly strict: boolean;
  readonly mapped: boolean;
}

function parseRange(text: string): Range | undefined {
  const [address = "", prefixText = "", ...rest] = text.split("/");
  const ip = parseIp(withoutZeros(address));
  if (!ip || rest.length > 0 || !/^\d{1,3}$/.test(prefixText)) return undefined;
  const prefix = Number(prefixText);
  if (prefix > (ip.family === 4 ? 32 : 128)) return undefined;
  const strict = parseIp(address) !== undefined && !/^0\d/.test(prefixText);
  return { ip, prefix, strict, mapped: isMapped(ip) };
}

function networkOf({ ip, prefix }: Range): IpAddress {
  const host = BigInt((ip.family === 4 ? 32 : 128) - prefix);
  return { family: ip.family, value: (ip.value >> host) << host };
}

/** The family of an address as Go's net package sees it; undefined when it is none. */
export function ipFamily(text: string): 4 | 6 | undefined {
  const ip = parseIp(withoutZeros(text));
  return ip && unmapped(ip).family;
}

/** Is it a range, and of which family? */
export function cidrFamily(text: string): 4 | 6 | undefined {
  return parseRange(text)?.ip.family;
}

/** An address in an older field: any spelling of a valid one; what stood in `known` before may stay. */
export function checkIp(errors: Errors, path: string, value: string, known: readonly string[] = []): boolean {
  if (known.includes(value)) return true;
  const ip = parseIp(withoutZeros(value));
  if (!ip) errors.invalid(path, value, notIp);
  else if (!parseIp(value)) errors.invalid(path, value, "must not have leading 0s");
  else if (isMapped(ip)) errors.invalid(path, value, "must not be an IPv4-mapped IPv6 address");
  else return true;
  return false;
}

/** An address in a newer field, in its one canonical form. */
export function checkCanonicalIp(errors: Errors, path: string, value: string): boolean {
  if (!checkIp(errors, path, value)) return false;
  const canonical = formatIp(parseIp(value)!);
  if (value === canonical) return true;
  errors.invalid(path, value, `must be in canonical form (${JSON.stringify(canonical)})`);
  return false;
}

/** The same for ranges in older fields. */
export function checkCidr(errors: Errors, path: string, value: string, known: readonly string[] = []): boolean {
  if (known.includes(value)) return true;
  const before = errors.list.length;
  const range = parseRange(value);
  if (!range) {
    errors.invalid(path, value, notCidr);
    return false;
  }
  if (!range.strict) errors.invalid(path, value, "must not have leading 0s in IP or prefix length");
  else if (range.mapped) errors.invalid(path, value, "must not have an IPv4-mapped IPv6 address");
  if (networkOf(range).value !== range.ip.value) {
    errors.invalid(path, value, "must not have bits set beyond the prefix length");
  }
  return errors.list.length === before;
}

/** And in newer ones. */
export function checkCanonicalCidr(errors: Errors, path: string, value: string): boolean {
  if (!checkCidr(errors, path, value)) return false;
  const range = parseRange(value)!;
  const canonical = `${formatIp(networkOf(range))}/${range.prefix}`;
  if (value === canonical) return true;
  errors.invalid(path, value, `must be in canonical form (${JSON.stringify(canonical)})`);
  return false;
}

/** An address that traffic may be sent to: no special ranges. */
export function checkEndpointIp(errors: Errors, path: string, value: string): void {
  const parsed = parseIp(withoutZeros(value));
  if (!parsed) {
    errors.invalid(path, value, "must be a valid IP address");
    return;
  }
  const { family, value: bits } = unmapped(parsed);
  const top = (count: number) => bits >> BigInt((family === 4 ? 32 : 128) - count);
  if (bits === 0n) errors.invalid(path, value, `may not be unspecified (${value})`);
  if (family === 4 ? top(8) === 127n : bits === 1n) {
    errors.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  }
  if (family === 4 ? top(16) === 0xa9fen : top(10) === 0x3fan) {
    errors.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  }
  if (family === 4 ? top(24) === 0xe00000n : top(16) === 0xff02n) {
    errors.invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
  }
}

/** Are these one address of each family, at most? */
export function isDualStack(families: readonly (4 | 6 | undefined)[]): boolean {
  return families.includes(4) && families.includes(6);
}

/** What to say of an address that is written in an unusual way; `path` is named first. */
export function ipWarnings(path: string, value: string): string[] {
  const ip = parseIp(withoutZeros(value));
  if (!ip) return [];
  const canonical = formatIp(unmapped(ip));
  if (!parseIp(value) || isMapped(ip)) {
    return [`${path}: non-standard IP address ${quote(value)} is invalid: use ${quote(canonical)}`];
  }
  return ip.family === 6 && canonical !== value
    ? [`${path}: IPv6 address ${quote(value)} should be in RFC 5952 canonical format (${quote(canonical)})`]
    : [];
}

/** The same for ranges. */
export function cidrWarnings(path: string, value: string): string[] {
  const range = parseRange(value);
  if (!range) return [];
  const network = networkOf(range);
  const canonical = `${formatIp(unmapped(network))}/${range.mapped ? range.prefix - 96 : range.prefix}`;
  const warnings: string[] = [];
  if (network.value !== range.ip.value) {
    const single = `${formatIp(unmapped(range.ip))}/${unmapped(range.ip).family === 4 ? 32 : 128}`;
    warnings.push(
      `${path}: CIDR value ${quote(value)} is ambiguous in this context (should be ${quote(canonical)} or ${quote(single)}?)`,
    );
  }
  if (!range.strict || range.mapped) {
    warnings.push(`${path}: non-standard CIDR value ${quote(value)} is invalid: use ${quote(canonical)}`);
  } else if (range.ip.family === 6 && formatIp(range.ip) !== value.split("/")[0]) {
    const text = `${formatIp(range.ip)}/${range.prefix}`;
    warnings.push(`${path}: IPv6 CIDR value ${quote(value)} should be in RFC 5952 canonical format (${quote(text)})`);
  }
  return warnings;
}

const quote = (text: string) => JSON.stringify(text);
