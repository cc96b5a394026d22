/** Checked trees to closures. Each adds what it costs, so that no expression can hold the process for long. */
import type { CallNode, Expr, ListNode, MapNode, SelectNode, StructNode } from "./ast.ts";
import { compileFold } from "./compile-fold.ts";
import { attempt, charge, type Evaluate, type Frame } from "./frame.ts";
import type { Overload, Variable } from "./functions.ts";
import { concatenationOf, equalityOf } from "./keyed-lists.ts";
import { costs } from "./sizes.ts";
import { makeStruct, patchTypes, StructValue } from "./structs.ts";
import { type CelType, isOptional } from "./types.ts";
import {
  CelError,
  CelMap,
  CelObject,
  type CelValue,
  Double,
  Duration,
  elementAt,
  elementOf,
  equalValues,
  fromJson,
  insert,
  isMap,
  keyForm,
  mapGet,
  noSuchKey,
  noSuchOverload,
  Optional,
  sizeOf,
  Timestamp,
  TypeValue,
  Uint,
} from "./values.ts";

export class Compiler {
  /** Where a name's value is, innermost last. */
  readonly #names = new Map<string, number[]>();
  slots = 0;

  constructor(variables: readonly Variable[]) {
    for (const { name } of variables) this.push(name);
  }

  /** A slot for a name, until {@link pop}. */
  push(name: string): number {
    const slot = this.slots++;
    const present = this.#names.get(name);
    if (present) present.push(slot);
    else this.#names.set(name, [slot]);
    return slot;
  }

  pop(name: string): void {
    this.#names.get(name)!.pop();
  }

  compile(expr: Expr): Evaluate {
    const constant = constantOf(expr);
    if (constant !== undefined) return () => constant;
    switch (expr.kind) {
      case "literal":
        return () => expr.value;
      case "ident":
        return this.#name(expr.name, expr.typeValue);
      case "select":
        if (expr.variable !== undefined || expr.typeValue) return this.#name(expr.variable ?? "", expr.typeValue);
        return this.#select(expr);
      case "call":
        return this.#call(expr);
      case "list":
        return this.#list(expr);
      case "map":
        return this.#map(expr);
      case "struct":
        return this.#struct(expr);
      case "fold":
        return compileFold(this, expr);
    }
  }

