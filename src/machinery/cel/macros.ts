/** The macros of Kubernetes' environment, expanded as cel-go does it: costs are counted on what they become. */
import type { Expr, FoldMacro, FoldNode } from "./ast.ts";
import { make } from "./nodes.ts";

/** A name that no source can spell. */
export const accumulator = "@result";

interface Fold {
  readonly at: number;
  readonly macro: FoldMacro;
  readonly range: Expr;
  readonly vars: readonly [string, string?];
  readonly accuVar?: string;
  readonly init: Expr;
  readonly condition: Expr;
  readonly step: Expr;
  readonly result: Expr;
}

function fold({ at, macro, range, vars, accuVar = accumulator, init, condition, step, result }: Fold): FoldNode {
  const depth = 1 + Math.max(range.depth, init.depth, condition.depth, step.depth, result.depth);
  const [iterVar, iterVar2] = vars;
  return { kind: "fold", at, depth, macro, range, iterVar, iterVar2, accuVar, init, condition, step, result };
}

type Expand = (at: number, range: Expr, vars: readonly [string, string?], args: readonly Expr[]) => Expr;

const accu = (at: number) => make.ident(at, accumulator);
const yes = (at: number) => make.literal(at, true);
const plain = (value: Expr) => ({ value, optional: false });

const all: Expand = (at, range, vars, [predicate]) =>
  fold({
    at,
    macro: { name: "all", predicate: predicate! },
    range,
    vars,
    init: yes(at),
    condition: make.call(at, "@not_strictly_false", [accu(at)]),
    step: make.call(at, "_&&_", [accu(at), predicate!]),
    result: accu(at),
  });

const exists: Expand = (at, range, vars, [predicate]) =>
  fold({
    at,
    macro: { name: "exists", predicate: predicate! },
    range,
    vars,
    init: make.literal(at, false),
    condition: make.call(at, "@not_strictly_false", [make.call(at, "!_", [accu(at)])]),
    step: make.call(at, "_||_", [accu(at), predicate!]),
    result: accu(at),
  });

const existsOne: Expand = (at, range, vars, [predicate]) =>
  fold({
    at,
    macro: { name: "exists_one", predicate: predicate! },
    range,
    vars,
    init: make.literal(at, 0),
    condition: yes(at),
    step: make.call(at, "_?_:_", [predicate!, make.call(at, "_+_", [accu(at), make.literal(at, 1)]), accu(at)]),
    result: make.call(at, "_==_", [accu(at), make.literal(at, 1)]),
  });

/** map(x, transform), map(x, filter, transform), transformList(i, v, …) */
const map: Expand = (at, range, vars, args) => {
  const [filter, transform] = args.length === 2 ? [args[0], args[1]!] : [undefined, args[0]!];
  const append = make.call(at, "_+_", [accu(at), make.list(at, [plain(transform)])]);
  return fold({
    at,
    macro: { name: "map", filter, transform },
    range,
    vars,
    init: make.list(at, []),
    condition: yes(at),
    step: filter ? make.call(at, "_?_:_", [filter, append, accu(at)]) : append,
    result: accu(at),
  });
};

const filter: Expand = (at, range, vars, [predicate]) => map(at, range, vars, [predicate!, make.ident(at, vars[0])]);

const transformMap =
  (name: "transformMap" | "transformMapEntry"): Expand =>
  (at, range, vars, args) => {
    const [filter, transform] = args.length === 2 ? [args[0], args[1]!] : [undefined, args[0]!];
    const values = name === "transformMap" ? [accu(at), make.ident(at, vars[0]), transform] : [accu(at), transform];
    const insert = make.call(at, "cel.@mapInsert", values);
    return fold({
      at,
      macro: { name, filter, transform },
      range,
      vars,
      init: make.map(at, []),
      condition: yes(at),
      step: filter ? make.call(at, "_?_:_", [filter, insert, accu(at)]) : insert,
      result: accu(at),
    });
  };

