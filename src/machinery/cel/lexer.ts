/** Texts to tokens. Source: the CEL language definition's lexis. */
export interface Token {
  readonly kind: "ident" | "escaped" | "int" | "uint" | "float" | "string" | "bytes" | "symbol" | "end";
  readonly text: string;
  readonly at: number;
}

const space = /[\t\n\f\r ]*(?:\/\/[^\n]*[\t\n\f\r ]*)*/y;
const word = /[A-Za-z_][A-Za-z0-9_]*/y;
const escapedWord = /`[A-Za-z0-9_.\-/ ]+`/y;
const float = /(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)/y;
const integer = /(?:0x[0-9a-fA-F]+|\d+)[uU]?/y;
const symbol = /==|!=|<=|>=|&&|\|\||[[\]{}().,:?!<>+\-*/%]/y;
const quoted = /(?:[rR]?[bB]|[bB]?[rR])?(?:"""|'''|"|')/y;

const escapeSequence = /\\(?:[abfnrtv\\?"'`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})/y;

/** Where a string ends: behind its closing quote, or behind what cannot stand in it. */
function closing(source: string, from: number, quote: string, raw: boolean): { end: number; closed: boolean } {
  for (let i = from; i < source.length; i++) {
    if (source.startsWith(quote, i)) return { end: i + quote.length, closed: true };
    const code = source.charCodeAt(i);
    if (code === 0x5c && !raw) {
      escapeSequence.lastIndex = i;
      const length = escapeSequence.exec(source)?.[0].length;
      if (length === undefined) return { end: Math.min(i + 2, source.length), closed: false };
      i += length - 1;
    } else if (quote.length === 1 && (code === 0x0a || code === 0x0d)) return { end: i + 1, closed: false };
  }
  return { end: source.length, closed: false };
}

/** All tokens, the end included. Texts that are none are reported and skipped. */
export function tokenize(source: string, report: (at: number, message: string) => void): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const match = (expression: RegExp): string | undefined => {
    expression.lastIndex = at;
    return expression.exec(source)?.[0];
  };
  const unrecognized = (length: number) => {
    report(at, `Syntax error: token recognition error at: '${source.slice(at, at + length)}'`);
    at += length;
  };
  for (;;) {
    at += match(space)!.length;
    if (at >= source.length) break;
    const opening = match(quoted);
    if (opening !== undefined) {
      const quote = opening.replace(/^[rRbB]+/, "");
      const prefix = opening.slice(0, opening.length - quote.length).toLowerCase();
      const { end, closed } = closing(source, at + opening.length, quote, prefix.includes("r"));
      if (closed) {
        tokens.push({ kind: prefix.includes("b") ? "bytes" : "string", text: source.slice(at, end), at });
        at = end;
      } else unrecognized(end - at);
      continue;
    }
    const name = match(word);
    const escaped = name === undefined ? match(escapedWord) : undefined;
    const fraction = match(float);
    const whole = fraction === undefined ? match(integer) : undefined;
    const sign = match(symbol);
    let token: Token | undefined;
    if (name !== undefined) token = { kind: "ident", text: name, at };
    else if (escaped !== undefined) token = { kind: "escaped", text: escaped, at };
    else if (fraction !== undefined) token = { kind: "float", text: fraction, at };
    else if (whole !== undefined) token = { kind: /[uU]$/.test(whole) ? "uint" : "int", text: whole, at };
    else if (sign !== undefined) token = { kind: "symbol", text: sign, at };
    if (token) {
      tokens.push(token);
      at += token.text.length;
    } else {
      const character = String.fromCodePoint(source.codePointAt(at)!);
      // The first half of "&&", "||" and "==" takes what follows with it.
      unrecognized("&|=".includes(character) ? Math.min(2, source.length - at) : character.length);
    }
  }
  tokens.push({ kind: "end", text: "<EOF>", at: source.length });
  return tokens;
}

const simpleEscapes: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  "?": "?",
  '"': '"',
  "'": "'",
  "`": "`",
};

/** What a string or bytes token says; undefined when an escape in it is none. */
export function unquote(text: string): string | Uint8Array | undefined {
  const quoteAt = text.search(/["']/);
  const prefix = text.slice(0, quoteAt).toLowerCase();
  const quote = text.startsWith(text[quoteAt]!.repeat(3), quoteAt) && text.length >= quoteAt + 6 ? 3 : 1;
  const body = text.slice(quoteAt + quote, text.length - quote).replace(/\r\n?/g, "\n");
  const isBytes = prefix.includes("b");
  if (prefix.includes("r")) return isBytes ? Buffer.from(body, "utf8") : body;
  const bytes: Buffer[] = [];
  let result = "";
  let last = 0;
  for (let at = body.indexOf("\\"); at >= 0; at = body.indexOf("\\", last)) {
    result += body.slice(last, at);
    const found =
      /^\\(?:([abfnrtv\\?"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))/.exec(
        body.slice(at, at + 10),
      );
    if (!found) return undefined;
    const [whole, simple, hex, short, long, octal] = found;
    if (simple !== undefined) result += simpleEscapes[simple]!;
    else {
      const code = Number.parseInt(hex ?? short ?? long ?? octal!, octal === undefined ? 16 : 8);
      if (isBytes && (short !== undefined || long !== undefined)) return undefined;
      if (isBytes) {
        bytes.push(Buffer.from(result, "utf8"), Buffer.of(code));
        result = "";
      } else if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return undefined;
      else result += String.fromCodePoint(code);
    }
    last = at + whole.length;
  }
  result += body.slice(last);
  return isBytes ? Buffer.concat([...bytes, Buffer.from(result, "utf8")]) : result;
}
