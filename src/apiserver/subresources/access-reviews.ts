import type {
  LocalSubjectAccessReview,
  SelfSubjectAccessReview,
  SelfSubjectRulesReview,
  SubjectAccessReview,
} from "../../api/generated/authorization-v1.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { badRequest, type FieldError, fieldError, invalid } from "../../machinery/status.ts";
import type { Rbac } from "../authorization/rbac.ts";
import type { AuthorizationAttributes, BodySubresource, ServerContext, UserInfo } from "../request.ts";

const group = "authorization.k8s.io";

type Attributes = NonNullable<SelfSubjectAccessReview["spec"]>;

/** POST subjectaccessreviews: may that user do this? */
export const subjectAccessReview: BodySubresource = async (context, { body }) => {
  const review = body as SubjectAccessReview;
  const spec = review.spec ?? {};
  const errors = attributeErrors(spec);
  if (!spec.user && !spec.groups?.length) {
    errors.push(fieldError.invalid("spec.user", spec.user ?? "", "at least one of user or group must be specified"));
  }
  refuse("SubjectAccessReview", errors);
  return answer(context, review, subject(spec), spec);
};

/** POST …/localsubjectaccessreviews: the same inside one namespace. */
export const localSubjectAccessReview: BodySubresource = async (context, { info, body }) => {
  const review = body as LocalSubjectAccessReview;
  const spec = review.spec ?? {};
  const errors = attributeErrors(spec);
  if (!spec.user && !spec.groups?.length) {
    errors.push(fieldError.invalid("spec.user", spec.user ?? "", "at least one of user or group must be specified"));
  }
  if (spec.nonResourceAttributes) {
    const text = "disallowed on this kind of request";
    errors.push(fieldError.invalid("spec.nonResourceAttributes", spec.nonResourceAttributes, text));
  }
  refuse("LocalSubjectAccessReview", errors);
  if (spec.resourceAttributes && (spec.resourceAttributes.namespace ?? "") !== (info.namespace ?? "")) {
    throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${info.namespace}`);
  }
  return answer(context, review, subject(spec), spec);
};

/** POST selfsubjectaccessreviews: may I do this? (`kubectl auth can-i`) */
export const selfSubjectAccessReview: BodySubresource = async (context, { user, body }) => {
  const review = body as SelfSubjectAccessReview;
  const spec = review.spec ?? {};
  refuse("SelfSubjectAccessReview", attributeErrors(spec));
  return answer(context, review, user, spec);
};

/** POST selfsubjectrulesreviews: what may I do in a namespace? (`kubectl auth can-i --list`) */
export function selfSubjectRulesReview(rbac: Rbac): BodySubresource {
  return async (_context, { user, body }) => {
    const review = body as SelfSubjectRulesReview;
    const namespace = review.spec?.namespace;
    if (!namespace) throw badRequest("no namespace on request");
    const { rules, errors } = await rbac.rulesFor(user, namespace);
    const copy = structuredClone(rules);
    // Members of system:masters need no role.
    const masters = user.groups.includes("system:masters");
    const everything = masters ? [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }] : [];
    const everywhere = masters ? [{ verbs: ["*"], nonResourceURLs: ["*"] }] : [];
    return {
      code: 201,
      body: {
        ...review,
        status: {
          resourceRules: [...everything, ...copy.filter((rule) => rule.resources)],
          nonResourceRules: [...everywhere, ...copy.filter((rule) => rule.nonResourceURLs)],
          incomplete: false,
          ...(errors.length > 0 ? { evaluationError: errors.join(", ") } : {}),
        },
      },
    };
  };
}

async function answer(context: ServerContext, review: KubeObject, user: UserInfo, spec: Attributes) {
  const { allowed, reason } = await context.authorize(attributesOf(user, spec));
  return { code: 201, body: { ...review, status: { allowed, ...(reason ? { reason } : {}) } } };
}

function attributesOf(user: UserInfo, spec: Attributes): AuthorizationAttributes {
  const path = spec.nonResourceAttributes;
  if (path) return { user, verb: path.verb ?? "", group: "", resource: "", path: path.path ?? "" };
  const of = spec.resourceAttributes ?? {};
  return {
    user,
    verb: of.verb ?? "",
    group: of.group ?? "",
    resource: of.resource ?? "",
    ...(of.version ? { version: of.version } : {}),
    ...(of.subresource ? { subresource: of.subresource } : {}),
    ...(of.namespace ? { namespace: of.namespace } : {}),
    ...(of.name ? { name: of.name } : {}),
  };
}

function subject(spec: NonNullable<SubjectAccessReview["spec"]>): UserInfo {
  return {
    name: spec.user ?? "",
    groups: spec.groups ?? [],
    ...(spec.uid ? { uid: spec.uid } : {}),
    ...(spec.extra ? { extra: spec.extra } : {}),
  };
}

function attributeErrors(spec: Attributes): FieldError[] {
  const { resourceAttributes, nonResourceAttributes } = spec;
  if (resourceAttributes && nonResourceAttributes) {
    const text = "cannot be specified in combination with resourceAttributes";
    return [fieldError.invalid("spec.nonResourceAttributes", nonResourceAttributes, text)];
  }
  if (!resourceAttributes && !nonResourceAttributes) {
    const text = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    return [fieldError.invalid("spec.resourceAttributes", null, text)];
  }
  return [];
}

function refuse(kind: string, errors: readonly FieldError[]): void {
  if (errors.length > 0) throw invalid({ group, resource: kind }, "", errors);
}
