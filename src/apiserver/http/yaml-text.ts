/**
 * Prints values as YAML, in the form of Go's yaml.v2: keys sorted, lists as deep as their key. Whatever parses YAML 1.1 or
 * 1.2 reads the same values from it.
 */
import { isRecord } from "../../machinery/json.ts";
import { plainScalars } from "./yaml-scalars.ts";

/** Plain keys are as long as this at most; YAML allows 1024 characters. */
const maxPlainKey = 128;

const resolved = Object.values(plainScalars);
/** Dates and numbers of other kinds, which other parsers of YAML 1.1 know; merge keys; what parsers disagree on. */
const elsewhere =
  /^(?:\d{4}-\d{1,2}-\d{1,2}(?:[Tt\s].*)?|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?|[-+]?[\d._]*(?:[eE][-+]?\d+)?|[-+]?[\d._]+[eE][-+]?|<<|=)$/;
/** Beyond printable text; pairs of surrogates are left to be escaped, too. */
const special = /[^\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]|[\u2028\u2029]/;
const indicators = /^[#,[\]{}&*!|>'"%@`]|^[?:-](?:\s|$)|:(?:\s|$)|\s#|^\s|\s$|^(?:---|\.\.\.)/;

function isPlain(text: string): boolean {
  if (text.includes("\n") || special.test(text) || indicators.test(text) || elsewhere.test(text)) return false;
  return !resolved.some((test) => test.test(text));
}

/** Text in one line: plain where that is unmistakable. JSON's strings are YAML's, too. */
function inLine(text: string): string {
  return isPlain(text) ? text : JSON.stringify(text);
}

/** Text of several lines as a literal block, where none of its spaces would be lost. */
function block(text: string, indent: string): string | undefined {
  if (!text.includes("\n") || /^\s|[ \t](?:\n|$)/.test(text) || special.test(text)) return undefined;
  const chomping = /\n\n$/.test(text) ? "+" : text.endsWith("\n") ? "" : "-";
  const body = text.endsWith("\n") ? text.slice(0, -1) : text;
  return `|${chomping}\n${body
    .split("\n")
    .map((line) => (line === "" ? "" : indent + line))
    .join("\n")}`;
}

class Printer {
  readonly pieces: string[] = [];

  /** What follows "key:" or "-": on the same line, or below, indented. */
  value(value: unknown, indent: string, inList: boolean): void {
    if (typeof value === "string") this.pieces.push(" ", block(value, `${indent}  `) ?? inLine(value), "\n");
    else if (Array.isArray(value) && value.length > 0) {
      if (inList) this.list(value, `${indent}  `, true);
      else {
        this.pieces.push("\n");
        this.list(value, indent, false);
      }
    } else if (isRecord(value) && Object.keys(value).length > 0) {
      if (!inList) this.pieces.push("\n");
      this.map(value, `${indent}  `, inList);
    } else this.pieces.push(" ", empty(value), "\n");
  }

  /** `started`: the first line has its "-" already. */
  map(value: Record<string, unknown>, indent: string, started: boolean): void {
    let first = started;
    for (const key of Object.keys(value).sort()) {
      this.pieces.push(first ? " " : indent);
      first = false;
      const text = inLine(key);
      if (text.length > maxPlainKey) this.pieces.push("? ", text, "\n", indent, ":");
      else this.pieces.push(text, ":");
      this.value(value[key], indent, false);
    }
  }

  list(value: readonly unknown[], indent: string, started: boolean): void {
    let first = started;
    for (const element of value) {
      this.pieces.push(first ? " -" : `${indent}-`);
      first = false;
      this.value(element, indent, true);
    }
  }
}

function empty(value: unknown): string {
  if (Array.isArray(value)) return "[]";
  return isRecord(value) ? "{}" : String(value ?? null);
}

/** The YAML text of a JSON value. */
export function printYaml(value: unknown): string {
  const printer = new Printer();
  if (isRecord(value) && Object.keys(value).length > 0) printer.map(value, "", false);
  else if (Array.isArray(value) && value.length > 0) printer.list(value, "", false);
  else if (typeof value === "string") return `${block(value, "  ") ?? inLine(value)}\n`;
  else return `${empty(value)}\n`;
  return printer.pieces.join("");
}
