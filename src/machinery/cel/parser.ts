/** Tokens to a tree, macros expanded. Source: the CEL language definition's grammar, with cel-go's places and texts. */
import type { Expr } from "./ast.ts";
import { CelCompileError, type CelIssue } from "./issues.ts";
import { type Token, tokenize, unquote } from "./lexer.ts";
import { expandMacro } from "./macros.ts";
import { make } from "./nodes.ts";
import { canonicalInt, Double, Uint } from "./values.ts";

/** cel-go's limits: what goes deeper or is longer is refused, so that everything that walks a tree may recurse. */
const maxDepth = 250;
const maxCodePoints = 100_000;

const reserved = new Set(
  "as break const continue else for function if import let loop package namespace return var void while".split(" "),
);
const keywords = new Set(["in", "true", "false", "null"]);
const expectedStart =
  "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

const relations = new Set(["<", "<=", ">=", ">", "==", "!="]);

export interface ParseOptions {
  /** Fields in back quotes, a.`b-c`; Kubernetes has them off. */
  readonly escapedFields?: boolean;
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #source: string;
  readonly #options: ParseOptions;
  /** Wrong, but the rest can still be read. */
  readonly issues: CelIssue[] = [];
  readonly report = (at: number, message: string): void => {
    this.issues.push({ offset: at, message });
  };
  #next = 0;
  #nesting = 0;

  constructor(source: string, options: ParseOptions) {
    this.#source = source;
    this.#options = options;
    this.#tokens = tokenize(source, this.report);
  }

