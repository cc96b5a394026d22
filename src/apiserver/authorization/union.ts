import type { Authorizer } from "../request.ts";

/** Members of system:masters may do everything, even while no role is known yet. */
export const mastersAuthorizer: Authorizer = async ({ user }) =>
  user.groups.includes("system:masters") ? { allowed: true, reason: "" } : { allowed: false, reason: "" };

/** Asks each authorizer in turn; the first that allows decides. Reasons of refusals are joined. */
export function unionAuthorizer(authorizers: readonly Authorizer[]): Authorizer {
  return async (attributes) => {
    const reasons: string[] = [];
    for (const authorize of authorizers) {
      const decision = await authorize(attributes);
      if (decision.allowed) return decision;
      if (decision.reason) reasons.push(decision.reason);
    }
    return { allowed: false, reason: reasons.join("\n") };
  };
}
