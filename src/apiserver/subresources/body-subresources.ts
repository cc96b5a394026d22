import type { TokenAuthenticator } from "../authentication/service-account.ts";
import type { Rbac } from "../authorization/rbac.ts";
import type { Authenticator, BodySubresource } from "../request.ts";
import {
  localSubjectAccessReview,
  selfSubjectAccessReview,
  selfSubjectRulesReview,
  subjectAccessReview,
} from "./access-reviews.ts";
import { bindingSubresource } from "./binding.ts";
import { evictionSubresource } from "./eviction.ts";
import { type TokenOptions, tokenSubresource } from "./token.ts";
import { selfSubjectReview, tokenReview } from "./token-review.ts";

export interface BodySubresourceOptions {
  readonly tokens: TokenOptions;
  readonly rbac: Rbac;
  /** Checks the tokens of TokenReviews. */
  readonly tokenAuthenticator: TokenAuthenticator;
  /** Other authenticators that know bearer tokens. */
  readonly otherTokens: readonly Authenticator[];
}

/**
 * All subresources and reviews that take one body and give one back, by "<group>/<resource>" and
 * "<group>/<resource>/<subresource>" (the core group is empty: "/pods/binding").
 */
export function bodySubresources(options: BodySubresourceOptions): Readonly<Record<string, BodySubresource>> {
  const { tokens, rbac, tokenAuthenticator, otherTokens } = options;
  return {
    "/serviceaccounts/token": tokenSubresource(tokens),
    "/pods/binding": bindingSubresource,
    "/bindings": bindingSubresource,
    "/pods/eviction": evictionSubresource,
    "authorization.k8s.io/subjectaccessreviews": subjectAccessReview,
    "authorization.k8s.io/localsubjectaccessreviews": localSubjectAccessReview,
    "authorization.k8s.io/selfsubjectaccessreviews": selfSubjectAccessReview,
    "authorization.k8s.io/selfsubjectrulesreviews": selfSubjectRulesReview(rbac),
    "authentication.k8s.io/tokenreviews": tokenReview({
      byAudience: tokenAuthenticator,
      others: otherTokens,
      audiences: tokens.audiences,
    }),
    "authentication.k8s.io/selfsubjectreviews": selfSubjectReview,
  };
}
