import type { Clock } from "../../machinery/clock.ts";
import { unauthorized } from "../../machinery/status.ts";
import type { Authenticator, UserInfo } from "../request.ts";
import { CertificateCheck, type CertificateIdentity } from "./certificate-check.ts";

/**
 * Client certificates: the common name is the user, organizations are its groups. `clientAuthority` is a PEM bundle,
 * `clock` the io clock. Throws `unauthorized()` for a certificate of another authority or out of its time.
 */
export function x509Authenticator(options: {
  readonly clientAuthority: string | Buffer;
  readonly clock: Clock;
}): Authenticator {
  const trusted = new CertificateCheck(options.clientAuthority);
  // One user object an identity: what is remembered of users is found by it.
  const users = new WeakMap<CertificateIdentity, UserInfo>();
  return async ({ clientCertificate }) => {
    if (!clientCertificate) return undefined;
    const outcome = trusted.check(clientCertificate, options.clock.now());
    if ("why" in outcome) throw unauthorized();
    const { identity } = outcome;
    if (identity.commonName === "") return undefined;
    let user = users.get(identity);
    if (!user) {
      user = userOf(identity);
      users.set(identity, user);
    }
    return user;
  };
}

function userOf({ commonName, organizations, fingerprint }: CertificateIdentity): UserInfo {
  return {
    name: commonName,
    groups: organizations,
    extra: { "authentication.kubernetes.io/credential-id": [`X509SHA256=${fingerprint}`] },
  };
}
