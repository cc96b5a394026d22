import type { ResourceFacts } from "../../api/resource.ts";
import { cloneJson } from "../../machinery/json.ts";
import { apiVersionOf, type KubeObject } from "../../machinery/object.ts";
import type { ResourceTable } from "../resource-table.ts";

/** The other served resources that hold the same objects: other versions, and the same kind in another group. */
export type Equivalents = (facts: ResourceFacts) => readonly ResourceFacts[];

/** Looked up once a change of the table. */
export function equivalentsOf(resources: ResourceTable): Equivalents {
  let generation = -1;
  let byPrefix = new Map<string, ResourceFacts[]>();
  return (facts) => {
    if (!facts.storage) return [];
    if (resources.generation !== generation) {
      byPrefix = new Map();
      for (const one of resources.all()) {
        if (!one.storage) continue;
        const { prefix } = one.storage;
        byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), one]);
      }
      ({ generation } = resources);
    }
    const others = byPrefix.get(facts.storage.prefix) ?? [];
    return others.length < 2 ? [] : others.filter((one) => one !== facts);
  };
}

/** An object of one resource as an equivalent one has it; a copy. Throws when it cannot be converted. */
export async function convertBetween(from: ResourceFacts, to: ResourceFacts, object: KubeObject): Promise<KubeObject> {
  const copy = cloneJson(object);
  if (from === to) return copy;
  const { convert } = from.storage ?? {};
  if (convert) {
    const [converted] = await convert([copy], apiVersionOf(to));
    return converted!;
  }
  const stored = from.storage?.toStorage?.(copy) ?? copy;
  const { apiVersion: _apiVersion, kind: _kind, ...rest } = to.storage?.fromStorage?.(stored) ?? stored;
  return { apiVersion: apiVersionOf(to), kind: to.kind, ...rest };
}
