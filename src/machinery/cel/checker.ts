/** Gives every node its type, and says with cel-go's texts what does not fit. */
import type { CallNode, Expr, FoldNode, SelectNode, StructNode } from "./ast.ts";
import type { CelFunction, Functions, Overload, Variable } from "./functions.ts";
import { CelCompileError, type CelIssue } from "./issues.ts";
import { qualifiedName } from "./parser.ts";
import * as types from "./types.ts";
import { type CelType, formatType, isOptional, mostGeneral, Substitutions, sameType } from "./types.ts";
import { typeOfValue } from "./values.ts";

export interface CheckOptions {
  readonly functions: Functions;
  readonly variables: readonly Variable[];
  /** Types of objects that expressions may make, by name; absent: none. */
  readonly structs?: ((name: string) => CelType | undefined) | undefined;
}

/** Types that an expression may name: type(x) == string. */
const named = new Map<string, CelType>(
  [
    types.bool,
    types.int,
    types.uint,
    types.double,
    types.string,
    types.bytes,
    types.nullType,
    types.timestamp,
    types.duration,
  ].map((type) => [type.name, type]),
);
named.set("list", types.listOf(types.dyn));
named.set("map", types.mapOf(types.dyn, types.dyn));
named.set("type", types.typeType);
named.set("optional_type", types.optionalOf(types.dyn));
for (const name of ["net.IP", "net.CIDR"]) named.set(name, types.opaque(name));

class Checker {
  readonly issues: CelIssue[] = [];
  readonly substitutions = new Substitutions();
  readonly #functions: Functions;
  readonly #structs: CheckOptions["structs"];
  readonly #scopes: Map<string, CelType>[];
  #fresh = 0;

  constructor({ functions, variables, structs }: CheckOptions) {
    this.#functions = functions;
    this.#structs = structs;
    this.#scopes = [new Map(variables.flatMap(({ name, type }) => (type ? [[name, type]] : [])))];
  }

