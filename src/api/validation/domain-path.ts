import { dns1123Subdomain, regexMessage } from "../../machinery/names.ts";
import type { Errors } from "./errors.ts";

const urlPath = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";

/** "acme.io/foo": whose it is, and what. */
export function checkDomainPath(errors: Errors, path: string, value: string): void {
  if (!errors.present(path, value)) return;
  const slash = value.indexOf("/");
  const domain = value.slice(0, Math.max(slash, 0));
  const name = value.slice(slash + 1);
  if (domain === "" || name === "") {
    errors.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")');
    return;
  }
  errors.messages(path, domain, dns1123Subdomain(domain));
  if (!new RegExp(`^${urlPath}$`).test(name)) errors.invalid(path, name, regexMessage("Invalid path", urlPath));
}
