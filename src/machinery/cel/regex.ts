/** Regular expressions from users, run by RE2 in linear time; compiled ones are kept. */
import { type Matcher, RE2JS } from "re2js";
import { CelError } from "./values.ts";

const compiled = new Map<string, RE2JS>();
/** A cluster's rules have some hundreds; a stream of ever new ones must not fill the memory. */
const maxCompiled = 1000;

function compile(pattern: string): RE2JS {
  let expression = compiled.get(pattern);
  if (!expression) {
    try {
      expression = RE2JS.compile(pattern);
    } catch (error) {
      throw new CelError(`error parsing regexp: ${(error as Error).message.replace(/^error parsing regexp: /, "")}`);
    }
    if (compiled.size >= maxCompiled) compiled.clear();
    compiled.set(pattern, expression);
  }
  return expression;
}

/** Why a pattern is none; undefined when it is one. */
export function patternFault(pattern: string): string | undefined {
  try {
    compile(pattern);
    return undefined;
  } catch (error) {
    return (error as CelError).message;
  }
}

/** Is there a match anywhere in the text? Throws CelError for what is no pattern. */
export function matches(text: string, pattern: string): boolean {
  return compile(pattern).matcher(text).find();
}

/** The texts of up to `limit` matches (negative: all). Throws CelError. */
export function findMatches(text: string, pattern: string, limit: number): string[] {
  const matcher: Matcher = compile(pattern).matcher(text);
  const found: string[] = [];
  while ((limit < 0 || found.length < limit) && matcher.find()) found.push(matcher.group() ?? "");
  return found;
}