  #report(at: number, message: string): CelType {
    this.issues.push({ offset: at, message });
    return types.error;
  }

  #variable(name: string): CelType | undefined {
    if (name.startsWith(".")) return this.#scopes[0]!.get(name.slice(1));
    for (let i = this.#scopes.length - 1; i >= 0; i--) {
      const type = this.#scopes[i]!.get(name);
      if (type) return type;
    }
    return undefined;
  }

  /** The type that a name stands for. */
  #typeNamed(name: string): CelType | undefined {
    const plain = name.replace(/^\./, "");
    return named.get(plain) ?? this.#structs?.(plain);
  }

  #newVariable(): CelType {
    return types.param(`_var${this.#fresh++}`);
  }

  check(expr: Expr): CelType {
    const type = this.#check(expr);
    expr.type = type;
    return type;
  }

  #check(expr: Expr): CelType {
    switch (expr.kind) {
      case "literal":
        return typeOfValue(expr.value);
      case "ident": {
        const type = this.#variable(expr.name);
        if (type) return type;
        const typeValue = this.#typeNamed(expr.name);
        if (!typeValue) return this.#undeclared(expr.at, expr.name);
        expr.typeValue = typeValue;
        return types.typeOf(typeValue);
      }
      case "select":
        return this.#checkSelect(expr);
      case "call":
        return this.#checkCall(expr);
      case "list": {
        let item: CelType | undefined;
        for (const { value, optional } of expr.items) {
          const type = optional ? this.#unwrapped(value) : this.check(value);
          item = this.#join(item, type);
        }
        return types.listOf(item ?? this.#newVariable());
      }
      case "map": {
        let keys: CelType | undefined;
        let values: CelType | undefined;
        for (const { key, value, optional } of expr.entries) {
          keys = this.#join(keys, this.check(key));
          values = this.#join(values, optional ? this.#unwrapped(value) : this.check(value));
        }
        return types.mapOf(keys ?? this.#newVariable(), values ?? this.#newVariable());
      }
      case "struct":
        return this.#checkStruct(expr);
      case "fold":
        return this.#checkFold(expr);
    }
  }

  #checkStruct({ at, name, fields }: StructNode): CelType {
    const type = this.#structs?.(name.replace(/^\./, ""));
    for (const { at: fieldAt, name: field, value, optional } of fields) {
      const given = optional ? this.#unwrapped(value) : this.check(value);
      if (!type) continue;
      const wanted = type.fields?.get(field)?.type;
      if (wanted && this.substitutions.assign([wanted], [given])) continue;
      const found = formatType(this.substitutions.apply(given));
      const message = `expected type of field '${field}' is '${wanted ? formatType(wanted) : ""}' but provided type is '${found}'`;
      this.#report(fieldAt, message);
    }
    if (type) return type;
    return named.has(name) ? this.#report(at, `'${name}' is not a message type`) : this.#undeclared(at, name);
  }

  #undeclared(at: number, name: string): CelType {
    return this.#report(at, `undeclared reference to '${name.replace(/^\./, "")}' (in container '')`);
  }

  /** The type inside an optional entry of a list or map. */
  #unwrapped(expr: Expr): CelType {
    const type = this.substitutions.apply(this.check(expr));
    if (isOptional(type)) return type.params[0]!;
    if (type.kind === "dyn" || type.kind === "error") return type;
    const message = `expected type '${formatType(types.optionalOf(type))}' but found '${formatType(type)}'`;
    return this.#report(expr.at, message);
  }

  #join(present: CelType | undefined, type: CelType): CelType {
    if (!present) return type;
    return this.substitutions.assign([present], [type]) ? mostGeneral(present, type) : types.dyn;
  }

  #checkSelect(expr: SelectNode): CelType {
    const name = qualifiedName(expr);
    if (name !== undefined && !expr.test) {
      const variable = this.#variable(name);
      if (variable) {
        expr.variable = name;
        return variable;
      }
      const typeValue = this.#typeNamed(name);
      if (typeValue) {
        expr.typeValue = typeValue;
        return types.typeOf(typeValue);
      }
    }
    const operand = this.check(expr.operand);
    const type = this.#fieldType(expr.at, operand, expr.field, false);
    return expr.test ? types.bool : type;
  }

  #fieldType(at: number, of: CelType, field: string, optional: boolean): CelType {
    const type = this.substitutions.apply(of);
    const wasOptional = isOptional(type);
    const result = this.#plainFieldType(at, wasOptional ? type.params[0]! : type, field, optional || wasOptional);
    return optional || wasOptional ? types.optionalOf(result) : result;
  }

  #plainFieldType(at: number, type: CelType, field: string, optional: boolean): CelType {
    switch (type.kind) {
      case "dyn":
      case "error":
        return types.dyn;
      case "map":
        return type.params[1]!;
      case "param":
        this.substitutions.assign([types.dyn], [type]);
        return types.dyn;
      case "object": {
        const found = type.fields?.get(field);
        return found ? found.type : this.#report(at, `undefined field '${field}'`);
      }
      default:
        if (optional) return types.dyn;
        if (type.kind === "opaque" && type.name.startsWith("kubernetes.authorization.")) {
          return this.#report(at, `unexpected failed resolution of '${type.name}'`);
        }
        return this.#report(at, `type '${formatType(type)}' does not support field selection`);
    }
  }

  #checkCall(expr: CallNode): CelType {
    const { target, args, name, at } = expr;
    if (name === "_?._") {
      const operand = this.check(args[0]!);
      const field = args[1]!;
      this.check(field);
      return this.#fieldType(at, operand, field.kind === "literal" ? String(field.value) : "", true);
    }
    if (!target) {
      const found = this.#functions.find(name.replace(/^\./, ""));
      for (const arg of args) this.check(arg);
      if (found && (name === "_&&_" || name === "_||_")) {
        for (const arg of args) this.#assert(arg, types.bool);
        expr.overloads = found.overloads;
        return types.bool;
      }
      return found ? this.#resolve(expr, found, args) : this.#undeclared(at, name);
    }
    const prefix = qualifiedName(target);
    const namespaced = prefix === undefined ? undefined : this.#functions.find(`${prefix}.${name}`);
    if (namespaced && !this.#variable(prefix!)) {
      expr.global = namespaced.name;
      for (const arg of args) this.check(arg);
      return this.#resolve(expr, namespaced, args);
    }
    this.check(target);
    for (const arg of args) this.check(arg);
    const found = this.#functions.find(name);
    return found ? this.#resolve(expr, found, [target, ...args], true) : this.#undeclared(at, name);
  }

  #resolve(expr: CallNode, { name, overloads }: CelFunction, operands: readonly Expr[], member = false): CelType {
    const given = operands.map(({ type }) => type!);
    const matching: Overload[] = [];
    let result: CelType | undefined;
    for (const overload of overloads) {
      if (overload.member !== member || overload.args.length !== given.length) continue;
      const fresh = new Map<string, CelType>();
      const wanted = overload.args.map((type) => this.#instance(type, fresh));
      if (!this.substitutions.assign(given, wanted)) continue;
      matching.push(overload);
      const type = this.substitutions.apply(this.#instance(overload.result, fresh));
      if (!result) result = type;
      else if (result.kind !== "dyn" && !sameType(type, result)) result = types.dyn;
    }
    if (!result) {
      const shown = given.map((type) => formatType(this.substitutions.apply(type, true)));
      const signature = member ? `${shown[0]}.(${shown.slice(1).join(", ")})` : `(${shown.join(", ")})`;
      return this.#report(expr.at, `found no matching overload for '${name}' applied to '${signature}'`);
    }
    expr.overloads = matching;
    return result;
  }

  /** The type with its parameters made new, so that two calls do not share them. */
  #instance(type: CelType, fresh: Map<string, CelType>): CelType {
    if (type.kind === "param") {
      let variable = fresh.get(type.name);
      if (!variable) {
        variable = this.#newVariable();
        fresh.set(type.name, variable);
      }
      return variable;
    }
    if (type.params.length === 0) return type;
    return { ...type, params: type.params.map((inner) => this.#instance(inner, fresh)) };
  }

  #checkFold(expr: FoldNode): CelType {
    const range = this.substitutions.apply(this.check(expr.range));
    const accu = this.check(expr.init);
    let first = types.error;
    let second = types.error;
    switch (range.kind) {
      case "list":
        [first, second] = expr.iterVar2 === undefined ? [range.params[0]!, types.error] : [types.int, range.params[0]!];
        break;
      case "map":
        [first, second] = [range.params[0]!, range.params[1]!];
        break;
      case "dyn":
      case "error":
      case "param":
        this.substitutions.assign([types.dyn], [range]);
        [first, second] = [types.dyn, types.dyn];
        break;
      default: {
        const shown = formatType(range);
        const message = `expression of type '${shown}' cannot be range of a comprehension (must be list, map, or dynamic)`;
        this.#report(expr.range.at, message);
      }
    }
    this.#scopes.push(new Map([[expr.accuVar, accu]]));
    const loop = new Map([[expr.iterVar, first]]);
    if (expr.iterVar2 !== undefined) loop.set(expr.iterVar2, second);
    this.#scopes.push(loop);
    this.check(expr.condition);
    this.#assert(expr.condition, types.bool);
    this.check(expr.step);
    this.#assert(expr.step, accu);
    this.#scopes.pop();
    const result = this.check(expr.result);
    this.#scopes.pop();
    return this.substitutions.apply(result);
  }

  #assert(expr: Expr, wanted: CelType): void {
    if (this.substitutions.assign([wanted], [expr.type!])) return;
    const shown = (type: CelType) => formatType(this.substitutions.apply(type));
    this.#report(expr.at, `expected type '${shown(wanted)}' but found '${shown(expr.type!)}'`);
  }
}