  #name(name: string, typeValue: CelType | undefined): Evaluate {
    if (typeValue) {
      // Types of objects that can be made are no values, as in cel-go.
      if (patchTypes(typeValue.name)) throw new CelError(`reference to undefined type: ${typeValue.name}`);
      const value = new TypeValue(typeValue);
      return () => value;
    }
    const slots = this.#names.get(name.replace(/^\./, ""))!;
    const slot = name.startsWith(".") ? slots[0]! : slots.at(-1)!;
    return (frame) => {
      frame.cost += costs.identifier;
      const value = frame.slots[slot];
      if (value === undefined) throw new CelError(`no such attribute(s): ${name}`);
      return value;
    };
  }

  #select({ operand, field, test }: SelectNode): Evaluate {
    const of = this.compile(operand);
    const cost = baseCost(operand);
    const declared = operand.type?.kind === "object" ? operand.type.fields?.get(field) : undefined;
    if (!declared) {
      return test
        ? (frame) => {
            frame.cost += cost - 1;
            return hasField(of(frame), field);
          }
        : (frame) => {
            const from = of(frame);
            frame.cost += cost;
            const value = selectField(from, field);
            // What is not there costs nothing.
            if (value === Optional.none && from instanceof Optional) frame.cost--;
            return value;
          };
    }
    const { key, convert } = declared;
    if (test) {
      return (frame) => {
        const value = of(frame);
        if (value instanceof StructValue) {
          frame.cost += cost - 1;
          return value.has(key);
        }
        const object = fieldsOf(value);
        // Read, too: a value that is computed when it is read may fail.
        return object !== undefined && Object.hasOwn(object, key) && object[key] !== undefined;
      };
    }
    return (frame) => {
      const from = of(frame);
      if (from instanceof StructValue) {
        frame.cost += cost;
        return from.get(key);
      }
      const object = fieldsOf(from);
      frame.cost += cost;
      if (!object || !Object.hasOwn(object, key)) throw noSuchKey(field);
      const value = object[key];
      return (convert && value !== null ? convert(value) : value) as CelValue;
    };
  }

  #list({ items }: ListNode): Evaluate {
    const values = items.map(({ value }) => this.compile(value));
    if (items.some(({ optional }) => optional)) {
      return (frame) => {
        const list: CelValue[] = [];
        for (const [i, evaluate] of values.entries()) {
          const value = evaluate(frame);
          if (!items[i]!.optional) list.push(value);
          else {
            const inner = optionalOf(value).value;
            if (inner !== undefined) list.push(inner);
          }
        }
        charge(frame, costs.list);
        return list;
      };
    }
    return (frame) => {
      const list = new Array<CelValue>(values.length);
      for (let i = 0; i < values.length; i++) list[i] = values[i]!(frame);
      charge(frame, costs.list);
      return list;
    };
  }

  #map({ entries }: MapNode): Evaluate {
    const parts = entries.map(({ key, value, optional }) => ({
      key: this.compile(key),
      value: this.compile(value),
      optional,
    }));
    return (frame) => {
      const map = new CelMap();
      for (const part of parts) {
        const key = part.key(frame);
        const value = part.value(frame);
        const inner = part.optional ? optionalOf(value).value : value;
        if (inner !== undefined) insert(map, key, inner);
      }
      charge(frame, costs.map);
      return map;
    };
  }

  #struct({ fields, type }: StructNode): Evaluate {
    const parts = fields.map(({ name, value, optional }) => ({ name, value: this.compile(value), optional }));
    return (frame) => {
      const values = new Map<string, CelValue>();
      for (const { name, value, optional } of parts) {
        const given = value(frame);
        if (optional && !(given instanceof Optional)) {
          throw new CelError(`cannot initialize optional entry '${name}' from non-optional value ${String(given)}`);
        }
        const inner = given instanceof Optional && optional ? given.value : given;
        if (inner === undefined) values.delete(name);
        else values.set(name, inner);
      }
      charge(frame, costs.struct);
      return makeStruct(type!, values);
    };
  }

  #call(expr: CallNode): Evaluate {
    const { name, args } = expr;
    const operands = expr.target && !expr.global ? [expr.target, ...args] : args;
    switch (expr.global ?? name) {
      case "_&&_":
        return logical(this.compile(args[0]!), this.compile(args[1]!), false);
      case "_||_":
        return logical(this.compile(args[0]!), this.compile(args[1]!), true);
      case "_?_:_": {
        const condition = this.compile(args[0]!);
        const yes = this.#withoutBase(args[1]!);
        const no = this.#withoutBase(args[2]!);
        return (frame) => {
          const value = condition(frame);
          if (value === true) return yes(frame);
          if (value === false) return no(frame);
          throw noSuchOverload();
        };
      }
      case "_==_":
      case "_!=_":
        return this.#equality(args, name === "_!=_");
      case "_+_": {
        const join = concatenationOf(args[0]!.type);
        if (!join) break;
        const [left, right] = [this.compile(args[0]!), this.compile(args[1]!)];
        return (frame) => {
          const [a, b] = [left(frame), right(frame)];
          if (!Array.isArray(a) || !Array.isArray(b)) throw noSuchOverload();
          frame.cost++;
          return join(a, b);
        };
      }
      case "_[_]":
        return index(this.compile(args[0]!), this.#withoutBase(args[1]!), baseCost(args[0]!));
      case "@in": {
        const members = memberSet(args[1]!);
        if (!members || isOptional(args[1]!.type!)) break;
        const value = this.compile(args[0]!);
        return (frame) => {
          const key = keyForm(value(frame));
          return key !== undefined && members.has(key);
        };
      }
      case "or":
      case "orValue": {
        if (!expr.target || !expr.overloads?.every(({ id }) => id.startsWith("optional_"))) break;
        const [first, second] = [this.compile(expr.target), this.compile(args[0]!)];
        return (frame) => {
          const optional = optionalOf(first(frame));
          if (optional.value === undefined) return second(frame);
          return name === "or" ? optional : optional.value;
        };
      }
      case "_?._": {
        const of = this.compile(args[0]!);
        const field = args[1]!.kind === "literal" ? String(args[1]!.value) : "";
        const declared = args[0]!.type?.kind === "object" ? args[0]!.type.fields?.get(field) : undefined;
        return (frame) => {
          const object = of(frame);
          if (!declared) {
            const found = optionalField(object, field);
            if (found.value !== undefined) frame.cost += costs.identifier;
            return found;
          }
          const plain = fieldsOf(object);
          if (!plain || !Object.hasOwn(plain, declared.key)) return Optional.none;
          frame.cost += costs.identifier;
          const value = plain[declared.key];
          return new Optional((declared.convert && value !== null ? declared.convert(value) : value) as CelValue);
        };
      }
    }
    return bindCall(
      operands.map((operand) => this.compile(operand)),
      operands.map(({ type }) => type),
      expr.overloads ?? [],
    );
  }

  /** A path that stands in a branch or an index costs no reading of its variable. */
  #withoutBase(expr: Expr): Evaluate {
    const evaluate = this.compile(expr);
    if (!isPath(expr) || constantOf(expr) !== undefined || (expr.kind === "ident" && expr.typeValue)) return evaluate;
    return (frame) => {
      const value = evaluate(frame);
      frame.cost -= costs.identifier;
      return value;
    };
  }

  #equality(args: readonly Expr[], negate: boolean): Evaluate {
    const left = this.compile(args[0]!);
    const right = this.compile(args[1]!);
    const equal = equalityOf(args[0]!.type) ?? equalityOf(args[1]!.type) ?? equalValues;
    return (frame) => {
      const a = left(frame);
      const b = right(frame);
      if (typeof a === "string" || typeof a === "object") {
        charge(frame, Math.ceil(Math.min(sizeOf(a), sizeOf(b)) * costs.stringTraversal));
      } else frame.cost++;
      return equal(a, b) !== negate;
    };
  }
}

