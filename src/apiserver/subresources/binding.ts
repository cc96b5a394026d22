import { type Binding, type Pod, pods } from "../../api/generated/core-v1.ts";
import { formatTime } from "../../machinery/clock.ts";
import { badRequest, conflict, type FieldError, fieldError, invalid } from "../../machinery/status.ts";
import type { BodySubresource } from "../request.ts";

const ofPods = { group: "", resource: "pods" };

/** POST …/pods/{name}/binding and …/bindings: gives a pod its node and says that it is scheduled. */
export const bindingSubresource: BodySubresource = async (context, { info, body, dryRun }) => {
  const binding = body as Binding;
  // Posted to …/bindings the pod's name stands in the object only.
  const name = (info.resource === "bindings" ? undefined : info.name) ?? binding.metadata?.name ?? "";
  if (binding.metadata?.name && binding.metadata.name !== name) {
    throw badRequest("name in URL does not match name in Binding object");
  }
  const { kind, name: node = "" } = binding.target ?? {};
  const refusals: FieldError[] = [];
  if (kind && kind !== "Node") refusals.push(fieldError.notSupported("target.kind", kind, ["Node", "<empty>"]));
  if (node === "") refusals.push(fieldError.required("target.name"));
  if (refusals.length > 0) throw invalid({ group: "", resource: "Binding" }, name, refusals);

  await context.rewrite(pods, { name, dryRun, ...(info.namespace ? { namespace: info.namespace } : {}) }, (pod) => {
    bindPod(pod, binding, node, formatTime(context.clusterClock.now()));
  });
  return { code: 201, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 } };
};

/** Sets the pod's node. Throws 409 when it is being deleted or runs somewhere already. */
export function bindPod(pod: Pod, binding: Binding, node: string, now: string): void {
  const name = pod.metadata.name ?? "";
  const uid = binding.metadata?.uid;
  if (uid && uid !== pod.metadata.uid) {
    throw conflict(
      ofPods,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata.uid}`,
    );
  }
  if (pod.metadata.deletionTimestamp)
    throw conflict(ofPods, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  if (!pod.spec) throw badRequest(`pod ${name} has no spec`);
  if (pod.spec.nodeName)
    throw conflict(ofPods, name, `pod ${name} is already assigned to node ${JSON.stringify(pod.spec.nodeName)}`);
  if (pod.spec.schedulingGates?.length) {
    throw conflict(ofPods, name, `pod ${name} has non-empty .spec.schedulingGates`);
  }
  pod.spec.nodeName = node;
  const { annotations } = binding.metadata ?? {};
  if (annotations) pod.metadata.annotations = { ...pod.metadata.annotations, ...annotations };
  const status = pod.status ?? {};
  pod.status = status;
  const known = status.conditions?.find((condition) => condition.type === "PodScheduled");
  if (known?.status === "True") return;
  const scheduled = {
    ...(pod.metadata.generation ? { observedGeneration: pod.metadata.generation } : {}),
    type: "PodScheduled",
    status: "True",
    lastTransitionTime: now,
  };
  status.conditions = [...(status.conditions ?? []).filter((condition) => condition !== known), scheduled];
}
