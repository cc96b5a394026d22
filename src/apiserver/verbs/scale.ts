/** The scale subresource: an autoscaling/v1 Scale in front of a workload's replica count. */
import { cloneJson } from "../../machinery/json.ts";
import { badRequest, conflict, fieldError, invalid } from "../../machinery/status.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { bodyTypeOf } from "./body-type.ts";
import { decodeObject } from "./decode.ts";
import { type Scale, setReplicas, toScale } from "./scale-object.ts";
import { guaranteedUpdate } from "./update.ts";

/** Writes the replica count of a Scale that `propose` makes from the present one. */
export async function updateScale(core: Core, call: Call, propose: (current: Scale) => unknown): Promise<CachedObject> {
  const { facts } = call;
  return guaranteedUpdate(core, call, (current) => {
    const scale = decodeObject(bodyTypeOf(facts, "scale"), propose(toScale(current)), { texts: [] }) as Scale;
    const replicas = scale.spec?.replicas ?? 0;
    if (replicas < 0) {
      const error = fieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
      throw invalid({ group: "autoscaling", resource: "Scale" }, call.name, [error]);
    }
    const { name, uid, resourceVersion } = scale.metadata;
    if (name !== undefined && name !== call.name) {
      throw badRequest(`the name of the object (${name}) does not match the name on the URL (${call.name})`);
    }
    if (uid && uid !== current.object.metadata.uid) {
      const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.object.metadata.uid}`;
      throw conflict(groupResource(facts), call.name, why);
    }
    const next = cloneJson(current.object);
    setReplicas(facts, next, replicas);
    // A Scale that names a revision is bound to it.
    if (resourceVersion) next.metadata.resourceVersion = resourceVersion;
    return { next };
  });
}