const conversions = new Set("bool bytes double duration dyn int string timestamp uint type".split(" "));

/** The value of what is known before anything runs. Throws CelError for a conversion that cannot work. */
function constantOf(expr: Expr): CelValue | undefined {
  if (expr.kind === "literal") return expr.value;
  if (expr.kind === "list") {
    const values = expr.items.map(({ value, optional }) => (optional ? undefined : constantOf(value)));
    return values.every((value) => value !== undefined) ? values : undefined;
  }
  if (expr.kind === "map") {
    const map = new CelMap();
    for (const { key, value, optional } of expr.entries) {
      const [name, of] = [constantOf(key), constantOf(value)];
      if (optional || name === undefined || of === undefined) return undefined;
      const form = name instanceof Double ? undefined : keyForm(name);
      // A key that is none, or there twice, is an error of the evaluation.
      if (form === undefined || map.entries.has(form)) return undefined;
      insert(map, name, of);
    }
    return map;
  }
  if (expr.kind !== "call" || expr.target || !conversions.has(expr.name) || expr.args.length !== 1) return undefined;
  const value = constantOf(expr.args[0]!);
  const found = value !== undefined && expr.overloads?.find(({ args }) => accepts(args[0]!, value));
  return found ? (found.call as (given: CelValue) => CelValue)(value as CelValue) : undefined;
}

/** The elements of a constant list, when all are plain. */
function memberSet(expr: Expr): ReadonlySet<unknown> | undefined {
  if (expr.kind !== "list") return undefined;
  const list = constantOf(expr);
  if (!Array.isArray(list) || !list.every((item) => ["string", "number", "bigint", "boolean"].includes(typeof item))) {
    return undefined;
  }
  return new Set(list);
}

/** A variable with selections and indexes behind it. */
function isPath(expr: Expr): boolean {
  if (expr.kind === "ident") return true;
  if (expr.kind === "select") return !expr.test;
  return expr.kind === "call" && ["_[_]", "_[?_]", "_?._"].includes(expr.name);
}

/** Of one selection or index; what is no path becomes one by its first. */
const baseCost = (operand: Expr) => (isPath(operand) ? 1 : 2);

/** One lookup for all: what the container is decides. */
function index(container: Evaluate, key: Evaluate, cost: number): Evaluate {
  return (frame) => {
    const of = container(frame);
    const at = key(frame);
    frame.cost += cost;
    if (Array.isArray(of)) return elementOf(of, at);
    if (of instanceof Optional) {
      if (of.value === undefined) return of;
      const value = Array.isArray(of.value) ? elementAt(of.value, at) : mapGet(of.value, at);
      return value === undefined ? Optional.none : new Optional(value);
    }
    const value = isMap(of) ? mapGet(of, at) : undefined;
    if (value === undefined) throw noSuchKey(keyForm(at));
    return value;
  };
}

const isDefinite = (type: CelType | undefined) =>
  type !== undefined && type.kind !== "dyn" && type.kind !== "error" && type.kind !== "wrapper" && !type.loose;
/** Overloads that take anything can take null. */
const takesNull = ({ args }: Overload) => args.some(({ kind }) => kind === "dyn" || kind === "param");

/** Calls the one overload that the checker chose, or picks one by the values when types are known only now. */
function bindCall(
  args: readonly Evaluate[],
  types: readonly (CelType | undefined)[],
  overloads: readonly Overload[],
): Evaluate {
  const [first] = overloads;
  const direct = overloads.length === 1 && types.every((type) => isDefinite(type)) ? first : undefined;
  if (!direct) return dynamicCall(args, overloads);
  const call = direct.call as (...values: readonly CelValue[]) => CelValue;
  const { cost, resultCost } = direct;
  const checksNull = !takesNull(direct);
  const [one, two] = args;
  if (args.length === 1 && one && !resultCost) {
    return (frame) => {
      const a = one(frame);
      if (a === null && checksNull) throw noSuchOverload();
      if (cost) charge(frame, cost([a]));
      else frame.cost++;
      return call(a);
    };
  }
  if (args.length === 2 && one && two && !resultCost) {
    return (frame) => {
      const a = one(frame);
      const b = two(frame);
      if ((a === null || b === null) && checksNull) throw noSuchOverload();
      if (cost) charge(frame, cost([a, b]));
      else frame.cost++;
      return call(a, b);
    };
  }
  return (frame) => {
    const values = args.map((arg) => arg(frame));
    if (checksNull && values.includes(null)) throw noSuchOverload();
    return pricedCall(frame, direct, values);
  };
}

