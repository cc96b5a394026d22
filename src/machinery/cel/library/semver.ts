/** Kubernetes' semver library, version 1. */
import { global, type Library, member, type Overload } from "../functions.ts";
import { costs } from "../sizes.ts";
import { bool, type CelType, int, opaque, string } from "../types.ts";
import { CelError, type CelInt, CelObject, type CelValue, canonicalInt, sizeOf } from "../values.ts";

export const semverType = opaque("kubernetes.Semver");

interface Version {
  readonly numbers: readonly [bigint, bigint, bigint];
  readonly pre: readonly string[];
}

export class SemverValue extends CelObject {
  readonly version: Version;

  constructor(version: Version) {
    super();
    this.version = version;
  }

  get type(): CelType {
    return semverType;
  }

  equals(other: CelValue): boolean {
    return other instanceof SemverValue && compare(this.version, other.version) === 0;
  }
}

const core = "(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)";
const preIdentifier = "(?:0|[1-9]\\d*|\\d*[A-Za-z-][0-9A-Za-z-]*)";
const build = "[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*";
const grammar = new RegExp(`^${core}(?:-(${preIdentifier}(?:\\.${preIdentifier})*))?(?:\\+${build})?$`);
const maxLength = 1024;
const maxUint64 = 2n ** 64n - 1n;

/** What is wrong first. */
function faultOf(text: string): string {
  if (text === "") return "Version string empty";
  if (text.split(".").length < 3) return "No Major.Minor.Patch elements found";
  const [major = "", minor = "", ...rest] = text.split(".");
  const patch = rest.join(".").replace(/[-+].*$/s, "");
  for (const [name, part] of [
    ["major", major],
    ["minor", minor],
    ["patch", patch],
  ] as const) {
    if (!/^\d+$/.test(part)) return `Invalid character(s) found in ${name} number ${JSON.stringify(part)}`;
    const title = `${name[0]!.toUpperCase()}${name.slice(1)}`;
    if (/^0\d/.test(part)) return `${title} number must not contain leading zeroes ${JSON.stringify(part)}`;
  }
  return `invalid pre-release or build meta data in ${JSON.stringify(text)}`;
}

/** Throws CelError. */
function parse(text: string): Version {
  // Longer ones would take the expression long, and nobody has them.
  const match = text.length > maxLength ? null : grammar.exec(text);
  if (!match) throw new CelError(faultOf(text));
  const numbers = [BigInt(match[1]!), BigInt(match[2]!), BigInt(match[3]!)] as const;
  if (numbers.some((number) => number > maxUint64)) throw new CelError("value out of range");
  return { numbers, pre: match[4]?.split(".") ?? [] };
}

/** "v1.2" becomes "1.2.0", "01.1.1" becomes "1.1.1". */
function normalized(text: string): string {
  const [major = "", minor, ...patch] = text.replace(/^v/, "").split(".");
  const parts = [major, ...(minor === undefined ? [] : [minor]), ...(patch.length > 0 ? [patch.join(".")] : [])];
  const trimmed = parts.map((part) => (part.length > 1 ? part.replace(/^0+(?=\d)/, "") : part));
  if (trimmed.length < 3 && /[+-]/.test(trimmed.at(-1)!)) {
    throw new CelError("short version cannot contain PreRelease/Build meta data");
  }
  while (trimmed.length < 3) trimmed.push("0");
  return trimmed.join(".");
}

const sign = (a: bigint | string, b: bigint | string): number => (a < b ? -1 : a > b ? 1 : 0);

function compareIdentifiers(a: string, b: string): number {
  const [isNumberA, isNumberB] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (isNumberA !== isNumberB) return isNumberA ? -1 : 1;
  return isNumberA ? sign(BigInt(a), BigInt(b)) : sign(a, b);
}

function compare(a: Version, b: Version): number {
  for (const i of [0, 1, 2] as const) {
    const difference = sign(a.numbers[i], b.numbers[i]);
    if (difference !== 0) return difference;
  }
  // A release comes after its pre-releases.
  if (a.pre.length === 0 || b.pre.length === 0) return Math.sign(b.pre.length - a.pre.length);
  for (let i = 0; i < Math.min(a.pre.length, b.pre.length); i++) {
    const difference = compareIdentifiers(a.pre[i]!, b.pre[i]!);
    if (difference !== 0) return difference;
  }
  return Math.sign(a.pre.length - b.pre.length);
}

const read = (text: string, normalize = false) => new SemverValue(parse(normalize ? normalized(text) : text));

function isSemver(text: string, normalize = false): boolean {
  try {
    read(text, normalize);
    return true;
  } catch (error) {
    if (error instanceof CelError) return false;
    throw error;
  }
}

const walk = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * costs.stringTraversal);
const v = semverType;
type V = SemverValue;
const number = (name: string, index: 0 | 1 | 2): [string, Overload] => [
  name,
  member(
    `semver_${name}`,
    [v],
    int,
    ({ version }: V): CelInt => canonicalInt(BigInt.asIntN(64, version.numbers[index])),
  ),
];

export const semver: Library = [
  [
    "semver",
    global("string_to_semver", [string], v, read, walk),
    global("string_bool_to_semver", [string, bool], v, read, walk),
  ],
  [
    "isSemver",
    global("is_semver_string", [string], bool, isSemver, walk),
    global("is_semver_string_bool", [string, bool], bool, isSemver, walk),
  ],
  ["isGreaterThan", member("semver_is_greater_than", [v, v], bool, (a: V, b: V) => compare(a.version, b.version) > 0)],
  ["isLessThan", member("semver_is_less_than", [v, v], bool, (a: V, b: V) => compare(a.version, b.version) < 0)],
  ["compareTo", member("semver_compare_to", [v, v], int, (a: V, b: V) => compare(a.version, b.version))],
  number("major", 0),
  number("minor", 1),
  number("patch", 2),
];
