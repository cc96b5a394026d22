/** Where a webhook is said to be, and which reviews it understands: the same for admission and for conversion. */
import { dns1035Label, dns1123Subdomain, inRange } from "../../machinery/names.ts";
import type { Errors } from "./errors.ts";

interface ClientConfig {
  readonly url?: string;
  readonly service?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly path?: string;
    readonly port?: number;
  };
}

/** Review versions that some release of Kubernetes sends. */
const knownReviewVersions = ["v1", "v1beta1"];

export function checkClientConfig(errors: Errors, at: string, { url, service }: ClientConfig): void {
  if ((url === undefined) === (service === undefined)) {
    errors.required(at, "exactly one of url or service is required");
  } else if (url !== undefined) checkUrl(errors, `${at}.url`, url);
  else if (service) checkService(errors, `${at}.service`, service);
}

function checkUrl(errors: Errors, at: string, text: string): void {
  const form = "; desired format: https://host[/path]";
  const parts = /^(?:([A-Za-z][A-Za-z\d+.-]*):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/.exec(text);
  if (!parts || /[\s\p{Cc}]/u.test(text)) {
    errors.required(at, `url must be a valid URL: parse ${JSON.stringify(text)}: invalid URL${form}`);
    return;
  }
  const [, scheme = "", authority = "", , query = "", fragment = ""] = parts;
  const [host = "", user] = authority.split("@").reverse();
  if (scheme !== "https") errors.invalid(at, scheme, `'https' is the only allowed URL scheme${form}`);
  if (host === "") errors.invalid(at, host, `host must be specified${form}`);
  if (user !== undefined) errors.invalid(at, user, "user information is not permitted in the URL");
  if (fragment !== "") errors.invalid(at, fragment, "fragments are not permitted in the URL");
  if (query !== "") errors.invalid(at, query, "query parameters are not permitted in the URL");
}

function checkService(
  errors: Errors,
  at: string,
  { name, namespace, path = "", port = 443 }: NonNullable<ClientConfig["service"]>,
): void {
  if (!name) errors.required(`${at}.name`);
  if (!namespace) errors.required(`${at}.namespace`);
  const wrong = inRange(port, 1, 65535);
  if (wrong.length > 0) errors.invalid(`${at}.port`, port, `port is not valid: ${wrong.join(", ")}`);
  if (path === "" || path === "/") return;
  if (path === "//") {
    errors.invalid(`${at}.path`, path, "segment[0] may not be empty");
    return;
  }
  if (!path.startsWith("/")) errors.invalid(`${at}.path`, path, "must start with a '/'");
  for (const [index, step] of path.slice(1).replace(/\/$/, "").split("/").entries()) {
    if (step === "") errors.invalid(`${at}.path`, path, `segment[${index}] may not be empty`);
    else for (const text of dns1123Subdomain(step)) errors.invalid(`${at}.path`, path, `segment[${index}]: ${text}`);
  }
}

/** `known`: does one of them have to be one that is sent at all? `missing` is said when there is none. */
export function checkReviewVersions(
  errors: Errors,
  at: string,
  versions: readonly string[],
  { known, missing }: { readonly known: boolean; readonly missing: string },
): void {
  if (versions.length === 0) errors.required(at, missing);
  for (const [index, version] of versions.entries()) {
    if (versions.indexOf(version) < index) errors.invalid(`${at}[${index}]`, version, "duplicate version");
    else errors.messages(`${at}[${index}]`, version, dns1035Label(version));
  }
  if (known && versions.length > 0 && !hasKnownReviewVersion(versions)) {
    errors.invalid(at, versions, `must include at least one of ${knownReviewVersions.join(", ")}`);
  }
}

export function hasKnownReviewVersion(versions: readonly string[]): boolean {
  return versions.some((version) => knownReviewVersions.includes(version));
}