/** By name and how many arguments follow the variables. */
const oneVariable: Readonly<Record<string, Expand>> = {
  "all:1": all,
  "exists:1": exists,
  "exists_one:1": existsOne,
  "existsOne:1": existsOne,
  "map:1": map,
  "map:2": map,
  "filter:1": filter,
};
const twoVariables: Readonly<Record<string, Expand>> = {
  "all:1": all,
  "exists:1": exists,
  "exists_one:1": existsOne,
  "existsOne:1": existsOne,
  "transformList:1": map,
  "transformList:2": map,
  "transformMap:1": transformMap("transformMap"),
  "transformMap:2": transformMap("transformMap"),
  "transformMapEntry:1": transformMap("transformMapEntry"),
  "transformMapEntry:2": transformMap("transformMapEntry"),
};
const own = (table: Readonly<Record<string, Expand>>, key: string) =>
  Object.hasOwn(table, key) ? table[key] : undefined;

/** target.optMap(x, f): f of the value, when there is one. */
function optional(at: number, flat: boolean, target: Expr, name: string, body: Expr): Expr {
  const bind = fold({
    at,
    macro: { name: "bind" },
    range: make.list(at, []),
    vars: ["#unused"],
    accuVar: name,
    init: make.call(at, "value", [], target),
    condition: make.literal(at, false),
    step: make.ident(at, name),
    result: body,
  });
  const namespace = () => make.ident(at, "optional");
  const some = flat ? bind : make.call(at, "of", [bind], namespace());
  return make.call(at, "_?_:_", [make.call(at, "hasValue", [], target), some, make.call(at, "none", [], namespace())]);
}

/** list.sortBy(x, key) */
function sortBy(at: number, target: Expr, name: string, key: Expr): Expr {
  const input = "@sort_input";
  const keys = map(at, make.ident(at, input), [name], [key]);
  return fold({
    at,
    macro: { name: "bind" },
    range: make.list(at, []),
    vars: ["#unused"],
    accuVar: input,
    init: target,
    condition: make.literal(at, false),
    step: make.ident(at, input),
    result: make.call(at, "@sortByAssociatedKeys", [keys], make.ident(at, input)),
  });
}

const conditional = new Set(["all", "exists", "exists_one", "existsOne"]);

/** What a call becomes when it is a macro; undefined when it is none, or its variables are no names. */
export function expandMacro(
  at: number,
  name: string,
  args: readonly Expr[],
  target: Expr | undefined,
  report: (at: number, message: string) => void,
): Expr | undefined {
  if (!target) {
    if (name !== "has" || args.length !== 1) return undefined;
    const [field] = args as [Expr];
    if (field.kind === "select" && !field.test) return make.select(at, field.operand, field.field, true);
    report(field.at, "invalid argument to has() macro");
    return undefined;
  }
  const alone = ["optMap", "optFlatMap", "sortBy"].includes(name) && args.length === 2;
  const two = own(twoVariables, `${name}:${args.length - 2}`);
  const one = own(oneVariable, `${name}:${args.length - 1}`);
  if (!alone && !one && !two) return undefined;
  const variables = args.slice(0, two && !one ? 2 : 1);
  const names: string[] = [];
  for (const variable of variables) {
    if (variable.kind === "ident" && variable.name !== accumulator && !variable.name.startsWith(".")) {
      names.push(variable.name);
      continue;
    }
    const message =
      conditional.has(name) || alone || variables.length > 1
        ? "argument must be a simple name"
        : "argument is not an identifier";
    report(variable.at, message);
  }
  if (names.length < variables.length) return undefined;
  if (name === "sortBy") return sortBy(at, target, names[0]!, args[1]!);
  if (alone) return optional(at, name === "optFlatMap", target, names[0]!, args[1]!);
  if (variables.length === 2 && names[0] === names[1]) {
    report(variables[1]!.at, "duplicate variable name");
    return undefined;
  }
  const rest = args.slice(variables.length);
  return (one ?? two)!(at, target, [names[0]!, names[1]], rest);
}
