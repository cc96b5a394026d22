/** admission/v1 and v1beta1 AdmissionReview: what is sent to a webhook, and what its answer says. */
import { isRecord } from "../../../machinery/json.ts";
import type { KubeObject } from "../../../machinery/object.ts";
import { type Status, StatusError } from "../../../machinery/status.ts";
import type { AdmissionAttributes } from "../../request.ts";
import { kindOf } from "../policies/request-values.ts";

export type ReviewVersion = "v1" | "v1beta1";

/** What a webhook said. */
export interface Verdict {
  readonly allowed: boolean;
  readonly result: Partial<Status> | undefined;
  /** JSON text; absent: it changes nothing. */
  readonly patch: Buffer | undefined;
  readonly patchType: string;
  readonly warnings: readonly string[];
}

/**
 * The review of a request. `shown` is the request as the webhook's rules know it, `asked` as it came: they differ when a
 * webhook for one version of a resource judges a request for another.
 */
export function makeReview(
  version: ReviewVersion,
  uid: string,
  shown: AdmissionAttributes,
  asked: AdmissionAttributes,
): object {
  const { user, operation } = asked;
  const connects = operation === "CONNECT";
  const isNamespace = asked.facts.group === "" && asked.facts.resource === "namespaces";
  const namespace = isNamespace ? asked.name : asked.namespace;
  const resourceOf = ({ facts: { group, version, resource } }: AdmissionAttributes) => ({ group, version, resource });
  const { subresource } = asked;
  return {
    kind: "AdmissionReview",
    apiVersion: `admission.k8s.io/${version}`,
    request: {
      uid,
      kind: kindOf(shown),
      resource: resourceOf(shown),
      ...(subresource ? { subResource: subresource } : {}),
      requestKind: kindOf(asked),
      requestResource: resourceOf(asked),
      ...(subresource ? { requestSubResource: subresource } : {}),
      ...(asked.name ? { name: asked.name } : {}),
      ...(namespace ? { namespace } : {}),
      operation,
      userInfo: {
        ...(user.name ? { username: user.name } : {}),
        ...(user.uid ? { uid: user.uid } : {}),
        ...(user.groups.length > 0 ? { groups: user.groups } : {}),
        ...(user.extra && Object.keys(user.extra).length > 0 ? { extra: user.extra } : {}),
      },
      object: (connects ? asked.options : shown.object) ?? null,
      oldObject: shown.oldObject ?? null,
      dryRun: asked.dryRun,
      options: (connects ? undefined : asked.options) ?? null,
    },
  };
}

const kindText = (apiVersion: string, kind: string) => `${apiVersion || "/"}, Kind=${kind}`;

/** Reads an answer. Throws Error with Kubernetes' text for one that does not fit the question. */
export function readVerdict(version: ReviewVersion, uid: string, mutating: boolean, answer: unknown): Verdict {
  const review = isRecord(answer) ? answer : {};
  const { response } = review;
  if (!isRecord(response)) throw new Error("webhook response was absent");
  const strict = version === "v1";
  if (strict && response["uid"] !== uid) {
    throw new Error(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response["uid"] ?? "")}`);
  }
  const expected = kindText(`admission.k8s.io/${version}`, "AdmissionReview");
  const got = kindText(String(review["apiVersion"] ?? ""), String(review["kind"] ?? ""));
  if (strict && got !== expected) throw new Error(`expected webhook response of ${expected}, got ${got}`);
  const { warnings, status: result } = response;
  const { patch, patchType } = readPatch(response, mutating, strict);
  return {
    allowed: response["allowed"] === true,
    result: isRecord(result) ? (result as Partial<Status>) : undefined,
    patch,
    patchType,
    warnings: Array.isArray(warnings) ? warnings.filter((text) => typeof text === "string" && text !== "") : [],
  };
}

function readPatch(
  { patch: text, patchType: type }: Record<string, unknown>,
  mutating: boolean,
  strict: boolean,
): Pick<Verdict, "patch" | "patchType"> {
  const patch = typeof text === "string" && text !== "" ? Buffer.from(text, "base64") : undefined;
  const given = type !== undefined && type !== null;
  if (!strict) return { patch: mutating ? patch : undefined, patchType: "JSONPatch" };
  if (!mutating) {
    if (patch) throw new Error("validating webhook may not return response.patch");
    if (given) throw new Error("validating webhook may not return response.patchType");
    return { patch: undefined, patchType: "" };
  }
  if (patch && !given) throw new Error("webhook returned response.patch but not response.patchType");
  if (!patch && given) throw new Error("webhook returned response.patchType but not response.patch");
  if (type === "") throw new Error(`webhook returned invalid response.patchType of ""`);
  return { patch, patchType: given ? String(type) : "" };
}

/** The refusal of a webhook, as the client gets it. */
export function denial(name: string, result: Partial<Status> | undefined): StatusError {
  const deniedBy = `admission webhook ${JSON.stringify(name)} denied the request`;
  const { code, details } = result ?? {};
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const reason = text(result?.reason);
  const why = text(result?.message) || reason;
  return new StatusError(
    typeof code === "number" && Number.isInteger(code) && code >= 400 && code <= 599 ? code : 400,
    reason,
    why ? `${deniedBy}: ${why}` : `${deniedBy} without explanation`,
    isRecord(details) ? details : undefined,
  );
}

/** An object that webhooks may see and change, in the place of the one that the request came with. */
export function replaceContent(object: KubeObject, next: KubeObject): void {
  const target = object as unknown as Record<string, unknown>;
  for (const key of Object.keys(target)) if (!Object.hasOwn(next, key)) delete target[key];
  Object.assign(target, next);
}
