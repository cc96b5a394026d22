import type { Clock } from "../../machinery/clock.ts";
import { unauthorized } from "../../machinery/status.ts";
import type { Authenticator } from "../request.ts";
import { CertificateCheck } from "./certificate-check.ts";

const extraPrefix = "x-remote-extra-";

/**
 * A front proxy says who its client is in X-Remote-* headers. They count only with a certificate of the request-header
 * authority whose common name is one of `allowedNames`; without such a certificate the headers are ignored.
 */
export function requestHeaderAuthenticator(options: {
  /** PEM bundle. */
  readonly requestHeaderAuthority: string | Buffer;
  readonly allowedNames: readonly string[];
  readonly clock: Clock;
}): Authenticator {
  const trusted = new CertificateCheck(options.requestHeaderAuthority);
  return async ({ headers, clientCertificate }) => {
    const name = headers["x-remote-user"];
    if (typeof name !== "string" || name === "" || !clientCertificate) return undefined;
    const outcome = trusted.check(clientCertificate, options.clock.now());
    if ("why" in outcome) return undefined;
    if (options.allowedNames.length > 0 && !options.allowedNames.includes(outcome.identity.commonName)) {
      throw unauthorized();
    }
    const uid = headers["x-remote-uid"];
    const extra: Record<string, string[]> = {};
    for (const [header, value] of Object.entries(headers)) {
      if (header.startsWith(extraPrefix)) extra[decodeExtraKey(header.slice(extraPrefix.length))] = headerValues(value);
    }
    return {
      name,
      ...(typeof uid === "string" && uid ? { uid } : {}),
      groups: headerValues(headers["x-remote-group"]),
      ...(Object.keys(extra).length > 0 ? { extra } : {}),
    };
  };
}

/** A repeated header's values: Node joins them with a comma and a space. */
export function headerValues(value: string | readonly string[] | undefined): string[] {
  const texts = value === undefined ? [] : typeof value === "string" ? [value] : [...value];
  return texts.flatMap((text) => text.split(/, */)).filter((text) => text !== "");
}

/** Keys of extras may hold characters that header names may not: they are percent-encoded. */
export function decodeExtraKey(key: string): string {
  try {
    return decodeURIComponent(key).toLowerCase();
  } catch {
    return key.toLowerCase();
  }
}
