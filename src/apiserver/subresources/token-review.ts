import type { SelfSubjectReview, TokenReview } from "../../api/generated/authentication-v1.ts";
import { formatTime } from "../../machinery/clock.ts";
import { badRequest, StatusError } from "../../machinery/status.ts";
import type { TokenAuthenticator } from "../authentication/service-account.ts";
import { withAuthenticatedGroup } from "../authentication/union.ts";
import type { Authenticator, BodySubresource, UserInfo } from "../request.ts";

/**
 * POST tokenreviews: whose token is this? `byAudience` checks tokens that name audiences; `others` (bootstrap tokens)
 * are valid for the API server's `audiences` only.
 */
export function tokenReview(options: {
  readonly byAudience: TokenAuthenticator;
  readonly others: readonly Authenticator[];
  readonly audiences: readonly string[];
}): BodySubresource {
  return async (_context, { body }) => {
    const review = body as TokenReview;
    const token = review.spec?.token ?? "";
    if (token === "") throw badRequest("token is required for TokenReview in authentication");
    const asked = review.spec?.audiences?.length ? review.spec.audiences : options.audiences;
    let status: NonNullable<TokenReview["status"]>;
    try {
      const found = await authenticate(token, asked, options);
      status = found
        ? { authenticated: true, user: printUser(found.user), audiences: [...found.audiences] }
        : { authenticated: false, error: "invalid bearer token" };
    } catch (error) {
      if (!(error instanceof StatusError && error.code === 401)) throw error;
      status = { authenticated: false, error: "invalid bearer token" };
    }
    // The reply never repeats the token.
    return { code: 201, body: { ...review, spec: { ...review.spec, token: "" }, status } };
  };
}

async function authenticate(
  token: string,
  asked: readonly string[],
  { byAudience, others, audiences }: Parameters<typeof tokenReview>[0],
): Promise<{ user: UserInfo; audiences: readonly string[] } | undefined> {
  const found = await byAudience(token, asked);
  if (found) return found;
  const matching = asked.filter((audience) => audiences.includes(audience));
  if (matching.length === 0) return undefined;
  for (const other of others) {
    const user = await other({ headers: { authorization: `Bearer ${token}` } });
    if (user) return { user, audiences: matching };
  }
  return undefined;
}

/** POST selfsubjectreviews: who am I? (`kubectl auth whoami`) */
export const selfSubjectReview: BodySubresource = async (context, { user, body }) => {
  const review = body as SelfSubjectReview;
  const creationTimestamp = formatTime(context.clusterClock.now());
  return {
    code: 201,
    body: { ...review, metadata: { ...review.metadata, creationTimestamp }, status: { userInfo: printUser(user) } },
  };
};

function printUser(user: UserInfo) {
  const { name, uid, groups, extra } = withAuthenticatedGroup(user);
  return {
    username: name,
    ...(uid ? { uid } : {}),
    groups: [...groups],
    ...(extra ? { extra: Object.fromEntries(Object.entries(extra).map(([key, values]) => [key, [...values]])) } : {}),
  };
}
