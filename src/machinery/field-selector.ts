/** Field selectors: "metadata.name=x,status.phase!=Running". Source: apimachinery's fields package. */
import { badRequest } from "./status.ts";

export interface FieldRequirement {
  readonly field: string;
  readonly operator: "=" | "!=";
  readonly value: string;
}

/** All requirements together; without any it matches everything. */
export class FieldSelector {
  readonly requirements: readonly FieldRequirement[];

  constructor(requirements: readonly FieldRequirement[]) {
    this.requirements = requirements;
  }

  get empty(): boolean {
    return this.requirements.length === 0;
  }

  /** `fieldValue` gives an object's value of a field; an absent field counts as "". */
  matches(fieldValue: (field: string) => string | undefined): boolean {
    return this.requirements.every(
      ({ field, operator, value }) => ((fieldValue(field) ?? "") === value) === (operator === "="),
    );
  }

  /** The value that the field must have, if the selector names one. */
  exactValue(field: string): string | undefined {
    return this.requirements.find((candidate) => candidate.field === field && candidate.operator === "=")?.value;
  }

  toString(): string {
    return this.requirements.map(({ field, operator, value }) => `${field}${operator}${escapeValue(value)}`).join(",");
  }
}

const escapeValue = (value: string) => value.replace(/[\\,=]/g, (character) => `\\${character}`);

/** Splits at commas that no backslash escapes. */
function splitTerms(text: string): string[] {
  return text.match(/(?:\\[\s\S]|[^,\\])+/g) ?? [];
}

function unescapeValue(value: string): string {
  let plain = "";
  for (let i = 0; i < value.length; i++) {
    if (value[i] !== "\\") {
      if (value[i] === "," || value[i] === "=") {
        throw badRequest(`invalid field selector: unescaped character in value: ${value[i]}`);
      }
      plain += value[i];
      continue;
    }
    const escaped = value[++i];
    if (escaped !== "\\" && escaped !== "," && escaped !== "=") {
      throw badRequest(`invalid field selector: invalid escape sequence: \\${escaped ?? ""}`);
    }
    plain += escaped;
  }
  return plain;
}

/** Parses a field selector. Throws a 400 StatusError with Kubernetes' text. */
export function parseFieldSelector(text: string): FieldSelector {
  const requirements = splitTerms(text).map((term): FieldRequirement => {
    // The first operator that no backslash escapes ends the field's name.
    const match = /^((?:\\[\s\S]|[^\\=!]|!(?!=))*)(!=|==|=)([\s\S]*)$/.exec(term);
    if (!match) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    return { field: match[1]!, operator: match[2] === "!=" ? "!=" : "=", value: unescapeValue(match[3]!) };
  });
  return new FieldSelector(requirements);
}
