/** The state of one evaluation: variables by slot, and what it has cost. */
import { CelCostExceeded, CelError, type CelValue } from "./values.ts";

export interface Frame {
  readonly slots: (CelValue | undefined)[];
  cost: number;
  readonly limit: number;
}

export type Evaluate = (frame: Frame) => CelValue;

/** Adds to the cost. Throws {@link CelCostExceeded} beyond the limit; loops and long steps must call it. */
export function charge(frame: Frame, cost: number): void {
  frame.cost += cost;
  if (frame.cost > frame.limit) throw new CelCostExceeded();
}

/** The value or the error of a step; nothing but the cost limit comes through as an exception. */
export function attempt(evaluate: Evaluate, frame: Frame): CelValue | CelError {
  try {
    return evaluate(frame);
  } catch (error) {
    if (error instanceof CelError && !(error instanceof CelCostExceeded)) return error;
    throw error;
  }
}
