/** IP addresses and ranges of both families, as numbers. */

export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    // A leading zero means octal to some programs, so nobody may write one.
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const groups = (half: string): bigint[] | undefined => {
    if (half === "") return [];
    const parts = half.split(":");
    const values: bigint[] = [];
    for (const [i, part] of parts.entries()) {
      if (part.includes(".") && i === parts.length - 1) {
        const embedded = parseIpv4(part);
        if (embedded === undefined) return undefined;
        values.push(embedded >> 16n, embedded & 0xffffn);
      } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) values.push(BigInt(`0x${part}`));
      else return undefined;
    }
    return values;
  };
  // An embedded IPv4 address may only end the whole text.
  if (halves.length === 2 && halves[0]!.includes(".")) return undefined;
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...Array<bigint>(missing).fill(0n), ...tail];
  return all.reduce((value, group) => (value << 16n) | group, 0n);
}

/** Parses an address; undefined when it is none. IPv4 with leading zeros is none. */
export function parseIp(text: string): IpAddress | undefined {
  const family = text.includes(":") ? 6 : 4;
  const value = family === 4 ? parseIpv4(text) : parseIpv6(text);
  return value === undefined ? undefined : { family, value };
}

/** Canonical text (RFC 5952 for IPv6). */
export function formatIp({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(16 * (7 - i))) & 0xffffn));
  let [bestStart, bestLength] = [-1, 1];
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > bestLength) [bestStart, bestLength] = [start, length];
  }
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${formatIp({ family: 4, value: value & 0xffffffffn })}`;
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (bestStart < 0) return text(groups);
  return `${text(groups.slice(0, bestStart))}::${text(groups.slice(bestStart + bestLength))}`;
}

/** A range of addresses. */
export class Cidr {
  readonly family: 4 | 6;
  /** The first address, host bits cleared. */
  readonly base: bigint;
  readonly prefix: number;

  constructor(family: 4 | 6, address: bigint, prefix: number) {
    this.family = family;
    this.prefix = prefix;
    const hostBits = BigInt((family === 4 ? 32 : 128) - prefix);
    this.base = (address >> hostBits) << hostBits;
  }

  get bits(): number {
    return this.family === 4 ? 32 : 128;
  }

  /** How many addresses it holds, the first and last included. */
  get size(): bigint {
    return 1n << BigInt(this.bits - this.prefix);
  }

  contains(address: string | IpAddress): boolean {
    const ip = typeof address === "string" ? parseIp(address) : address;
    return ip !== undefined && ip.family === this.family && ip.value >= this.base && ip.value < this.base + this.size;
  }

  overlaps(other: Cidr): boolean {
    return this.family === other.family && this.base < other.base + other.size && other.base < this.base + this.size;
  }

  /** The address `index` places after the first; negative counts from behind (-1 is the last). Throws RangeError. */
  nth(index: number | bigint): string {
    const offset = BigInt(index) < 0n ? this.size + BigInt(index) : BigInt(index);
    if (offset < 0n || offset >= this.size) throw new RangeError(`${this} has no address number ${index}`);
    return formatIp({ family: this.family, value: this.base + offset });
  }

  /** How many places after the first the address stands; undefined when it is outside. */
  indexOf(address: string): bigint | undefined {
    const ip = parseIp(address);
    return ip && this.contains(ip) ? ip.value - this.base : undefined;
  }

  /** How many subnets of `prefix` it holds. */
  subnetCount(prefix: number): bigint {
    return prefix < this.prefix || prefix > this.bits ? 0n : 1n << BigInt(prefix - this.prefix);
  }

  /** The subnet number `index` (from 0) of the given prefix. Throws RangeError. */
  subnet(prefix: number, index: number | bigint): Cidr {
    const number = BigInt(index);
    if (number < 0n || number >= this.subnetCount(prefix)) {
      throw new RangeError(`${this} has no subnet /${prefix} number ${index}`);
    }
    return new Cidr(this.family, this.base + (number << BigInt(this.bits - prefix)), prefix);
  }

  /** All subnets of the given prefix, in order. */
  *subnets(prefix: number): Generator<Cidr> {
    for (let index = 0n; index < this.subnetCount(prefix); index++) yield this.subnet(prefix, index);
  }

  toString(): string {
    return `${formatIp({ family: this.family, value: this.base })}/${this.prefix}`;
  }
}

/** Parses "10.42.0.0/16"; host bits are cleared. Throws Error with Go's text. */
export function parseCidr(text: string): Cidr {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const ip = match ? parseIp(match[1]!) : undefined;
  const prefix = match ? Number(match[2]) : -1;
  if (!ip || prefix > (ip.family === 4 ? 32 : 128)) throw new Error(`invalid CIDR address: ${text}`);
  return new Cidr(ip.family, ip.value, prefix);
}
