/** From a text to something that can be run: parse, check, estimate, compile. */
import type { Expr } from "./ast.ts";
import { checkCel, nodesOf } from "./checker.ts";
import { Compiler } from "./compile.ts";
import { kubernetesFunctions } from "./environment.ts";
import { estimateCost } from "./estimate.ts";
import type { Evaluate, Frame } from "./frame.ts";
import type { Functions, SizeEstimator, Variable } from "./functions.ts";
import { CelCompileError } from "./issues.ts";
import { checkLiterals } from "./literals.ts";
import { type ParseOptions, parseCel } from "./parser.ts";
import type { SizeRange } from "./sizes.ts";
import type { CelType } from "./types.ts";
import { CelError, type CelValue } from "./values.ts";

export interface CompileOptions extends ParseOptions {
  readonly variables: readonly Variable[];
  /** Absent: Kubernetes' environment. */
  readonly functions?: Functions;
  /** Types of objects that the expression may make, by name; absent: none. */
  readonly structs?: (name: string) => CelType | undefined;
  /** May a list hold values of several types? Kubernetes says no. */
  readonly mixedLiterals?: boolean;
}

/** What came out, or why nothing did; and what it cost either way. */
export type Outcome =
  | { readonly value: CelValue; readonly error?: undefined; readonly cost: number }
  | { readonly value?: undefined; readonly error: CelError; readonly cost: number };

/** A compiled expression; safe to run any number of times. */
export class CelProgram {
  readonly source: string;
  readonly type: CelType;
  readonly expr: Expr;
  readonly #slots: number;
  readonly #evaluate: Evaluate;

  constructor(source: string, { variables, functions = kubernetesFunctions, ...options }: CompileOptions) {
    this.source = source;
    this.expr = parseCel(source, options);
    this.type = checkCel(source, this.expr, { functions, variables, structs: options.structs });
    const issues = checkLiterals(this.expr, options.mixedLiterals);
    if (issues.length > 0) throw new CelCompileError(source, issues);
    const compiler = new Compiler(variables);
    this.#evaluate = compiler.compile(this.expr);
    this.#slots = compiler.slots;
  }

  /** Is the variable read anywhere? */
  reads(variable: string): boolean {
    for (const node of nodesOf(this.expr)) if (node.kind === "ident" && node.name === variable) return true;
    return false;
  }

  /** What it costs at least and at most. */
  estimate(sizes: SizeEstimator): SizeRange {
    return estimateCost(this.expr, sizes);
  }

  /**
   * Runs it. `values` in the order of the variables; undefined: not there. Beyond `costLimit` the outcome is the error
   * CelCostExceeded.
   */
  run(values: readonly (CelValue | undefined)[], costLimit = Number.POSITIVE_INFINITY): Outcome {
    const slots = values.slice();
    slots.length = this.#slots;
    const frame: Frame = { slots, cost: 0, limit: costLimit };
    try {
      return { value: this.#evaluate(frame), cost: frame.cost };
    } catch (error) {
      if (error instanceof CelError) return { error, cost: frame.cost };
      throw error;
    }
  }
}