  get #token(): Token {
    return this.#tokens[this.#next]!;
  }

  #is(text: string, ahead = 0): boolean {
    const token = this.#tokens[Math.min(this.#next + ahead, this.#tokens.length - 1)]!;
    return token.text === text && (token.kind === "symbol" || (token.kind === "ident" && keywords.has(text)));
  }

  #take(text: string): Token | undefined {
    return this.#is(text) ? this.#tokens[this.#next++] : undefined;
  }

  #fail(message: string, at = this.#token.at): never {
    throw new CelCompileError(this.#source, [...this.issues, { offset: at, message }]);
  }

  #unexpected(expected: string): never {
    this.#fail(`Syntax error: mismatched input '${this.#token.text}' expecting ${expected}`);
  }

  #expect(text: string, expected = `'${text}'`): Token {
    const token = this.#take(text);
    if (token) return token;
    // With one choice only, a token too few or too many is told as such.
    if (expected === `'${text}'`) {
      if (this.#is(text, 1)) this.#fail(`Syntax error: extraneous input '${this.#token.text}' expecting ${expected}`);
      if (this.#token.kind === "end" && text !== ":") this.#fail(`Syntax error: missing ${expected} at '<EOF>'`);
    }
    return this.#unexpected(expected);
  }

  #limited<Node extends Expr>(node: Node): Node {
    if (node.depth > maxDepth) this.#fail("max recursion depth exceeded", -1);
    return node;
  }

  parse(): Expr {
    const expr = this.#expr();
    if (this.#token.kind !== "end") {
      const what = this.#tokens[this.#next + 1]?.kind === "end" ? "extraneous" : "mismatched";
      this.#fail(`Syntax error: ${what} input '${this.#token.text}' expecting <EOF>`);
    }
    return expr;
  }

  #expr(): Expr {
    if (++this.#nesting > maxDepth) this.#fail(`expression recursion limit exceeded: ${maxDepth}`, -1);
    const condition = this.#or();
    const question = this.#take("?");
    let expr = condition;
    if (question) {
      const yes = this.#or();
      this.#expect(":");
      const no = this.#expr();
      expr = this.#limited(make.call(question.at, "_?_:_", [condition, yes, no]));
    }
    this.#nesting--;
    return expr;
  }

  #or(): Expr {
    return this.#balanced("||", "_||_", () => this.#balanced("&&", "_&&_", () => this.#relation()));
  }

  /** Chains of && and || become balanced trees, so that long ones stay flat. */
  #balanced(symbol: string, name: string, operand: () => Expr): Expr {
    const terms = [operand()];
    const places: number[] = [];
    for (let token = this.#take(symbol); token; token = this.#take(symbol)) {
      places.push(token.at);
      terms.push(operand());
    }
    const build = (low: number, high: number): Expr => {
      const middle = Math.floor((low + high + 1) / 2);
      const left = middle === low ? terms[middle]! : build(low, middle - 1);
      const right = middle === high ? terms[middle + 1]! : build(middle + 1, high);
      return this.#limited(make.call(places[middle]!, name, [left, right]));
    };
    return places.length === 0 ? terms[0]! : build(0, places.length - 1);
  }

  #relation(): Expr {
    let left = this.#sum();
    for (;;) {
      const { text, at, kind } = this.#token;
      const isIn = this.#is("in");
      if (!isIn && !(kind === "symbol" && relations.has(text))) return left;
      this.#next++;
      left = this.#limited(make.call(at, isIn ? "@in" : `_${text}_`, [left, this.#sum()]));
    }
  }

  #sum(): Expr {
    let left = this.#product();
    for (let token = this.#take("+") ?? this.#take("-"); token; token = this.#take("+") ?? this.#take("-")) {
      left = this.#limited(make.call(token.at, `_${token.text}_`, [left, this.#product()]));
    }
    return left;
  }

  #product(): Expr {
    let left = this.#unary();
    const operator = () => this.#take("*") ?? this.#take("/") ?? this.#take("%");
    for (let token = operator(); token; token = operator()) {
      left = this.#limited(make.call(token.at, `_${token.text}_`, [left, this.#unary()]));
    }
    return left;
  }

  #unary(): Expr {
    for (const [symbol, name] of [
      ["!", "!_"],
      ["-", "-_"],
    ] as const) {
      const first = this.#token;
      let count = 0;
      while (this.#is(symbol, count)) count++;
      if (count === 0) continue;
      const following = this.#tokens[this.#next + count]!;
      if (symbol === "-" && count === 1 && ["int", "float"].includes(following.kind)) break;
      this.#next += count;
      const operand = this.#member();
      return count % 2 === 0 ? operand : this.#limited(make.call(first.at, name, [operand]));
    }
    return this.#member();
  }

  #member(): Expr {
    let expr = this.#primary();
    for (;;) {
      const dot = this.#take(".");
      if (dot) {
        const optional = this.#take("?") !== undefined;
        const { kind, text, at } = this.#token;
        const isName = kind === "ident" && !keywords.has(text);
        if (!isName && kind !== "escaped") this.#unexpected(optional ? "{IDENTIFIER, ESC_IDENTIFIER}" : "IDENTIFIER");
        if (kind === "escaped" && !this.#options.escapedFields) this.#fail("unsupported syntax: '`'", at);
        this.#next++;
        const name = kind === "escaped" ? text.slice(1, -1) : text;
        const open = optional || kind === "escaped" ? undefined : this.#take("(");
        if (optional) expr = make.call(dot.at, "_?._", [expr, make.literal(at, name)]);
        else if (open) expr = this.#call(open.at, name, this.#args(), expr);
        else expr = make.select(dot.at, expr, name);
        this.#limited(expr);
        continue;
      }
      const bracket = this.#take("[");
      if (bracket) {
        const optional = this.#take("?") !== undefined;
        const index = this.#expr();
        this.#expect("]");
        expr = this.#limited(make.call(bracket.at, optional ? "_[?_]" : "_[_]", [expr, index]));
        continue;
      }
      const message = this.#is("{") ? qualifiedName(expr) : undefined;
      if (message === undefined) return expr;
      expr = this.#limited(this.#struct(message));
    }
  }

  #call(at: number, name: string, args: Expr[], target: Expr | undefined): Expr {
    return this.#limited(expandMacro(at, name, args, target, this.report) ?? make.call(at, name, args, target));
  }

  /** Arguments up to the closing parenthesis, which is taken. */
  #args(): Expr[] {
    const args: Expr[] = [];
    if (this.#take(")")) return args;
    do args.push(this.#expr());
    while (this.#take(","));
    this.#expect(")", "{',', ')'}");
    return args;
  }

  #primary(): Expr {
    const token = this.#token;
    const { kind, text, at } = token;
    if (kind === "symbol") {
      switch (text) {
        case "(": {
          this.#next++;
          const expr = this.#expr();
          this.#expect(")");
          return expr;
        }
        case "[":
          return this.#list();
        case "{":
          return this.#map();
        case ".": {
          this.#next++;
          const name = this.#token;
          if (name.kind !== "ident" || keywords.has(name.text)) this.#unexpected("IDENTIFIER");
          return this.#name(this.#tokens[this.#next++]!, ".");
        }
        case "-": {
          this.#next++;
          if (!["int", "float"].includes(this.#token.kind)) this.#unexpected(expectedStart);
          return this.#number(this.#token, "-", at);
        }
      }
      return this.#unexpected(expectedStart);
    }
    if (kind === "int" || kind === "uint" || kind === "float") return this.#number(token, "", at);
    if (kind === "string" || kind === "bytes") {
      this.#next++;
      const value = unquote(text);
      if (value === undefined) this.#fail("unable to unescape string", at);
      return make.literal(at, value);
    }
    if (kind !== "ident" || text === "in") return this.#unexpected(expectedStart);
    this.#next++;
    if (text === "true" || text === "false") return make.literal(at, text === "true");
    if (text === "null") return make.literal(at, null);
    return this.#name(token, "");
  }

  #name({ text, at }: Token, dot: "" | "."): Expr {
    if (reserved.has(text)) this.report(at, `reserved identifier: ${text}`);
    const open = this.#take("(");
    return open ? this.#call(open.at, `${dot}${text}`, this.#args(), undefined) : make.ident(at, `${dot}${text}`);
  }

  #number({ kind, text }: Token, sign: "" | "-", at: number): Expr {
    this.#next++;
    if (kind === "float") {
      const value = Number(sign + text);
      if (!Number.isFinite(value)) this.#fail("invalid double literal", at);
      return make.literal(at, new Double(value));
    }
    const digits = BigInt(text.replace(/[uU]$/, ""));
    if (kind === "uint") {
      if (digits >= 2n ** 64n) this.#fail("invalid uint literal", at);
      return make.literal(at, new Uint(digits));
    }
    const value = sign ? -digits : digits;
    if (value >= 2n ** 63n || value < -(2n ** 63n)) this.#fail("invalid int literal", at);
    return make.literal(at, canonicalInt(value));
  }

  #list(): Expr {
    const { at } = this.#expect("[");
    const items: { value: Expr; optional: boolean }[] = [];
    while (!this.#is("]")) {
      if (this.#is(",")) break;
      const optional = this.#take("?") !== undefined;
      items.push({ value: this.#expr(), optional });
      if (!this.#take(",")) break;
    }
    this.#take(",");
    this.#expect("]", "{',', ']'}");
    return this.#limited(make.list(at, items));
  }

  #map(): Expr {
    const { at } = this.#expect("{");
    const entries: { at: number; key: Expr; value: Expr; optional: boolean }[] = [];
    while (!this.#is("}")) {
      if (this.#is(",")) break;
      const optional = this.#take("?") !== undefined;
      const key = this.#expr();
      const colon = this.#expect(":");
      entries.push({ at: colon.at, key, value: this.#expr(), optional });
      if (!this.#take(",")) break;
    }
    this.#take(",");
    this.#expect("}", "{'}', ','}");
    return this.#limited(make.map(at, entries));
  }

  #struct(name: string): Expr {
    const { at } = this.#expect("{");
    const fields: { at: number; name: string; value: Expr; optional: boolean }[] = [];
    while (!this.#is("}")) {
      if (this.#is(",")) break;
      const optional = this.#take("?") !== undefined;
      const field = this.#token;
      const isName = field.kind === "ident" && !keywords.has(field.text);
      if (!isName && field.kind !== "escaped") this.#unexpected("{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}");
      this.#next++;
      const colon = this.#expect(":");
      const text = field.kind === "escaped" ? field.text.slice(1, -1) : field.text;
      fields.push({ at: colon.at, name: text, value: this.#expr(), optional });
      if (!this.#take(",")) break;
    }
    this.#take(",");
    this.#expect("}", "{'}', ','}");
    return make.struct(at, name, fields);
  }
}

/** "a.b.c" of a chain of plain selections, or undefined. */
export function qualifiedName(expr: Expr): string | undefined {
  if (expr.kind === "ident") return expr.name;
  if (expr.kind !== "select" || expr.test) return undefined;
  const prefix = qualifiedName(expr.operand);
  return prefix === undefined ? undefined : `${prefix}.${expr.field}`;
}

/** Parses an expression. Throws {@link CelCompileError} with what is wrong and where. */
export function parseCel(source: string, options: ParseOptions = {}): Expr {
  if (source.length > maxCodePoints) {
    const size = [...source].length;
    if (size > maxCodePoints) {
      const message = `expression code point size exceeds limit: size: ${size}, limit ${maxCodePoints}`;
      throw new CelCompileError(source, [{ offset: -1, message }]);
    }
  }
  const parser = new Parser(source, options);
  const expr = parser.parse();
  if (parser.issues.length > 0) throw new CelCompileError(source, parser.issues);
  return expr;
}
