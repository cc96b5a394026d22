import { type Pod, type PodResourceClaim, pods } from "../api/generated/core-v1.ts";
import { type ResourceClaim, resourceClaims, resourceClaimTemplates } from "../api/generated/resource-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import { type DeepReadonly, type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { found } from "./shared/found.ts";
import { mutable, ownerOf } from "./shared/owned.ts";
import { isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";

type ClaimView = DeepReadonly<ResourceClaim>;
type PodClaim = DeepReadonly<PodResourceClaim>;

const podClaimAnnotation = "resource.kubernetes.io/pod-claim-name";
/** Held while devices are allocated to the claim. */
const allocationFinalizer = "resource.kubernetes.io/delete-protection";
const podPrefix = "pod:";
const claimPrefix = "claim:";
/** Longest part of a name that the server completes. */
const maxBase = 57;

/** The name of the claim of a pod; undefined: not known yet; null: the pod needs none here. */
function claimNameOf(pod: PodView, { name, resourceClaimName, resourceClaimTemplateName }: PodClaim) {
  if (resourceClaimName) return resourceClaimName;
  if (!resourceClaimTemplateName) return null;
  const status = pod.status?.resourceClaimStatuses?.find((one) => one.name === name);
  return status ? (status.resourceClaimName ?? null) : undefined;
}

function isOwnedBy(claim: ClaimView, pod: PodView): boolean {
  const owner = ownerOf(claim);
  return owner?.kind === "Pod" && owner.uid === pod.metadata.uid;
}

function generatedName(pod: string, claim: string): string {
  const whole = `${pod}-${claim}-`;
  if (whole.length <= maxBase) return whole;
  // Both keep their share of what fits.
  const share = (text: string) => text.slice(0, Math.floor((text.length * maxBase) / whole.length));
  return `${share(pod)}-${share(claim)}`;
}

/** Makes the claims that pods want from templates, and takes reservations and allocations back that nobody needs. */
export const resourceClaimController: ControllerFactory = {
  name: "resource-claim-controller",
  create({ client, informers, events }) {
    const podInformer = informers.of(pods);
    const claims = informers.of(resourceClaims);
    const templates = informers.of(resourceClaimTemplates);
    const keysOf = (pod: PodView) => `${pod.metadata.namespace}/`;
    podInformer.addIndex("resourceClaim", (pod) =>
      (pod.spec?.resourceClaims ?? []).flatMap((one) => {
        const name = claimNameOf(pod, one);
        return name ? [keysOf(pod) + name] : [];
      }),
    );
    podInformer.addIndex("resourceClaimTemplate", (pod) =>
      (pod.spec?.resourceClaims ?? []).flatMap(({ resourceClaimTemplateName: name }) =>
        name ? [keysOf(pod) + name] : [],
      ),
    );
    claims.addIndex("podUid", (claim) => {
      const owner = ownerOf(claim);
      return owner?.kind === "Pod" ? [owner.uid] : [];
    });
    const claimKeysOf = (pod: PodView) =>
      (pod.spec?.resourceClaims ?? []).flatMap((one) => {
        const name = claimNameOf(pod, one);
        return name ? [claimPrefix + keysOf(pod) + name] : [];
      });

    /** The claim that a pod has, or gets now, for one of its wishes. */
    async function ensure(pod: PodView, wish: PodClaim, signal: AbortSignal): Promise<string | undefined> {
      const { namespace = "", name: podName = "", uid = "" } = pod.metadata;
      const known = claimNameOf(pod, wish);
      if (known === null || !wish.resourceClaimTemplateName) return undefined;
      if (known) {
        const claim = claims.get(`${namespace}/${known}`);
        if (claim && isOwnedBy(claim, pod)) return undefined;
      }
      const own = claims
        .byIndex("podUid", uid)
        .find(({ metadata }) => metadata.annotations?.[podClaimAnnotation] === wish.name);
      if (own) return own.metadata.name;
      const templateName = wish.resourceClaimTemplateName;
      const template = templates.get(`${namespace}/${templateName}`);
      if (!template) {
        const missing = `resourceclaimtemplate.resource.k8s.io ${JSON.stringify(templateName)} not found`;
        throw new Error(`resource claim template ${JSON.stringify(templateName)}: ${missing}`);
      }
      const { metadata, spec } = structuredClone(template.spec) as ResourceClaim;
      const created = await client.create(
        resourceClaims,
        {
          metadata: {
            generateName: generatedName(podName, wish.name),
            annotations: { ...metadata?.annotations, [podClaimAnnotation]: wish.name },
            ...(metadata?.labels ? { labels: metadata.labels } : {}),
            ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: podName, uid, controller: true }],
          },
          spec,
        },
        { namespace, signal },
      );
      return created.metadata.name;
    }

    async function syncPod(pod: PodView, signal: AbortSignal): Promise<void> {
      if (isTerminating(pod) || isTerminated(pod)) return;
      const { namespace = "", name = "", uid } = pod.metadata;
      const made: { name: string; resourceClaimName: string }[] = [];
      for (const wish of pod.spec?.resourceClaims ?? []) {
        try {
          const claim = await ensure(pod, wish, signal);
          if (claim) made.push({ name: wish.name, resourceClaimName: claim });
        } catch (error) {
          const text = `PodResourceClaim ${wish.name}: ${(error as Error).message}`;
          events.event(pods, pod, "Warning", "FailedResourceClaimCreation", text);
          throw error;
        }
      }
      if (made.length > 0) {
        const body = { metadata: { uid }, status: { resourceClaimStatuses: made } };
        await client.patch(pods, name, { type: "strategic", body }, { namespace, subresource: "status", signal });
      }
      if (pod.spec?.nodeName) await reserve(pod, signal);
    }

    /** Pods that came to a node without the scheduler reserve what is allocated for them. */
    async function reserve(pod: PodView, signal: AbortSignal): Promise<void> {
      const { namespace = "", name = "", uid = "" } = pod.metadata;
      for (const wish of pod.spec?.resourceClaims ?? []) {
        const claim = claims.get(`${namespace}/${claimNameOf(pod, wish) ?? ""}`);
        if (!claim?.status?.allocation || claim.metadata.deletionTimestamp) continue;
        const reserved = claim.status.reservedFor ?? [];
        if (reserved.some((one) => one.uid === uid) || reserved.length >= 256) continue;
        const next = mutable<ResourceClaim>(claim);
        next.status = {
          ...next.status,
          reservedFor: [...(next.status?.reservedFor ?? []), { resource: "pods", name, uid }],
        };
        await client.update(resourceClaims, next, { subresource: "status", signal });
      }
    }

    /** Does a pod that a claim is reserved for still need it? */
    async function isNeeded(namespace: string, name: string, uid: string, signal: AbortSignal): Promise<boolean> {
      let pod: PodView | undefined = podInformer.get(`${namespace}/${name}`);
      // A cache that is behind must not take devices from a pod.
      if (pod?.metadata.uid !== uid) pod = await found<Pod>(client.get(pods, name, { namespace, signal }));
      if (pod?.metadata.uid !== uid) return false;
      return !isTerminated(pod) && !(isTerminating(pod) && !pod.spec?.nodeName);
    }

    async function syncClaim(claim: ClaimView, signal: AbortSignal): Promise<void> {
      const { namespace = "", name = "", uid = "" } = claim.metadata;
      const keep: NonNullable<NonNullable<ResourceClaim["status"]>["reservedFor"]> = [];
      for (const one of claim.status?.reservedFor ?? []) {
        const isPod = one.resource === "pods" && !one.apiGroup;
        if (!isPod || (await isNeeded(namespace, one.name, one.uid, signal))) keep.push({ ...one });
      }
      const next = mutable<ResourceClaim>(claim);
      if (!deepEqual(claim.status?.reservedFor ?? [], keep)) next.status = { ...next.status, reservedFor: keep };
      // What was used and is not any more is given back, and so is what goes.
      const wasUsed = (claim.status?.reservedFor ?? []).length > 0;
      if (keep.length === 0 && (wasUsed || claim.metadata.deletionTimestamp)) delete next.status?.allocation;
      let current: ClaimView = claim;
      if (!deepEqual(claim.status ?? {}, next.status ?? {})) {
        current = await client.update(resourceClaims, next, { subresource: "status", signal });
      }
      const { finalizers = [], deletionTimestamp } = current.metadata;
      if (!current.status?.allocation && finalizers.includes(allocationFinalizer) && keep.length === 0) {
        const free = mutable<ResourceClaim>(current);
        free.metadata.finalizers = finalizers.filter((one) => one !== allocationFinalizer);
        await client.update(resourceClaims, free, { signal });
      }
      const owner = ownerOf(claim);
      if (owner?.kind !== "Pod" || deletionTimestamp || keep.length > 0) return;
      const pod = podInformer.get(`${namespace}/${owner.name}`);
      // When the pod is gone altogether, the garbage collector takes the claim.
      if (pod?.metadata.uid !== owner.uid || !isTerminated(pod)) return;
      try {
        await client.delete(resourceClaims, name, { namespace, preconditions: { uid }, signal });
      } catch (error) {
        if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
      }
    }

    return {
      watches: [
        watch(podInformer, (pod) =>
          pod.spec?.resourceClaims?.length ? [podPrefix + keyOf(pod as KubeObject), ...claimKeysOf(pod)] : [],
        ),
        watch(claims, (claim) => [
          claimPrefix + keyOf(claim as KubeObject),
          ...podInformer
            .byIndex("resourceClaim", keyOf(claim as KubeObject))
            .map((pod) => podPrefix + keyOf(pod as KubeObject)),
        ]),
        watch(templates, (template) =>
          podInformer
            .byIndex("resourceClaimTemplate", keyOf(template as KubeObject))
            .map((pod) => podPrefix + keyOf(pod as KubeObject)),
        ),
      ],
      async reconcile(key, signal) {
        if (key.startsWith(podPrefix)) {
          const pod = podInformer.get(key.slice(podPrefix.length));
          if (pod) await syncPod(pod, signal);
        } else {
          const claim = claims.get(key.slice(claimPrefix.length));
          if (claim) await syncClaim(claim, signal);
        }
        return undefined;
      },
    };
  },
};
