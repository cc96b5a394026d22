/** Subresources whose body is the whole object, and of which each may change only a part. */
import type { ResourceFacts } from "../../api/resource.ts";
import { cloneJson } from "../../machinery/json.ts";
import type { KubeObject } from "../../machinery/object.ts";

interface Body extends KubeObject {
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}

/** Reduces `next` to what this subresource may change of `old`. */
export type SubresourceRule = (next: KubeObject, old: KubeObject) => void;

/** Everything but metadata's managedFields comes from `old`; then `take` brings over what may change. */
function onlyChanging(take: (next: Body, object: Body) => void): SubresourceRule {
  return (next, old) => {
    const wanted = { ...next } as Body;
    const { managedFields } = next.metadata;
    for (const key of Object.keys(next)) delete (next as unknown as Record<string, unknown>)[key];
    Object.assign(next, cloneJson(old));
    if (managedFields) next.metadata.managedFields = managedFields;
    take(wanted, next as Body);
  };
}

const rules: Readonly<Record<string, SubresourceRule>> = {
  "namespaces/finalize": onlyChanging((wanted, object) => {
    object.spec = { ...object.spec };
    const finalizers = wanted.spec?.["finalizers"];
    if (finalizers === undefined) delete object.spec["finalizers"];
    else object.spec["finalizers"] = finalizers;
  }),
  "certificatesigningrequests/approval": onlyChanging((wanted, object) => {
    const conditions = wanted.status?.["conditions"];
    object.status = { ...object.status, ...(conditions === undefined ? {} : { conditions }) };
  }),
  "pods/ephemeralcontainers": onlyChanging((wanted, object) => {
    const containers = wanted.spec?.["ephemeralContainers"];
    object.spec = { ...object.spec, ...(containers === undefined ? {} : { ephemeralContainers: containers }) };
  }),
};

/** The rule of a subresource, if it is one of this kind. */
export function subresourceRule(facts: ResourceFacts, subresource: string): SubresourceRule | undefined {
  return facts.custom ? undefined : rules[`${facts.resource}/${subresource}`];
}
