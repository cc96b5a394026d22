/** Kubernetes' format library: named formats that texts are checked against. */
import { hasFormat } from "../../formats.ts";
import {
  dns1035Label,
  dns1123Label,
  dns1123Subdomain,
  labelValue,
  maskTrailingDash,
  qualifiedName,
} from "../../names.ts";
import { global, type Library, member } from "../functions.ts";
import { costs } from "../sizes.ts";
import { type CelType, listOf, opaque, optionalOf, string } from "../types.ts";
import { CelObject, type CelValue, Optional, sizeOf } from "../values.ts";
import { parseUrl } from "./urls.ts";

export const formatType = opaque("kubernetes.NamedFormat");

class Format extends CelObject {
  readonly name: string;
  /** How long the regular expression behind it is, for costs. */
  readonly regexLength: number;
  readonly check: (text: string) => string[];

  constructor(name: string, regexLength: number, check: (text: string) => string[]) {
    super();
    this.name = name;
    this.regexLength = regexLength;
    this.check = check;
  }

  get type(): CelType {
    return formatType;
  }

  equals(other: CelValue): boolean {
    return other instanceof Format && other.name === this.name;
  }
}

const named = (format: string, message: string) => (text: string) => (hasFormat(format, text) ? [] : [message]);
/** A prefix may end in a dash, since something follows it. */
const prefix = (check: (text: string) => string[]) => (text: string) => check(maskTrailingDash(text));

function uri(text: string): string[] {
  try {
    parseUrl(text);
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

const formats: Readonly<Record<string, Format>> = {
  dns1123Label: new Format("DNS1123Label", 30, dns1123Label),
  dns1123Subdomain: new Format("DNS1123Subdomain", 60, dns1123Subdomain),
  dns1035Label: new Format("DNS1035Label", 30, dns1035Label),
  qualifiedName: new Format("QualifiedName", 60, qualifiedName),
  dns1123LabelPrefix: new Format("DNS1123LabelPrefix", 30, prefix(dns1123Label)),
  dns1123SubdomainPrefix: new Format("DNS1123SubdomainPrefix", 60, prefix(dns1123Subdomain)),
  dns1035LabelPrefix: new Format("DNS1035LabelPrefix", 30, prefix(dns1035Label)),
  labelValue: new Format("LabelValue", 40, labelValue),
  uri: new Format("URI", 1103, uri),
  uuid: new Format("uuid", 70, named("uuid", "does not match the UUID format")),
  byte: new Format("byte", 84, named("byte", "invalid base64")),
  date: new Format("date", 71, named("date", "invalid date")),
  datetime: new Format("datetime", 71, named("datetime", "invalid datetime")),
};

function validateCost([format, text]: readonly CelValue[]): number {
  const walk = Math.ceil((sizeOf(text!) + 1) * costs.stringTraversal);
  return walk * Math.ceil((format as Format).regexLength * costs.regexLength);
}

export const formatLibrary: Library = [
  ...Object.entries(formats).map(
    ([name, format]) => [`format.${name}`, global(`format.${name}`, [], formatType, () => format)] as const,
  ),
  [
    "format.named",
    global("format-named", [string], optionalOf(formatType), (name: string) =>
      Object.hasOwn(formats, name) ? new Optional(formats[name]!) : Optional.none,
    ),
  ],
  [
    "validate",
    member(
      "format-validate",
      [formatType, string],
      optionalOf(listOf(string)),
      (format: Format, text: string) => {
        const messages = format.check(text);
        return messages.length === 0 ? Optional.none : new Optional(messages);
      },
      validateCost,
    ),
  ],
];
