/** Functions, their overloads, and the environment that expressions are compiled in. */
import type { SizeRange } from "./sizes.ts";
import type { CelType } from "./types.ts";
import type { CelValue } from "./values.ts";

export interface Overload {
  /** cel-go's id: costs and tests go by it. */
  readonly id: string;
  /** Called on a value: x.f(). */
  readonly member: boolean;
  /** With the target of a member first. */
  readonly args: readonly CelType[];
  readonly result: CelType;
  /** Evaluates it. Throws CelError. */
  readonly call: (...args: never[]) => CelValue;
  /** What a call costs; absent: 1. Charged before the call, so that none too long is begun. */
  readonly cost?: (args: readonly CelValue[]) => number;
  /** What it costs by what came out, where only that tells. */
  readonly resultCost?: (result: CelValue) => number;
}

export interface CelFunction {
  readonly name: string;
  readonly overloads: readonly Overload[];
}

type Call = (...args: never[]) => CelValue;

const overload =
  (member: boolean) =>
  (id: string, args: readonly CelType[], result: CelType, call: Call, cost?: Overload["cost"]): Overload => ({
    id,
    member,
    args,
    result,
    call,
    ...(cost ? { cost } : {}),
  });

/** f(x) */
export const global = overload(false);
/** x.f() */
export const member = overload(true);

/** An overload whose cost only its result tells. */
export const pricedByResult = (of: Overload, resultCost: (result: CelValue) => number): Overload => ({
  ...of,
  resultCost,
});

export type Library = readonly (readonly [name: string, ...overloads: Overload[]])[];

export interface Variable {
  readonly name: string;
  /** Absent: it has its place among the values, but expressions do not know it. */
  readonly type?: CelType | undefined;
}

/** The functions that are there; variables come with each expression. */
export class Functions {
  readonly #byName = new Map<string, CelFunction>();

  constructor(...libraries: Library[]) {
    for (const library of libraries) {
      for (const [name, ...overloads] of library) {
        const present = this.#byName.get(name)?.overloads ?? [];
        this.#byName.set(name, { name, overloads: [...present, ...overloads] });
      }
    }
  }

  find(name: string): CelFunction | undefined {
    return this.#byName.get(name);
  }
}

/** How large a value may be, by its path from a variable: ["self", "spec", "@items"]. */
export type SizeEstimator = (path: readonly string[]) => SizeRange | undefined;
