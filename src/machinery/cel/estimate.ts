/**
 * What an expression costs at worst, before it runs: Kubernetes refuses rules by this number. Source: cel-go's
 * checker/cost.go; the estimates of the libraries are in library-estimates.ts.
 */
import type { CallNode, Expr, FoldNode } from "./ast.ts";
import type { SizeEstimator } from "./functions.ts";
import { libraryEstimate } from "./library-estimates.ts";
import { add, costs, multiply, range, type SizeRange, scale, unbounded, union, unknownSize } from "./sizes.ts";
import { type CelType, isOptional } from "./types.ts";
import { CelObject, Double, Duration, sizeOf, Timestamp, Uint } from "./values.ts";

/** The sizes of what a list or a map holds. */
interface EntrySize {
  readonly container: "list" | "map";
  readonly key: SizeRange;
  readonly value: SizeRange;
}

/** An operand, as estimates of functions see it. */
export interface Operand {
  readonly expr: Expr | undefined;
  readonly type: CelType;
  readonly path: readonly string[] | undefined;
  readonly size: SizeRange | undefined;
}

export interface CallEstimate {
  readonly cost: SizeRange;
  readonly result?: SizeRange;
}

interface Local {
  readonly path: readonly string[];
  readonly size: SizeRange | undefined;
  readonly entry: EntrySize | undefined;
}

const one = range(1);
const traversal = (size: SizeRange) => scale(size, costs.stringTraversal);

const scalars = new Set(["bool", "double", "duration", "int", "timestamp", "uint"]);

function typeSize(type: CelType | undefined): SizeRange | undefined {
  if (!type) return undefined;
  if (isOptional(type)) return typeSize(type.params[0]);
  return scalars.has(type.kind) ? one : undefined;
}

function literalSize(expr: Expr): SizeRange | undefined {
  switch (expr.kind) {
    case "literal": {
      const { value } = expr;
      const known =
        !(value instanceof CelObject) ||
        value instanceof Double ||
        value instanceof Uint ||
        value instanceof Timestamp ||
        value instanceof Duration;
      return known ? range(sizeOf(value)) : undefined;
    }
    case "list":
      return range(expr.items.length);
    case "map":
      return range(expr.entries.length);
    default:
      return undefined;
  }
}

class Estimation {
  readonly #sizes: SizeEstimator;
  readonly #paths = new Map<Expr, readonly string[]>();
  readonly #computed = new Map<Expr, SizeRange>();
  readonly #entries = new Map<Expr, EntrySize>();
  readonly #locals = new Map<string, Local[]>();

  constructor(sizes: SizeEstimator) {
    this.#sizes = sizes;
  }