function pricedCall(frame: Frame, { call, cost, resultCost }: Overload, values: readonly CelValue[]): CelValue {
  if (cost) charge(frame, cost(values));
  const result = (call as (...given: readonly CelValue[]) => CelValue)(...values);
  if (!cost) charge(frame, resultCost ? resultCost(result) : 1);
  return result;
}

function dynamicCall(args: readonly Evaluate[], overloads: readonly Overload[]): Evaluate {
  return (frame) => {
    const values = args.map((arg) => arg(frame));
    const found = overloads.find((overload) => overload.args.every((type, i) => accepts(type, values[i]!)));
    if (!found) throw noSuchOverload();
    return pricedCall(frame, found, values);
  };
}

/** Does the value fit the type, as far as one look tells? Of a list, the first element stands for all. */
export function accepts(type: CelType, value: CelValue): boolean {
  switch (type.kind) {
    case "dyn":
    case "param":
      return true;
    case "bool":
      return typeof value === "boolean";
    case "int":
      return typeof value === "number" || typeof value === "bigint";
    case "uint":
      return value instanceof Uint;
    case "double":
      return value instanceof Double;
    case "string":
      return typeof value === "string";
    case "bytes":
      return value instanceof Uint8Array;
    case "null":
      return value === null;
    case "timestamp":
      return value instanceof Timestamp;
    case "duration":
      return value instanceof Duration;
    case "list":
      return Array.isArray(value) && (value.length === 0 || accepts(type.params[0]!, fromJson(value[0])));
    case "map":
      return isMap(value);
    case "object":
      return isMap(value) || (value instanceof StructValue && value.type.name === type.name);
    case "type":
      return value instanceof TypeValue;
    case "wrapper":
      return value === null || accepts(type.params[0]!, value);
    case "opaque":
      return value instanceof CelObject && value.type.name === type.name && (!isOptional(type) || fits(type, value));
    default:
      return false;
  }
}

function fits(type: CelType, value: CelValue): boolean {
  const inner = value instanceof Optional ? value.value : undefined;
  return inner === undefined || accepts(type.params[0]!, inner);
}

/** && (decided by false) and || (decided by true): a decided side makes an error of the other one harmless. */
function logical(left: Evaluate, right: Evaluate, decisive: boolean): Evaluate {
  return (frame) => {
    const a = attempt(left, frame);
    if (a === decisive) return decisive;
    const b = attempt(right, frame);
    if (b === decisive) return decisive;
    if (a === !decisive && b === !decisive) return !decisive;
    if (a instanceof CelError) throw a;
    if (b instanceof CelError) throw b;
    throw noSuchOverload();
  };
}

/** The fields of a value; undefined: it has none, as null. */
function fieldsOf(value: CelValue): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}

/** What is neither a map nor a list has no keys; a list has only numbers. */
function keyed(value: CelValue, field: string): value is CelMap | { readonly [key: string]: unknown } {
  if (Array.isArray(value)) elementAt(value, field);
  return isMap(value);
}

export function optionalOf(value: CelValue): Optional {
  if (!(value instanceof Optional)) throw noSuchOverload();
  return value;
}

function selectField(of: CelValue, field: string): CelValue {
  if (of instanceof Optional) {
    // What is there but has no fields is not absent.
    if (of.value !== undefined && !keyed(of.value, field)) throw noSuchKey(field);
    return of.value === undefined ? of : optionalField(of.value, field);
  }
  if (of instanceof StructValue) return of.get(field);
  const value = keyed(of, field) ? mapGet(of, field) : undefined;
  if (value === undefined) throw noSuchKey(field);
  return value;
}

function optionalField(of: CelValue, field: string): Optional {
  if (of instanceof Optional) return of.value === undefined ? of : optionalField(of.value, field);
  const value = keyed(of, field) ? mapGet(of, field) : undefined;
  return value === undefined ? Optional.none : new Optional(value);
}

function hasField(of: CelValue, field: string): boolean {
  if (of instanceof Optional) return of.value !== undefined && hasField(of.value, field);
  if (of instanceof StructValue) return of.has(field);
  return keyed(of, field) && mapGet(of, field) !== undefined;
}