/** Every node below, the node itself last. */
export function* nodesOf(expr: Expr): Generator<Expr> {
  switch (expr.kind) {
    case "select":
      yield* nodesOf(expr.operand);
      break;
    case "call":
      if (expr.target && !expr.global) yield* nodesOf(expr.target);
      for (const arg of expr.args) yield* nodesOf(arg);
      break;
    case "list":
      for (const { value } of expr.items) yield* nodesOf(value);
      break;
    case "map":
      for (const { key, value } of expr.entries) {
        yield* nodesOf(key);
        yield* nodesOf(value);
      }
      break;
    case "struct":
      for (const { value } of expr.fields) yield* nodesOf(value);
      break;
    case "fold":
      for (const part of [expr.range, expr.init, expr.condition, expr.step, expr.result]) yield* nodesOf(part);
      break;
  }
  yield expr;
}

/** Checks a parsed expression and notes types in it. Returns its type. Throws {@link CelCompileError}. */
export function checkCel(source: string, expr: Expr, options: CheckOptions): CelType {
  const checker = new Checker(options);
  checker.check(expr);
  if (checker.issues.length > 0) throw new CelCompileError(source, dedupe(checker.issues));
  for (const node of nodesOf(expr)) if (node.type) node.type = checker.substitutions.apply(node.type, true);
  return expr.type!;
}

/** A target that a macro uses twice is checked twice; its faults count once. */
function dedupe(issues: readonly CelIssue[]): CelIssue[] {
  const seen = new Set<string>();
  return issues.filter(({ offset, message }) => {
    const key = `${offset} ${message}`;
    return !seen.has(key) && seen.add(key);
  });
}
