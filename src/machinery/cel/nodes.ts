import type { CallNode, Expr, IdentNode, ListNode, LiteralNode, MapNode, SelectNode, StructNode } from "./ast.ts";
import type { CelValue } from "./values.ts";

/** Makes nodes; all places of an expanded macro are the call's. */
export const make = {
  literal: (at: number, value: CelValue): LiteralNode => ({ kind: "literal", at, depth: 1, value }),
  ident: (at: number, name: string): IdentNode => ({ kind: "ident", at, depth: 1, name }),
  select: (at: number, operand: Expr, field: string, test = false): SelectNode => ({
    kind: "select",
    at,
    depth: operand.depth + 1,
    operand,
    field,
    test,
  }),
  call: (at: number, name: string, args: readonly Expr[], target?: Expr): CallNode => ({
    kind: "call",
    at,
    depth: 1 + args.reduce((depth, arg) => Math.max(depth, arg.depth), target?.depth ?? 0),
    target,
    name,
    args,
  }),
  list: (at: number, items: ListNode["items"]): ListNode => ({
    kind: "list",
    at,
    depth: 1 + items.reduce((depth, { value }) => Math.max(depth, value.depth), 0),
    items,
  }),
  map: (at: number, entries: MapNode["entries"]): MapNode => ({
    kind: "map",
    at,
    depth: 1 + entries.reduce((depth, { key, value }) => Math.max(depth, key.depth, value.depth), 0),
    entries,
  }),
  struct: (at: number, name: string, fields: StructNode["fields"]): StructNode => ({
    kind: "struct",
    at,
    depth: 1 + fields.reduce((depth, { value }) => Math.max(depth, value.depth), 0),
    name,
    fields,
  }),
};
