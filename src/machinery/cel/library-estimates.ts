/** What calls into Kubernetes' libraries cost at worst. Source: apiserver's cel/library/cost.go. */
import type { CallEstimate, Operand } from "./estimate.ts";
import type { SizeEstimator } from "./functions.ts";
import { add, costs, multiply, range, type SizeRange, scale, unbounded, union, unknownSize } from "./sizes.ts";

const one = range(1);
/** The longest regular expression that stands behind a named format. */
const formatRegexLength = 128;
const formatLength = 64;

const unit = new Set(
  `serviceAccount path group resource subresource namespace name allowed reason error errored masked prefixLength family
   isUnspecified isLoopback isLinkLocalMulticast isLinkLocalUnicast isGlobalUnicast format.named sign asInteger isInteger
   asApproximateFloat isGreaterThan isLessThan compareTo add sub major minor patch getScheme getHostname getHost getPort
   getEscapedPath getQuery`.split(/\s+/),
);
const authorization = 350_000;

const traversal = (size: SizeRange) => scale(size, costs.stringTraversal);

/** The estimate of a library's function; undefined leaves it to the general rules. */
export function libraryEstimate(
  name: string,
  id: string,
  target: Operand | undefined,
  args: readonly Operand[],
  sizes: SizeEstimator,
): CallEstimate | undefined {
  const declared = (operand: Operand) =>
    operand.size ?? (operand.path ? sizes(operand.path) : undefined) ?? unknownSize;
  const sizeOf = (operand: Operand | undefined) => (operand ? declared(operand) : unknownSize);
  /** An element of a list; undefined when the operand has none. */
  const element = (of: Operand): Operand | undefined =>
    of.type.params.length === 0
      ? undefined
      : { expr: undefined, type: of.type.params[0]!, path: of.path && [...of.path, "@items"], size: undefined };
  const [first, second] = args;
  const whole = (operand: Operand | undefined, otherwise: number) => {
    const value = operand?.expr?.kind === "literal" ? operand.expr.value : undefined;
    return typeof value === "number" ? value : otherwise;
  };
  /** A call that makes a list. */
  const made = (size: SizeRange, factor: number): CallEstimate => ({
    cost: add(scale(size, factor), range(1 + costs.list)),
    result: size,
  });
  const squared = (size: SizeRange) => multiply(size, size);
  const ordered = (of: Operand | undefined) =>
    made(squared(sizeOf(of)), ["string", "bytes"].includes(of?.type.params[0]?.kind ?? "") ? 2.1 : 2);
  switch (name) {
    case "slice":
      return made(range(Math.max(0, whole(second, sizeOf(target).max) - whole(first, 0))), 1);
    case "lists.range":
      return made(range(whole(first, unbounded)), 1);
    case "reverse":
      return made(sizeOf(target), 1);
    case "flatten":
      return made(sizeOf(target), first ? whole(first, unbounded) : 1);
    case "distinct":
      return made(squared(sizeOf(target)), 2);
    case "sort":
      return ordered(target);
    case "@sortByAssociatedKeys":
      return ordered(first);
    case "sets.contains":
    case "sets.intersects":
    case "sets.equivalent": {
      const pairs = multiply(sizeOf(first), sizeOf(second));
      return { cost: add(scale(pairs, name === "sets.equivalent" ? 2 : 1), one) };
    }
  }
  if (unit.has(name)) return { cost: one };
  switch (name) {
    case "check":
      return { cost: range(authorization) };
    case "isSorted":
    case "sum":
    case "max":
    case "min":
    case "indexOf":
    case "lastIndexOf": {
      if (!target) return undefined;
      const item = element(target);
      if (!item) return { cost: traversal(sizeOf(target)) };
      const isText = item.type.kind === "string" || item.type.kind === "bytes";
      return { cost: multiply(sizeOf(target), isText ? add(one, traversal(sizeOf(item))) : one) };
    }
    case "url":
      return args.length === 1 ? { cost: traversal(sizeOf(first)), result: sizeOf(first) } : undefined;
    case "lowerAscii":
    case "upperAscii":
    case "substring":
    case "trim":
      return target ? { cost: traversal(sizeOf(target)), result: sizeOf(target) } : undefined;
    case "replace":
      if (!target || !first || !second) return undefined;
      return {
        cost: scale(sizeOf(target), 2 * costs.stringTraversal),
        result: replacedSize(sizeOf(target), sizeOf(first), sizeOf(second)),
      };
    case "split": {
      if (!target) return undefined;
      const limit = second?.expr?.kind === "literal" ? second.expr.value : undefined;
      const max = typeof limit === "number" ? (limit < 0 ? unbounded : limit) : sizeOf(target).max;
      return { cost: scale(sizeOf(target), 2 * costs.stringTraversal), result: { min: 0, max } };
    }
    case "join": {
      if (!target) return undefined;
      const count = sizeOf(target);
      const item = element(target);
      let size = item ? multiply(count, sizeOf(item)) : range(0);
      if (first) {
        const gaps = { min: Math.max(0, count.min - 1), max: Math.max(0, count.max - 1) };
        size = add(size, multiply(sizeOf(first), gaps));
      }
      return { cost: traversal(size), result: size };
    }
    case "find":
    case "findAll": {
      if (!target || !first) return undefined;
      const text = traversal(add(sizeOf(target), one));
      const cost = multiply(text, scale(sizeOf(first), costs.regexLength));
      return { cost, result: { min: 0, max: sizeOf(target).max } };
    }
    case "cidr":
    case "isIP":
    case "isCIDR":
    case "quantity":
    case "isQuantity":
    case "semver":
    case "isSemver":
      return { cost: traversal(sizeOf(first)) };
    case "ip":
      return { cost: id === "cidr_ip" ? one : traversal(sizeOf(first)) };
    case "ip.isCanonical":
      return { cost: scale(sizeOf(first), 2 * costs.stringTraversal) };
    case "containsIP":
    case "containsCIDR": {
      if (!target || !first) return undefined;
      const address = range(4, 16);
      let cost = traversal(add(address, address));
      if (name === "containsCIDR") cost = add(cost, add(traversal(address), one));
      const parses = id === "cidr_contains_ip_string" || id === "cidr_contains_cidr_string";
      return { cost: parses ? add(cost, traversal(sizeOf(first))) : cost };
    }
    case "validate":
      if (!target) return undefined;
      return { cost: scale(traversal(sizeOf(first)), formatRegexLength * costs.regexLength) };
    case "_==_":
      return first && second ? equality(first, second) : undefined;
    default:
      return undefined;
  }
}

