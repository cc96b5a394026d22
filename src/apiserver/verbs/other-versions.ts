/** The versions of a kind beside that of a request: how server-side apply sees an object through the eyes of its owners. */
import type { ResourceFacts } from "../../api/resource.ts";
import type { Versions } from "../../machinery/apply/versions.ts";
import { canonicalize } from "../../machinery/canonical.ts";
import { cloneJson } from "../../machinery/json.ts";
import { apiVersionOf, type KubeObject } from "../../machinery/object.ts";
import { pruneUnknown } from "../../machinery/pruning.ts";
import { internalError } from "../../machinery/status.ts";
import type { Core } from "../core.ts";

/** `resetFieldsOf`: which fields the endpoint at hand does not take in a version. */
export function otherVersions(
  core: Core,
  facts: ResourceFacts,
  resetFieldsOf: (facts: ResourceFacts) => readonly (readonly string[])[],
): Versions {
  const find = (apiVersion: string): ResourceFacts | undefined => {
    if (apiVersionOf(facts) === apiVersion) return facts;
    const isIt = (one: ResourceFacts) => apiVersionOf(one) === apiVersion;
    return core.equivalents(facts).find(isIt) ?? facts.storage?.unserved?.find(isIt);
  };
  return {
    find(apiVersion) {
      const found = find(apiVersion);
      return found && { schema: found.schema, resetFields: resetFieldsOf(found) };
    },
    convert(object, apiVersion) {
      const from = find(object.apiVersion ?? "");
      const to = find(apiVersion);
      if (!from || !to) {
        throw internalError(new Error(`${facts.kind} cannot be converted from ${object.apiVersion} to ${apiVersion}`));
      }
      const { convert, group, version } = from.storage ?? {};
      if (!convert) return from.custom ? typed(to, cloneJson(object)) : builtIn(from, to, object);
      // By way of the stored version, since that is all that a webhook has to know.
      return convert([object], apiVersionOf({ group: group!, version: version! }))
        .then((stored) => convert(stored, apiVersion))
        .then(([converted]) => typed(to, converted!));
    },
  };
}

/** A custom object, private to this call, as one of a version; without what that version does not know. */
function typed(to: ResourceFacts, { apiVersion: _apiVersion, kind: _kind, metadata, ...rest }: KubeObject): KubeObject {
  pruneUnknown(to.schema, rest);
  return { kind: to.kind, apiVersion: apiVersionOf(to), metadata, ...rest };
}

function builtIn(from: ResourceFacts, to: ResourceFacts, object: KubeObject): KubeObject {
  const source = canonicalize(from.schema, object) as KubeObject;
  const stored = from.storage?.toStorage ? from.storage.toStorage(source) : source;
  const other = to.storage?.fromStorage ? to.storage.fromStorage(stored) : stored;
  return canonicalize(to.schema, { ...other, kind: to.kind, apiVersion: apiVersionOf(to) }) as KubeObject;
}
