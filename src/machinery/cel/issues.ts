/** What is wrong with an expression, with cel-go's texts: people search for them, and tools parse them. */

export interface CelIssue {
  /** Where in the source, in UTF-16 units; -1: the whole expression. */
  readonly offset: number;
  readonly message: string;
}

/** An expression that does not compile. The message is what cel-go prints: place, line and caret of every issue. */
export class CelCompileError extends Error {
  readonly issues: readonly CelIssue[];

  constructor(source: string, issues: readonly CelIssue[]) {
    super(formatIssues(source, issues));
    this.name = "CelCompileError";
    this.issues = issues;
  }
}

interface Place {
  readonly line: number;
  /** Code points before it in its line. */
  readonly column: number;
  readonly text: string;
}

function placeOf(source: string, offset: number): Place {
  const start = source.lastIndexOf("\n", offset - 1) + 1;
  const end = source.indexOf("\n", start);
  let line = 1;
  for (let at = source.indexOf("\n"); at >= 0 && at < start; at = source.indexOf("\n", at + 1)) line++;
  return {
    line,
    column: [...source.slice(start, offset)].length,
    text: source.slice(start, end < 0 ? source.length : end),
  };
}

/** Characters of more than one byte take two cells in cel-go's listing. */
const isWide = (character: string) => character.codePointAt(0)! > 0x7f;

function format(source: string, { offset, message }: CelIssue): string {
  if (offset < 0) return `ERROR: <input>:-1:0: ${message}`;
  const { line, column, text } = placeOf(source, offset);
  const characters = [...text.replaceAll("\t", " ")];
  const dots = characters.slice(0, column).map((character) => (isWide(character) ? "．" : "."));
  const at = characters[column];
  const caret = at !== undefined && isWide(at) ? "＾" : "^";
  return `ERROR: <input>:${line}:${column + 1}: ${message}\n | ${characters.join("")}\n | ${dots.join("")}${caret}`;
}

/** The listing of issues in the order of the source. */
export function formatIssues(source: string, issues: readonly CelIssue[]): string {
  return [...issues]
    .sort((a, b) => a.offset - b.offset)
    .map((issue) => format(source, issue))
    .join("\n");
}
