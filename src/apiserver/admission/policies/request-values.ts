import type { Namespace } from "../../../api/generated/core-v1.ts";
import type { CelValue } from "../../../machinery/cel/values.ts";
import type { AdmissionAttributes } from "../../request.ts";

/** An object with the entries that Go would write: empty ones are left out. */
function nonEmpty(entries: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(entries).filter(([, value]) => {
      if (value === undefined || value === "") return false;
      return typeof value !== "object" || value === null || Object.keys(value).length > 0;
    }),
  );
}

/** The kind that a request carries: the resource's own, or its subresource's. */
export function kindOf({ facts, subresource }: AdmissionAttributes): { group: string; version: string; kind: string } {
  const own = subresource ? facts.subresources[subresource] : undefined;
  if (!own?.kind) return { group: facts.group, version: facts.version, kind: facts.kind };
  return { group: own.group ?? facts.group, version: own.version ?? facts.version, kind: own.kind };
}

/** The namespace that a request is in. One about a namespace that is there already is in that namespace. */
export function namespaceOf({ facts, operation, namespace, name }: AdmissionAttributes): string | undefined {
  const itself = facts.group === "" && facts.resource === "namespaces" && operation !== "CREATE";
  return itself ? name : namespace;
}

const resourceOf = ({ facts: { group, version, resource } }: AdmissionAttributes) => ({ group, version, resource });

/**
 * `request`: admission/v1 AdmissionRequest, without its uid and its objects. `shown` is the request as rules know it,
 * `asked` as it came: they differ where rules for one version of a resource meet a request for another.
 */
export function requestValue(shown: AdmissionAttributes, asked = shown): CelValue {
  const { subresource, name, operation, user, dryRun, options } = asked;
  return {
    ...nonEmpty({ subResource: subresource, requestSubResource: subresource, name, namespace: namespaceOf(asked) }),
    kind: kindOf(shown),
    resource: resourceOf(shown),
    requestKind: kindOf(asked),
    requestResource: resourceOf(asked),
    operation,
    userInfo: nonEmpty({ username: user.name, uid: user.uid, groups: user.groups, extra: user.extra }),
    dryRun,
    options: options ?? null,
  };
}

/** `object` and `oldObject`: null where there is none. A connection carries its options. */
export function objectValues({ object, oldObject, operation, options }: AdmissionAttributes): [CelValue, CelValue] {
  const carried = object ?? (operation === "CONNECT" ? options : undefined);
  return [(carried ?? null) as unknown as CelValue, (oldObject ?? null) as unknown as CelValue];
}

/** `namespaceObject`: a Namespace without what expressions must not see of it. */
export function namespaceValue(namespace: Namespace | undefined): CelValue {
  if (!namespace) return null;
  const { managedFields: _fields, ownerReferences: _owners, ...metadata } = namespace.metadata;
  return { metadata, spec: namespace.spec ?? {}, status: namespace.status ?? {} } as unknown as CelValue;
}
