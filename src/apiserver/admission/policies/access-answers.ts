import type { AccessDecision, AccessQuestion, DecideAccess } from "../../../machinery/cel/library/authorization.ts";
import type { Authorizer, UserInfo } from "../../request.ts";

/** Ends an evaluation that has to wait for an answer; it is begun again when the answer is there. */
class Unanswered {
  readonly question: AccessQuestion;

  constructor(question: AccessQuestion) {
    this.question = question;
  }
}

function serviceAccountUser({ namespace, name }: { namespace: string; name: string }): UserInfo {
  return {
    name: `system:serviceaccount:${namespace}:${name}`,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
  };
}

/**
 * What the authorizer says to expressions, remembered for one request. Expressions are evaluated in one go, and
 * authorizers take their time: an evaluation is repeated for each question that it had not asked before, which the cost
 * of a question limits to a few.
 */
export class AccessAnswers {
  readonly #authorize: Authorizer;
  readonly #user: UserInfo;
  readonly #known = new Map<string, AccessDecision>();

  constructor(authorize: Authorizer, user: UserInfo) {
    this.#authorize = authorize;
    this.#user = user;
  }

  readonly decide: DecideAccess = (question) => {
    const known = this.#known.get(JSON.stringify(question));
    if (!known) throw new Unanswered(question);
    return known;
  };

  /** Runs `evaluate` until all that it asks is answered. */
  async complete<T>(evaluate: () => T): Promise<T> {
    for (;;) {
      try {
        return evaluate();
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error;
        this.#known.set(JSON.stringify(error.question), await this.#ask(error.question));
      }
    }
  }

  async #ask(question: AccessQuestion): Promise<AccessDecision> {
    const { verb, path, serviceAccount, group = "", resource = "", subresource, namespace, name } = question;
    const user = serviceAccount ? serviceAccountUser(serviceAccount) : this.#user;
    try {
      return await this.#authorize(
        path === undefined
          ? {
              user,
              verb,
              group,
              version: "*",
              resource,
              ...(subresource ? { subresource } : {}),
              ...(namespace ? { namespace } : {}),
              ...(name ? { name } : {}),
            }
          : { user, verb, group: "", resource: "", path },
      );
    } catch (error) {
      return { allowed: false, reason: "", error: error instanceof Error ? error.message : String(error) };
    }
  }
}
