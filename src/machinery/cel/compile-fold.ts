/**
 * Loops. What a macro expands to is only counted, not run: each loop below does directly what the expanded form
 * would, and charges what that would cost.
 */
import type { FoldNode } from "./ast.ts";
import type { Compiler } from "./compile.ts";
import { attempt, charge, type Evaluate, type Frame } from "./frame.ts";
import { costs } from "./sizes.ts";
import { CelError, CelMap, type CelValue, fromJson, insert, isMap, mapGet, mapKeys, noSuchOverload } from "./values.ts";

/** What each round costs besides the parts that were written: reading the accumulator, the condition, appending. */
const roundCost = {
  all: 3,
  exists: 4,
  counted: 2,
  appended: 2 + costs.list,
  insertedAll: 2,
  inserted: 3,
} as const;

interface Loop {
  readonly range: Evaluate;
  readonly slot: number;
  /** Of the second variable. */
  readonly slot2: number | undefined;
}

/** Calls `round` for each element, its variables set, until that returns false. Were there more? */
function each({ range, slot, slot2 }: Loop, frame: Frame, round: () => boolean): boolean {
  const values = range(frame);
  const { slots } = frame;
  if (Array.isArray(values)) {
    for (let i = 0; i < values.length; i++) {
      if (slot2 === undefined) slots[slot] = fromJson(values[i]);
      else {
        slots[slot] = i;
        slots[slot2] = fromJson(values[i]);
      }
      if (!round()) return i + 1 < values.length;
    }
    return false;
  }
  if (!isMap(values)) throw noSuchOverload();
  const keys = mapKeys(values);
  for (const [i, key] of keys.entries()) {
    slots[slot] = key;
    if (slot2 !== undefined) slots[slot2] = mapGet(values, key)!;
    if (!round()) return i + 1 < keys.length;
  }
  return false;
}

const isTrue = (value: CelValue): boolean => {
  if (typeof value !== "boolean") throw noSuchOverload();
  return value;
};

/** all() and exists(): errors count only when no element decides. */
function quantifier(loop: Loop, predicate: Evaluate, decisive: boolean): Evaluate {
  const cost = decisive ? roundCost.exists : roundCost.all;
  return (frame) => {
    let error: CelError | undefined;
    let decided = false;
    const stopped = each(loop, frame, () => {
      charge(frame, cost);
      const value = attempt(predicate, frame);
      if (value === decisive) decided = true;
      else if (value instanceof CelError) error = value;
      else if (typeof value !== "boolean") error = noSuchOverload();
      return !decided;
    });
    // The condition, once more, that ends the loop early.
    if (stopped) frame.cost += cost - 1;
    frame.cost += costs.identifier;
    if (decided) return decisive;
    if (error) throw error;
    return !decisive;
  };
}

function existsOne(loop: Loop, predicate: Evaluate): Evaluate {
  return (frame) => {
    let count = 0;
    each(loop, frame, () => {
      const found = isTrue(predicate(frame));
      if (found) {
        charge(frame, roundCost.counted);
        count++;
      }
      return true;
    });
    frame.cost += 2;
    return count === 1;
  };
}

function mapping(loop: Loop, filter: Evaluate | undefined, transform: Evaluate): Evaluate {
  return (frame) => {
    const list: CelValue[] = [];
    each(loop, frame, () => {
      if (!filter || isTrue(filter(frame))) {
        list.push(transform(frame));
        charge(frame, roundCost.appended);
      }
      return true;
    });
    frame.cost += costs.identifier;
    return list;
  };
}

function mapMaking(loop: Loop, filter: Evaluate | undefined, transform: Evaluate, whole: boolean): Evaluate {
  return (frame) => {
    const map = new CelMap();
    each(loop, frame, () => {
      if (filter && !isTrue(filter(frame))) return true;
      const value = transform(frame);
      charge(frame, whole ? roundCost.insertedAll : roundCost.inserted);
      if (!whole) insert(map, frame.slots[loop.slot]!, value);
      else if (isMap(value)) for (const key of mapKeys(value)) insert(map, key, mapGet(value, key)!);
      else throw noSuchOverload();
      return true;
    });
    frame.cost += costs.identifier;
    return map;
  };
}

export function compileFold(compiler: Compiler, fold: FoldNode): Evaluate {
  const { macro } = fold;
  if (macro.name === "bind") {
    const init = compiler.compile(fold.init);
    const slot = compiler.push(fold.accuVar);
    const result = compiler.compile(fold.result);
    compiler.pop(fold.accuVar);
    return (frame) => {
      frame.slots[slot] = init(frame);
      return result(frame);
    };
  }
  const range = compiler.compile(fold.range);
  const slot = compiler.push(fold.iterVar);
  const slot2 = fold.iterVar2 === undefined ? undefined : compiler.push(fold.iterVar2);
  const loop: Loop = { range, slot, slot2 };
  const evaluate = compileLoop(compiler, loop, macro);
  compiler.pop(fold.iterVar);
  if (fold.iterVar2 !== undefined) compiler.pop(fold.iterVar2);
  return evaluate;
}

function compileLoop(compiler: Compiler, loop: Loop, macro: Exclude<FoldNode["macro"], { name: "bind" }>): Evaluate {
  switch (macro.name) {
    case "all":
    case "exists":
      return quantifier(loop, compiler.compile(macro.predicate), macro.name === "exists");
    case "exists_one":
      return existsOne(loop, compiler.compile(macro.predicate));
    default: {
      const filter = macro.filter && compiler.compile(macro.filter);
      const transform = compiler.compile(macro.transform);
      if (macro.name === "map") return mapping(loop, filter, transform);
      return mapMaking(loop, filter, transform, macro.name === "transformMapEntry");
    }
  }
}
