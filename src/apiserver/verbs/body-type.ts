import type { ResourceFacts } from "../../api/resource.ts";
import { builtInSchema } from "../../api/schemas.ts";
import type { Typed } from "./decode.ts";

/** Types that stand in bodies of subresources; the others send the resource's own kind. */
const subresourceSchemas: Readonly<Record<string, string>> = {
  Scale: "io.k8s.api.autoscaling.v1.Scale",
  Eviction: "io.k8s.api.policy.v1.Eviction",
  Binding: "io.k8s.api.core.v1.Binding",
  TokenRequest: "io.k8s.api.authentication.v1.TokenRequest",
};

/** The type of the body that a resource, or its subresource, takes. */
export function bodyTypeOf(facts: ResourceFacts, subresource: string | undefined): Typed {
  const own = subresource ? facts.subresources[subresource] : undefined;
  if (!own?.kind || !Object.hasOwn(subresourceSchemas, own.kind)) return facts;
  const { group = facts.group, version = facts.version, kind } = own;
  return { group, version, kind, schema: builtInSchema(subresourceSchemas[kind]!) };
}
