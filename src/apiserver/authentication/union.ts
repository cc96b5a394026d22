import { StatusError, unauthorized } from "../../machinery/status.ts";
import type { Authenticator, UserInfo } from "../request.ts";

export const anonymousUser: UserInfo = { name: "system:anonymous", groups: ["system:unauthenticated"] };

/**
 * Asks each authenticator in turn; the first that knows the credentials decides. Credentials that one of them finds
 * wrong may still be another's (a request can carry a certificate and a token), so a refusal counts only when nobody
 * vouches. Without credentials the request is anonymous where that is allowed (K3s does not), otherwise 401.
 */
export function unionAuthenticator(
  authenticators: readonly Authenticator[],
  options: { readonly anonymous?: boolean } = {},
): (request: Parameters<Authenticator>[0]) => Promise<UserInfo> {
  return async (request) => {
    let refused: unknown;
    for (const authenticate of authenticators) {
      try {
        const user = await authenticate(request);
        if (user) return withAuthenticatedGroup(user);
      } catch (error) {
        if (!(error instanceof StatusError && error.code === 401)) throw error;
        refused = error;
      }
    }
    if (refused !== undefined || !options.anonymous) throw refused ?? unauthorized();
    return anonymousUser;
  };
}

/** Users that come again as the same object get the same one back. */
const inGroup = new WeakMap<UserInfo, UserInfo>();

/** Everyone who showed credentials is in system:authenticated. */
export function withAuthenticatedGroup(user: UserInfo): UserInfo {
  let known = inGroup.get(user);
  if (!known) {
    known = addAuthenticatedGroup(user);
    inGroup.set(user, known);
  }
  return known;
}

function addAuthenticatedGroup(user: UserInfo): UserInfo {
  const special = user.groups.some((group) => group === "system:authenticated" || group === "system:unauthenticated");
  return special || user.name === anonymousUser.name
    ? user
    : { ...user, groups: [...user.groups, "system:authenticated"] };
}
