/** Literals that cannot work are refused before anything runs, as cel-go's validators do. */
import type { Expr } from "./ast.ts";
import { nodesOf } from "./checker.ts";
import type { CelIssue } from "./issues.ts";
import { checkFormat } from "./library/format-text.ts";
import { parseExactDuration, parseTimestamp } from "./library/times.ts";
import { patternFault } from "./regex.ts";
import { type CelType, formatType, sameType } from "./types.ts";
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

/** All of one type? An optional entry counts by what is in it. */
function mismatch(entries: readonly { readonly value: Expr; readonly optional: boolean }[]): CelIssue | undefined {
  let wanted: CelType | undefined;
  for (const { value, optional } of entries) {
    const type = optional ? (value.type!.params[0] ?? value.type!) : value.type!;
    wanted ??= type;
    if (sameType(wanted, type)) continue;
    return { offset: value.at, message: `expected type '${formatType(wanted)}' but found '${formatType(type)}'` };
  }
  return undefined;
}

/** Everything inside the arguments of format() may be of any type. */
function exemptNodes(expr: Expr): Set<Expr> {
  const exempt = new Set<Expr>();
  for (const node of nodesOf(expr)) {
    if (node.kind === "call" && node.name === "format") for (const inner of nodesOf(node)) exempt.add(inner);
  }
  return exempt;
}

function checkMixtures(expr: Expr): CelIssue[] {
  const issues: CelIssue[] = [];
  const exempt = exemptNodes(expr);
  for (const node of nodesOf(expr)) {
    if (exempt.has(node)) continue;
    const found =
      node.kind === "list"
        ? [mismatch(node.items)]
        : node.kind === "map"
          ? [mismatch(node.entries.map(({ key }) => ({ value: key, optional: false }))), mismatch(node.entries)]
          : [];
    issues.push(...found.filter((issue) => issue !== undefined));
  }
  return issues;
}

/** `mixed`: lists may hold values of several types. */
export function checkLiterals(expr: Expr, mixed = false): CelIssue[] {
  const issues: CelIssue[] = mixed ? [] : checkMixtures(expr);
  for (const node of nodesOf(expr)) {
    if (node.kind !== "call") continue;
    const format = checkFormat(node);
    if (format) issues.push(format);
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
