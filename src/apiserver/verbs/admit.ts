import type { KubeObject } from "../../machinery/object.ts";
import type { Call, Core } from "../core.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../request.ts";

/** Whatever the verb was: a patch that creates is admitted as a create, one that changes as an update. */
const optionKinds = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" } as const;

function optionsOf(call: Call, operation: AdmissionAttributes["operation"]): object | undefined {
  if (!call.options || operation === "CONNECT") return call.options;
  return { kind: optionKinds[operation], apiVersion: "meta.k8s.io/v1", ...call.options };
}

/** The attributes that admission plugins see of a call. */
export function admissionAttributes(
  call: Call,
  operation: AdmissionAttributes["operation"],
  object: KubeObject | undefined,
  oldObject: KubeObject | undefined,
): AdmissionAttributes {
  const options = optionsOf(call, operation);
  return {
    operation,
    facts: call.facts,
    ...(call.subresource ? { subresource: call.subresource } : {}),
    ...(call.namespace ? { namespace: call.namespace } : {}),
    name: call.name || object?.metadata.name || "",
    ...(object ? { object } : {}),
    ...(oldObject ? { oldObject } : {}),
    user: call.user,
    dryRun: call.dryRun,
    ...(options ? { options } : {}),
    warn: call.warn,
    rounds: { round: 1, again: false, notes: new Map() },
  };
}

/** Runs the mutating phase; what was allocated before a refusal is given back. */
export async function admit(core: Core, call: Call, attributes: AdmissionAttributes): Promise<void> {
  if (!call.admission) return;
  try {
    await mutate(core.admission, attributes);
  } catch (error) {
    release(core, call, attributes);
    over(core, call, attributes);
    throw error;
  }
}

/** Everything once more when a plugin wants it, and what allocates at the end: it must see the object as it will be. */
export async function mutate(plugins: readonly AdmissionPlugin[], attributes: AdmissionAttributes): Promise<void> {
  // Most plugins have one phase only: what they lack is not waited for.
  for (const plugin of plugins) if (!plugin.last && plugin.admit) await plugin.admit(attributes);
  const { rounds } = attributes;
  if (rounds?.again) {
    rounds.round = 2;
    for (const plugin of plugins) if (!plugin.last && plugin.admit) await plugin.admit(attributes);
  }
  for (const plugin of plugins) if (plugin.last && plugin.admit) await plugin.admit(attributes);
}

export async function validateAdmission(core: Core, call: Call, attributes: AdmissionAttributes): Promise<void> {
  if (!call.admission) return;
  for (const plugin of core.admission) if (plugin.validate) await plugin.validate(attributes);
}

/** Tells the plugins that an admitted request did not happen. */
export function release(core: Core, call: Call, attributes: AdmissionAttributes): void {
  if (!call.admission) return;
  for (const plugin of core.admission) plugin.release?.(attributes);
}

/** Tells the plugins that an admitted request is over: answered, failed, or a dry run. */
export function over(core: Core, call: Call, attributes: AdmissionAttributes): void {
  if (!call.admission) return;
  for (const plugin of core.admission) plugin.done?.(attributes);
}
