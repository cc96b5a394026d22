/**
 * The tree of an expression. The checker notes types, overloads and references in it; macros are expanded by the parser
 * the way cel-go does, since costs are counted on the expanded form.
 */
import type { Overload } from "./functions.ts";
import type { CelType } from "./types.ts";
import type { CelValue } from "./values.ts";

interface NodeBase {
  /** Where cel-go would point: the operator, the dot, the opening bracket; in UTF-16 units. */
  readonly at: number;
  /** Nodes on the longest way down, this one included. */
  readonly depth: number;
  /** Set by the checker. */
  type?: CelType;
}

export interface LiteralNode extends NodeBase {
  readonly kind: "literal";
  readonly value: CelValue;
}

export interface IdentNode extends NodeBase {
  readonly kind: "ident";
  readonly name: string;
  /** Set by the checker: the type that this name stands for, when it is no variable. */
  typeValue?: CelType;
}

export interface SelectNode extends NodeBase {
  readonly kind: "select";
  readonly operand: Expr;
  readonly field: string;
  /** has(operand.field) */
  readonly test: boolean;
  /** Set by the checker: the whole chain is a variable of this name ("authorizer.requestResource"). */
  variable?: string;
  typeValue?: CelType;
}

export interface CallNode extends NodeBase {
  readonly kind: "call";
  readonly target: Expr | undefined;
  readonly name: string;
  readonly args: readonly Expr[];
  /** Set by the checker: "ip" and "isCanonical" are one function of that namespace, not a member of a variable. */
  global?: string;
  overloads?: readonly Overload[];
}

export interface ListNode extends NodeBase {
  readonly kind: "list";
  readonly items: readonly { readonly value: Expr; readonly optional: boolean }[];
}

export interface MapNode extends NodeBase {
  readonly kind: "map";
  readonly entries: readonly {
    readonly at: number;
    readonly key: Expr;
    readonly value: Expr;
    readonly optional: boolean;
  }[];
}

export interface StructNode extends NodeBase {
  readonly kind: "struct";
  readonly name: string;
  readonly fields: readonly {
    readonly at: number;
    readonly name: string;
    readonly value: Expr;
    readonly optional: boolean;
  }[];
}

/** What a fold was written as; "bind" evaluates `accuInit` once and gives it a name (optMap). */
export type FoldMacro =
  | { readonly name: "all" | "exists" | "exists_one"; readonly predicate: Expr }
  | { readonly name: "map"; readonly filter: Expr | undefined; readonly transform: Expr }
  | { readonly name: "transformMap"; readonly filter: Expr | undefined; readonly transform: Expr }
  | { readonly name: "transformMapEntry"; readonly filter: Expr | undefined; readonly transform: Expr }
  | { readonly name: "bind" };

export interface FoldNode extends NodeBase {
  readonly kind: "fold";
  readonly macro: FoldMacro;
  readonly range: Expr;
  readonly iterVar: string;
  readonly iterVar2: string | undefined;
  readonly accuVar: string;
  readonly init: Expr;
  readonly condition: Expr;
  readonly step: Expr;
  readonly result: Expr;
}

export type Expr = LiteralNode | IdentNode | SelectNode | CallNode | ListNode | MapNode | StructNode | FoldNode;
