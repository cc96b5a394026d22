import { type CustomResourceDefinition, customResourceDefinitions } from "./generated/apiextensions-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateDefinition, validateDefinitionUpdate } from "./validation/definition.ts";

/** Remembers every version that objects may be stored in. */
function recordStorageVersion(definition: CustomResourceDefinition): void {
  const version = definition.spec.versions?.find((candidate) => candidate.storage)?.name;
  if (version === undefined) return;
  definition.status ??= {};
  const stored = definition.status.storedVersions ?? [];
  if (!stored.includes(version)) definition.status.storedVersions = [...stored, version];
}

export const apiextensionsV1: readonly KindEntry[] = [
  kind(customResourceDefinitions, {
    shortNames: ["crd", "crds"],
    categories: ["api-extensions"],
    storage: { prefix: "apiextensions.k8s.io/customresourcedefinitions" },
    strategy: {
      generation: true,
      allowUnconditionalUpdate: false,
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.scope ||= "Namespaced";
        spec.names.singular ||= spec.names.kind.toLowerCase();
        spec.names.listKind ||= `${spec.names.kind}List`;
        spec.conversion ??= { strategy: "None" };
        const service = spec.conversion.webhook?.clientConfig?.service;
        if (service) service.port ??= 443;
      },
      validate: validateDefinition,
      validateUpdate: validateDefinitionUpdate,
      prepareForCreate: recordStorageVersion,
      prepareForUpdate: recordStorageVersion,
    },
  }),
];
