/** Kubernetes' url library, on the rules of Go's url.ParseRequestURI. */
import { global, type Library, member, type Overload } from "../functions.ts";
import { costs } from "../sizes.ts";
import { bool, type CelType, listOf, mapOf, opaque, string } from "../types.ts";
import { CelError, CelObject, type CelValue, sizeOf } from "../values.ts";

export const urlType = opaque("kubernetes.URL");

interface Parts {
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;
}

export class UrlValue extends CelObject {
  readonly parts: Parts;

  constructor(parts: Parts) {
    super();
    this.parts = parts;
  }

  get type(): CelType {
    return urlType;
  }

  equals(other: CelValue): boolean {
    if (!(other instanceof UrlValue)) return false;
    const [a, b] = [this.parts, other.parts];
    return a.scheme === b.scheme && a.host === b.host && a.path === b.path && a.query === b.query;
  }
}

const badEscape = /%(?![0-9a-fA-F]{2})/;

/** Throws Error with Go's text. */
export function parseUrl(text: string): Parts {
  const fail = (why: string): never => {
    throw new Error(`parse ${JSON.stringify(text)}: ${why}`);
  };
  if (text === "") fail("empty url");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
  if (/[\x00-\x1f\x7f]/.test(text)) fail("net/url: invalid control character in URL");
  const scheme = /^([A-Za-z][A-Za-z0-9+\-.]*):/.exec(text);
  if (!scheme && /^:/.test(text)) fail("missing protocol scheme");
  const rest = scheme ? text.slice(scheme[0].length) : text;
  const mark = rest.indexOf("?");
  const before = mark < 0 ? rest : rest.slice(0, mark);
  const query = mark < 0 ? "" : rest.slice(mark + 1);
  if (!before.startsWith("/") && !scheme) fail("invalid URI for request");
  if (!before.startsWith("/")) return { scheme: scheme![1]!.toLowerCase(), host: "", path: "", query };
  let host = "";
  let path = before;
  if (scheme && before.startsWith("//")) {
    const slash = before.indexOf("/", 2);
    const authority = slash < 0 ? before.slice(2) : before.slice(2, slash);
    path = slash < 0 ? "" : before.slice(slash);
    host = authority.slice(authority.lastIndexOf("@") + 1);
    checkHost(host, fail);
  }
  const wrong = badEscape.exec(path);
  if (wrong) fail(`invalid URL escape ${JSON.stringify(path.slice(wrong.index, wrong.index + 3))}`);
  return { scheme: scheme ? scheme[1]!.toLowerCase() : "", host, path, query };
}

function checkHost(host: string, fail: (why: string) => never): void {
  const bad = /[^A-Za-z0-9\-._~!$&'()*+,;=:[\]<>"%\u0080-\uffff]/.exec(host);
  if (bad) fail(`invalid character ${JSON.stringify(bad[0])} in host name`);
  if (host.startsWith("[")) {
    if (!host.includes("]")) fail("missing ']' in host");
    const port = host.slice(host.indexOf("]") + 1);
    if (port !== "" && !/^:\d*$/.test(port)) fail(`invalid port ${JSON.stringify(port)} after host`);
    return;
  }
  const colon = host.lastIndexOf(":");
  const port = colon < 0 ? "" : host.slice(colon);
  if (port !== "" && !/^:\d*$/.test(port)) fail(`invalid port ${JSON.stringify(port)} after host`);
  const wrong = badEscape.exec(host);
  if (wrong) fail(`invalid URL escape ${JSON.stringify(host.slice(wrong.index, wrong.index + 3))}`);
}

function isUrl(text: string): boolean {
  try {
    parseUrl(text);
    return true;
  } catch {
    return false;
  }
}

function toUrl(text: string): UrlValue {
  try {
    return new UrlValue(parseUrl(text));
  } catch (error) {
    throw new CelError(`URL parse error during conversion from string: ${(error as Error).message}`);
  }
}

/** "host" and "port" of "host:port" and "[::1]:port". */
function hostParts(host: string): { name: string; port: string } {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(host);
  return match ? { name: match[1] ?? match[2] ?? "", port: match[3] ?? "" } : { name: host, port: "" };
}

/** As Go writes a path: what must be escaped is, what was escaped stays. */
function escapedPath(path: string): string {
  return path.replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/%[\]]/gu, (character) => encodeURIComponent(character));
}

function queryOf(query: string): Record<string, string[]> {
  const values = new Map<string, string[]>();
  const decode = (text: string) => decodeURIComponent(text.replaceAll("+", " "));
  for (const pair of query.split("&")) {
    if (pair === "" || pair.includes(";")) continue;
    const equals = pair.indexOf("=");
    try {
      const key = decode(equals < 0 ? pair : pair.slice(0, equals));
      const value = equals < 0 ? "" : decode(pair.slice(equals + 1));
      values.set(key, [...(values.get(key) ?? []), value]);
    } catch {
      // Go leaves out pairs that cannot be read, too.
    }
  }
  return Object.fromEntries(values);
}

const walk = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * costs.stringTraversal);
const part = (name: string, id: string, read: (parts: Parts) => string): [string, Overload] => [
  name,
  member(id, [urlType], string, ({ parts }: UrlValue) => read(parts)),
];

export const urls: Library = [
  ["url", global("string_to_url", [string], urlType, toUrl, walk)],
  ["isURL", global("is_url_string", [string], bool, isUrl)],
  part("getScheme", "url_get_scheme", ({ scheme }) => scheme),
  part("getHost", "url_get_host", ({ host }) => host),
  part("getHostname", "url_get_hostname", ({ host }) => hostParts(host).name),
  part("getPort", "url_get_port", ({ host }) => hostParts(host).port),
  part("getEscapedPath", "url_get_escaped_path", ({ path }) => escapedPath(path)),
  [
    "getQuery",
    member("url_get_query", [urlType], mapOf(string, listOf(string)), ({ parts }: UrlValue) => queryOf(parts.query)),
  ],
];