  #local(name: string): Local | undefined {
    return this.#locals.get(name)?.at(-1);
  }

  #push(name: string, local: Local): void {
    const present = this.#locals.get(name);
    if (present) present.push(local);
    else this.#locals.set(name, [local]);
  }

  #pop(name: string): void {
    this.#locals.get(name)!.pop();
  }

  #path(expr: Expr): readonly string[] {
    const local = expr.kind === "ident" ? this.#local(expr.name) : undefined;
    return local?.path ?? this.#paths.get(expr) ?? [];
  }

  #size(expr: Expr): SizeRange | undefined {
    const known = this.#computed.get(expr) ?? literalSize(expr);
    if (known) return known;
    const path = this.#path(expr);
    const declared = path.length > 0 ? this.#sizes(path) : undefined;
    if (declared) {
      this.#computed.set(expr, declared);
      return declared;
    }
    return typeSize(expr.type) ?? (expr.kind === "ident" ? this.#local(expr.name)?.size : undefined);
  }

  #setSize(expr: Expr, size: SizeRange | undefined): void {
    if (size) this.#computed.set(expr, size);
  }

  #entry(expr: Expr): EntrySize | undefined {
    return this.#entries.get(expr) ?? (expr.kind === "ident" ? this.#local(expr.name)?.entry : undefined);
  }

  cost(expr: Expr): SizeRange {
    switch (expr.kind) {
      case "literal":
        return range(0);
      case "ident":
        this.#paths.set(expr, this.#local(expr.name)?.path ?? [expr.name]);
        return range(costs.identifier);
      case "select": {
        if (expr.variable !== undefined) {
          this.#paths.set(expr, [expr.variable]);
          return range(costs.identifier);
        }
        if (expr.typeValue) return range(costs.identifier);
        const operand = this.cost(expr.operand);
        // Kubernetes keeps has() free, as it was when its limits were chosen.
        if (expr.test) return operand;
        const counted = ["map", "object", "param"].includes(expr.operand.type?.kind ?? "");
        this.#paths.set(expr, [...this.#path(expr.operand), expr.field]);
        return counted ? add(operand, range(costs.identifier)) : operand;
      }
      case "call":
        return this.#call(expr);
      case "list": {
        let sum = range(0);
        let value = expr.items.length === 0 ? range(0) : { min: unbounded, max: 0 };
        for (const item of expr.items) {
          sum = add(sum, this.cost(item.value));
          value = union(value, this.#size(item.value) ?? unknownSize);
        }
        this.#entries.set(expr, { container: "list", key: one, value });
        return add(sum, range(costs.list));
      }
      case "map": {
        let sum = range(0);
        let key = expr.entries.length === 0 ? range(0) : { min: unbounded, max: 0 };
        let value = key;
        for (const entry of expr.entries) {
          sum = add(sum, add(this.cost(entry.key), this.cost(entry.value)));
          key = union(key, this.#size(entry.key) ?? unknownSize);
          value = union(value, this.#size(entry.value) ?? unknownSize);
        }
        this.#entries.set(expr, { container: "map", key, value });
        return add(sum, range(costs.map));
      }
      case "struct":
        return expr.fields.reduce((sum, { value }) => add(sum, this.cost(value)), range(costs.struct));
      case "fold":
        return expr.macro.name === "bind" ? this.#bind(expr) : this.#fold(expr);
    }
  }

  #bind({ range: list, init, accuVar, result }: FoldNode): SizeRange {
    const before = add(this.cost(list), this.cost(init));
    this.#push(accuVar, { path: this.#path(init), size: this.#size(init), entry: this.#entry(init) });
    const sum = add(before, this.cost(result));
    this.#pop(accuVar);
    return sum;
  }

  #fold(fold: FoldNode): SizeRange {
    let sum = add(this.cost(fold.range), this.cost(fold.init));
    const { init, accuVar, iterVar, iterVar2 } = fold;
    this.#push(accuVar, { path: this.#path(init), size: this.#size(init), entry: this.#entry(init) });
    const entry = this.#entry(fold.range);
    const isList = (entry?.container ?? fold.range.type?.kind) === "list";
    const path = this.#path(fold.range);
    const at = (step: string, size: SizeRange | undefined): Local => ({
      path: path.length > 0 ? [...path, step] : [step],
      size,
      entry: undefined,
    });
    const value = at(isList ? "@items" : "@values", entry?.value);
    const key = at(isList ? "@indices" : "@keys", entry?.key);
    if (iterVar2 === undefined) this.#push(iterVar, isList ? value : key);
    else {
      this.#push(iterVar, key);
      this.#push(iterVar2, value);
    }
    const loop = add(this.cost(fold.condition), this.cost(fold.step));
    this.#pop(iterVar);
    if (iterVar2 !== undefined) this.#pop(iterVar2);
    sum = add(sum, this.cost(fold.result));
    this.#pop(accuVar);
    const rounds = this.#size(fold.range) ?? unknownSize;
    if (init.kind === "literal") this.#setSize(fold, this.#size(init));
    else {
      this.#setSize(fold, rounds);
      const step = this.#entry(fold.step);
      if (step) this.#entries.set(fold, step);
    }
    return add(sum, multiply(rounds, loop));
  }

  #operand(expr: Expr): Operand {
    const path = this.#path(expr);
    return {
      expr,
      type: expr.type!,
      path: path.length === 0 || path[0]!.startsWith("@") ? undefined : path,
      size: this.#size(expr),
    };
  }

  #call(expr: CallNode): SizeRange {
    const { args, overloads = [] } = expr;
    const name = expr.global ?? expr.name;
    if (name === "dyn") {
      const cost = this.cost(args[0]!);
      this.#setSize(expr, this.#size(args[0]!));
      const entry = this.#entry(args[0]!);
      if (entry) this.#entries.set(expr, entry);
      return add(range(1), cost);
    }
    const argCosts = args.map((arg) => this.cost(arg));
    const operands = args.map((arg) => this.#operand(arg));
    const target = expr.target && !expr.global ? expr.target : undefined;
    const sum = target ? this.cost(target) : range(0);
    const ids = name === "_?._" ? ["select_optional_field"] : overloads.map(({ id }) => id);
    if (ids.length === 0) return range(0);
    let cost: SizeRange = { min: unbounded, max: 0 };
    let result: SizeRange | undefined;
    for (const id of ids) {
      const estimate = this.#overload(expr, name, id, target && this.#operand(target), operands, argCosts);
      cost = union(cost, estimate.cost);
      if (estimate.result) result = result ? union(result, estimate.result) : estimate.result;
      if (id === "index_list" || id === "index_map") {
        result = this.#entry(args[0]!)?.value;
        this.#paths.set(expr, [...this.#path(args[0]!), id === "index_list" ? "@items" : "@values"]);
      }
      result ??= this.#size(expr);
    }
    this.#setSize(expr, result);
    return add(sum, cost);
  }

  #overload(
    expr: CallNode,
    name: string,
    id: string,
    target: Operand | undefined,
    args: readonly Operand[],
    argCosts: readonly SizeRange[],
  ): CallEstimate {
    const spent = argCosts.reduce(add, range(0));
    const own = libraryEstimate(name, id, target, args, this.#sizes);
    if (own) return { ...own, cost: add(own.cost, spent) };
    const size = (operand: Operand | undefined) => operand?.size ?? unknownSize;
    const [first, second] = args;
    switch (id) {
      case "string_format":
        if (target) return { cost: add(traversal(size(target)), spent) };
        break;
      case "string_to_bytes": {
        const { min, max } = size(first);
        return { cost: add(traversal(size(first)), spent), result: { min, max: Math.min(max * 4, unbounded) } };
      }
      case "bytes_to_string": {
        const { min, max } = size(first);
        return { cost: add(traversal(size(first)), spent), result: { min: Math.floor(min / 4), max } };
      }
      case "strings_quote": {
        const { min, max } = size(first);
        return {
          cost: add(traversal(size(first)), spent),
          result: { min: min + 2, max: Math.min(max * 2 + 2, unbounded) },
        };
      }
      case "starts_with_string":
      case "ends_with_string":
        return { cost: add(traversal(size(first)), spent) };
      case "in_list":
        return { cost: add(size(second), spent) };
      case "matches_string": {
        if (!target) break;
        const text = traversal(add(size(target), one));
        return { cost: add(multiply(text, scale(size(first), costs.regexLength)), spent) };
      }
      case "contains_string":
        if (!target) break;
        return { cost: add(multiply(traversal(size(target)), traversal(size(first))), spent) };
      case "logical_and":
      case "logical_or":
        return { cost: { min: argCosts[0]!.min, max: add(argCosts[0]!, argCosts[1]!).max } };
      case "conditional":
        return this.#conditional(expr, argCosts);
      case "add_string":
      case "add_bytes":
      case "add_list": {
        const result = add(size(first), size(second));
        const left = this.#entry(expr.args[0]!);
        const right = this.#entry(expr.args[1]!);
        if (left && right) this.#entries.set(expr, unionEntries(left, right));
        return { cost: add(id === "add_list" ? one : traversal(result), spent), result };
      }
      case "equals":
      case "not_equals":
        return { cost: add(this.#compare(size(first), size(second)), spent) };
    }
    if (/^(less|greater)(_equals)?_(string|bytes)$/.test(id)) {
      return { cost: add(this.#compare(size(first), size(second)), spent) };
    }
    return { cost: add(one, spent) };
  }

  #compare(a: SizeRange, b: SizeRange): SizeRange {
    const max = Math.min(a.max, b.max);
    return traversal({ min: max > 0 ? 1 : 0, max });
  }

  #conditional(expr: CallNode, [condition, yes, no]: readonly SizeRange[]): CallEstimate {
    const [, first, second] = expr.args as readonly [Expr, Expr, Expr];
    const left = this.#entry(first);
    const right = this.#entry(second);
    if (left && right) this.#entries.set(expr, unionEntries(left, right));
    return {
      cost: add(condition!, union(yes!, no!)),
      result: union(this.#size(first) ?? unknownSize, this.#size(second) ?? unknownSize),
    };
  }
}

function unionEntries(a: EntrySize, b: EntrySize): EntrySize {
  return { container: a.container, key: union(a.key, b.key), value: union(a.value, b.value) };
}

/** The least and the most that a checked expression can cost. */
export function estimateCost(expr: Expr, sizes: SizeEstimator): SizeRange {
  return new Estimation(sizes).cost(expr);
}
