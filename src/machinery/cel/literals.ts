/** Literals that cannot work are refused before anything runs, as cel-go's validators do. */
import type { Expr } from "./ast.ts";
import { nodesOf } from "./checker.ts";
import type { CelIssue } from "./issues.ts";
import { parseExactDuration, parseTimestamp } from "./library/times.ts";
import { patternFault } from "./regex.ts";
import { CelError } from "./values.ts";

function fault(parse: (text: string) => unknown, text: string): string | undefined {
  try {
    parse(text);
    return undefined;
  } catch (error) {
    if (error instanceof CelError) return error.message;
    throw error;
  }
}

export function checkLiterals(expr: Expr): CelIssue[] {
  const issues: CelIssue[] = [];
  for (const node of nodesOf(expr)) {
    if (node.kind !== "call") continue;
    const { name, args, target } = node;
    const [first, second] = args;
    const pattern = name === "matches" ? (target ? first : second) : undefined;
    const literal = pattern ?? (target ? undefined : first);
    if (literal?.kind !== "literal" || typeof literal.value !== "string") continue;
    const { value, at } = literal;
    if (pattern && patternFault(value) !== undefined) issues.push({ offset: at, message: "invalid matches argument" });
    else if (name === "duration" && fault(parseExactDuration, value) !== undefined) {
      issues.push({ offset: at, message: "invalid duration argument" });
    } else if (name === "timestamp" && fault(parseTimestamp, value) !== undefined) {
      issues.push({ offset: at, message: "invalid timestamp argument" });
    }
  }
  return issues;
}
