import type { Json } from "../unit/apiserver/harness.ts";

/** The answers of an admission webhook to a review. */
export function answer(review: Json, response: object): object {
  return {
    kind: "AdmissionReview",
    apiVersion: review.apiVersion,
    response: { uid: review.request.uid, ...response },
  };
}

export const allow = (review: Json, more: object = {}) => answer(review, { allowed: true, ...more });

/** A handler that lets everything pass. */
export const pass = (review: Json) => allow(review);

export const deny = (review: Json, status?: object) =>
  answer(review, { allowed: false, ...(status ? { status } : {}) });

/** Lets it pass, changed by the operations of a JSON patch. */
export const change = (review: Json, operations: readonly object[]) =>
  allow(review, { patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(operations)).toString("base64") });