/** The libraries' own types compare in constant time, nearly. */
function equality(a: Operand, b: Operand): CallEstimate | undefined {
  if (a.type.kind !== "opaque" || a.type.name !== b.type.name) return undefined;
  switch (a.type.name) {
    case "net.IP":
    case "net.CIDR":
    case "kubernetes.Quantity":
    case "kubernetes.Semver":
      return { cost: one };
    case "kubernetes.NamedFormat":
      return { cost: traversal(range(1, formatLength)) };
    case "kubernetes.URL": {
      const size = b.size ? union(b.size, b.size) : one;
      return { cost: traversal(range(1, size.max)) };
    }
    default:
      return undefined;
  }
}

function replacedSize(text: SizeRange, from: SizeRange, to: SizeRange): SizeRange {
  let most = 0;
  let mostKept = 0;
  if (from.min === 0) {
    most = Math.min(text.max + 1, unbounded);
    mostKept = text.max;
  } else if (to.max <= from.min) mostKept = text.max;
  else most = Math.ceil(text.max / from.min);
  let least = 0;
  let leastKept = 0;
  if (from.max === 0) {
    least = Math.min(text.min + 1, unbounded);
    leastKept = text.min;
  } else if (from.max <= to.min) leastKept = text.min;
  else least = Math.ceil(text.min / from.max);
  return add(multiply({ min: least, max: most }, to), { min: leastKept, max: mostKept });
}
