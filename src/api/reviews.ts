import { selfSubjectReviews, tokenReviews } from "./generated/authentication-v1.ts";
import {
  localSubjectAccessReviews,
  selfSubjectAccessReviews,
  selfSubjectRulesReviews,
  subjectAccessReviews,
} from "./generated/authorization-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";

/** Questions to the API server: answered, never stored. */
export const reviews: readonly KindEntry[] = [
  kind(tokenReviews, { storage: "none" }),
  kind(selfSubjectReviews, { storage: "none" }),
  kind(subjectAccessReviews, { storage: "none" }),
  kind(localSubjectAccessReviews, { storage: "none" }),
  kind(selfSubjectAccessReviews, { storage: "none" }),
  kind(selfSubjectRulesReviews, { storage: "none" }),
];
