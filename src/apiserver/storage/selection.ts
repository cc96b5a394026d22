import type { ResourceFacts } from "../../api/resource.ts";
import { type FieldSelector, parseFieldSelector } from "../../machinery/field-selector.ts";
import { everything, parseLabelSelector, type Selector } from "../../machinery/label-selector.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { badRequest } from "../../machinery/status.ts";

const noLabels: Readonly<Record<string, string>> = {};

/** Which objects of a resource a list or watch is about. */
export interface Selection {
  /** Absent: all namespaces. */
  readonly namespace: string | undefined;
  readonly labels: Selector;
  readonly fields: FieldSelector;
  /** No selector narrows it: every object of the namespace (or cluster) is in. */
  readonly all: boolean;
  /** An object's value of a field that selectors of its kind may name. */
  fieldValue(object: KubeObject, field: string): string | undefined;
  matches(object: KubeObject): boolean;
}

/** Makes a selection from query parameters. Throws 400 for selectors that cannot be understood or fields that the kind lacks. */
export function makeSelection(
  facts: ResourceFacts,
  namespace: string | undefined,
  labelSelector = "",
  fieldSelector = "",
): Selection {
  const labels = labelSelector === "" ? everything : parseLabelSelector(labelSelector);
  const fields = parseFieldSelector(fieldSelector);
  for (const { field } of fields.requirements) {
    if (field === "metadata.name" || (field === "metadata.namespace" && facts.namespaced)) continue;
    if (Object.hasOwn(facts.selectableFields, field)) continue;
    // Kubernetes has one text for kinds with fields of their own, and one for the others.
    const hasOwnFields = facts.custom || Object.keys(facts.selectableFields).length > 0;
    throw badRequest(
      hasOwnFields
        ? `field label not supported: ${field}`
        : `${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`,
    );
  }
  const fieldValue = (object: KubeObject, field: string): string | undefined =>
    field === "metadata.name"
      ? object.metadata.name
      : field === "metadata.namespace"
        ? object.metadata.namespace
        : facts.selectableFields[field]!(object);
  const all = labels.empty && fields.empty;
  return {
    namespace: facts.namespaced ? namespace : undefined,
    labels,
    fields,
    all,
    fieldValue,
    matches: (object) =>
      all ||
      (labels.matches(object.metadata.labels ?? noLabels) && fields.matches((field) => fieldValue(object, field))),
  };
}
