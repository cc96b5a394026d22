import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from "../api/generated/core-v1.ts";
import { storageClasses } from "../api/generated/storage-v1.ts";
import {
  bindCompletedAnnotation,
  boundByControllerAnnotation,
  type ClaimView,
  defaultClass,
  findVolume,
  isBindComplete,
  isClassOpen,
  isReservedFor,
  misfit,
  modesDiffer,
  selectedNodeAnnotation,
  storageClassOf,
  type VolumeView,
} from "../api/volume/matching.ts";
import { deepEqual } from "../machinery/equality.ts";
import { type KubeObject, keyOf } from "../machinery/object.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import { found } from "./shared/found.ts";
import { mutable } from "./shared/owned.ts";
import { claimsOf } from "./shared/pod-claims.ts";
import { isTerminated } from "./shared/pod-facts.ts";

const volumePrefix = "volume:";
const claimPrefix = "claim:";
const provisionerAnnotations = [
  "volume.beta.kubernetes.io/storage-provisioner",
  "volume.kubernetes.io/storage-provisioner",
];
const provisionedByAnnotation = "pv.kubernetes.io/provisioned-by";

/** Binds claims and volumes to each other, and does with released volumes what their policy says. */
export const persistentVolumeBinder: ControllerFactory = {
  name: "persistent-volume-binder",
  create({ client, informers, events }) {
    const volumes = informers.of(persistentVolumes);
    const claims = informers.of(persistentVolumeClaims);
    const classes = informers.of(storageClasses);
    const podInformer = informers.of(pods);
    podInformer.addIndex("claim", claimsOf);
    claims.addIndex("unbound", (claim) => (isBindComplete(claim) ? [] : ["*"]));
    const claimKey = (claim: ClaimView) => claimPrefix + keyOf(claim as KubeObject);
    const unbound = () => claims.byIndex("unbound", "*").map(claimKey);

    /** A volume concerns the claim that it names; a free one all that still look for one. */
    const keysOfVolume = (volume: VolumeView): string[] => {
      const reference = volume.spec?.claimRef;
      const own = volumePrefix + (volume.metadata.name ?? "");
      return reference ? [own, `${claimPrefix}${reference.namespace}/${reference.name}`] : [own, ...unbound()];
    };
    const keysOfClaim = (claim: ClaimView): string[] => [
      claimKey(claim),
      ...(claim.spec?.volumeName ? [volumePrefix + claim.spec.volumeName] : []),
    ];
    /** Volumes that name a claim which is gone are released. */
    const claimGone: Watch = {
      attach(enqueue) {
        claims.on({
          delete: (claim) => {
            for (const volume of volumes.list())
              if (isReservedFor(volume, claim)) enqueue(volumePrefix + volume.metadata.name);
          },
        });
      },
    };

    const tell = (claim: ClaimView, severity: "Normal" | "Warning", reason: string, text: string) =>
      events.event(persistentVolumeClaims, claim, severity, reason, text);

    async function setClaimStatus(
      claim: ClaimView,
      phase: string,
      volume: VolumeView | undefined,
      signal: AbortSignal,
    ) {
      const next = mutable<PersistentVolumeClaim>(claim);
      const status = { ...next.status, phase };
      if (volume) {
        status.accessModes = [...(volume.spec?.accessModes ?? [])];
        if (claim.status?.phase !== phase) {
          status.capacity = { ...(volume.spec?.capacity as Record<string, string>) };
          const attributes = volume.spec?.volumeAttributesClassName;
          if (attributes) status.currentVolumeAttributesClassName = attributes;
        }
      } else {
        delete status.accessModes;
        delete status.capacity;
        delete status.currentVolumeAttributesClassName;
      }
      if (deepEqual(claim.status ?? {}, status)) return false;
      await client.update(persistentVolumeClaims, { ...next, status }, { subresource: "status", signal });
      return true;
    }

    async function setVolumePhase(volume: VolumeView, phase: string, signal: AbortSignal, message?: string) {
      if (volume.status?.phase === phase && (volume.status.message ?? "") === (message ?? "")) return volume;
      const next = mutable<PersistentVolume>(volume);
      next.status = { ...next.status, phase, ...(message ? { message } : {}) };
      if (!message) delete next.status.message;
      return client.update(persistentVolumes, next, { subresource: "status", signal });
    }

    async function failVolume(volume: VolumeView, reason: string, message: string, signal: AbortSignal) {
      if (volume.status?.phase === "Failed" && volume.status.message === message) return;
      await setVolumePhase(volume, "Failed", signal, message);
      events.event(persistentVolumes, volume, "Warning", reason, message);
    }

    /** Ties both together, in an order in which a stop half-way is found again: volume, its phase, claim, its status. */
    async function bind(volume: VolumeView, claim: ClaimView, signal: AbortSignal): Promise<void> {
      let bound: VolumeView = volume;
      const { namespace = "", name = "", uid = "", resourceVersion = "" } = claim.metadata;
      const reference = volume.spec?.claimRef;
      if (reference?.uid !== uid || !isReservedFor(volume, claim)) {
        const next = mutable<PersistentVolume>(volume);
        const chosen = !isReservedFor(volume, claim);
        next.spec = {
          ...next.spec,
          claimRef: { kind: "PersistentVolumeClaim", namespace, name, uid, apiVersion: "v1", resourceVersion },
        };
        if (chosen) next.metadata.annotations = { ...next.metadata.annotations, [boundByControllerAnnotation]: "yes" };
        bound = await client.update(persistentVolumes, next, { signal });
      }
      bound = await setVolumePhase(bound, "Bound", signal);
      let held: ClaimView = claim;
      const chosen = claim.spec?.volumeName !== volume.metadata.name;
      if (chosen || !isBindComplete(claim)) {
        const next = mutable<PersistentVolumeClaim>(claim);
        next.spec = { ...next.spec, volumeName: volume.metadata.name ?? "" };
        next.metadata.annotations = {
          ...next.metadata.annotations,
          ...(chosen ? { [boundByControllerAnnotation]: "yes" } : {}),
          [bindCompletedAnnotation]: "yes",
        };
        held = await client.update(persistentVolumeClaims, next, { signal });
      }
      await setClaimStatus(held, "Bound", bound, signal);
    }

    async function syncUnbound(claim: ClaimView, signal: AbortSignal): Promise<void> {
      const name = claim.spec?.volumeName;
      if (name) return syncRequested(claim, name, signal);
      const storageClass = classes.get(storageClassOf(claim));
      const node = claim.metadata.annotations?.[selectedNodeAnnotation];
      const delayed = storageClass?.volumeBindingMode === "WaitForFirstConsumer" && node === undefined;
      const volume = findVolume(claim, volumes.list(), { reservedOnly: delayed });
      if (volume) return bind(volume, claim, signal);
      if (isClassOpen(claim)) {
        const chosen = defaultClass(classes.list())?.metadata.name;
        if (chosen) {
          const next = mutable<PersistentVolumeClaim>(claim);
          next.spec = { ...next.spec, storageClassName: chosen };
          await client.update(persistentVolumeClaims, next, { signal });
          return;
        }
      }
      if (delayed) {
        const waiting = podInformer
          .byIndex("claim", keyOf(claim as KubeObject))
          .filter((pod) => !isTerminated(pod) && !pod.spec?.nodeName)
          .map(({ metadata }) => metadata.name);
        if (waiting.length > 0) {
          const text = `waiting for pod ${waiting.join(",")} to be scheduled`;
          tell(claim, "Normal", "WaitForPodScheduled", text);
        } else {
          const text = "waiting for first consumer to be created before binding";
          tell(claim, "Normal", "WaitForFirstConsumer", text);
        }
      } else if (storageClassOf(claim) !== "") {
        return provision(claim, signal);
      } else {
        const text = "no persistent volumes available for this claim and no storage class is set";
        tell(claim, "Normal", "FailedBinding", text);
      }
      await setClaimStatus(claim, "Pending", undefined, signal);
    }

    /** A claim that names its volume gets that one or none. */
    async function syncRequested(claim: ClaimView, name: string, signal: AbortSignal): Promise<void> {
      const volume = volumes.get(name);
      if (volume && !volume.spec?.claimRef) {
        const why = misfit(volume, claim);
        if (!why) return bind(volume, claim, signal);
        tell(claim, "Warning", "VolumeMismatch", `Cannot bind to requested volume ${JSON.stringify(name)}: ${why}`);
      } else if (volume && isReservedFor(volume, claim)) {
        return bind(volume, claim, signal);
      } else if (volume) {
        tell(claim, "Warning", "FailedBinding", `volume ${JSON.stringify(name)} already bound to a different claim.`);
      }
      await setClaimStatus(claim, "Pending", undefined, signal);
    }

    /** Volumes are made by provisioners outside of the cluster's own program: they are told by annotations. */
    async function provision(claim: ClaimView, signal: AbortSignal): Promise<void> {
      const className = storageClassOf(claim);
      const provisioner = classes.get(className)?.provisioner;
      const fail = (text: string) => tell(claim, "Warning", "ProvisioningFailed", text);
      if (provisioner === undefined) {
        return fail(`storageclass.storage.k8s.io ${JSON.stringify(className)} not found`);
      }
      if (provisioner.startsWith("kubernetes.io/")) return fail(`no volume plugin matched name: ${provisioner}`);
      const annotations = Object.fromEntries(provisionerAnnotations.map((key) => [key, provisioner]));
      if (provisionerAnnotations.some((key) => claim.metadata.annotations?.[key] !== provisioner)) {
        const next = mutable<PersistentVolumeClaim>(claim);
        next.metadata.annotations = { ...next.metadata.annotations, ...annotations };
        await client.update(persistentVolumeClaims, next, { signal });
      }
      const text = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
      tell(claim, "Normal", "ExternalProvisioning", text);
    }

    async function lose(claim: ClaimView, reason: string, text: string, signal: AbortSignal): Promise<void> {
      if (await setClaimStatus(claim, "Lost", undefined, signal)) tell(claim, "Warning", reason, text);
    }

    async function syncBound(claim: ClaimView, signal: AbortSignal): Promise<void> {
      const name = claim.spec?.volumeName;
      if (!name) {
        const text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lose(claim, "ClaimLost", text, signal);
      }
      const volume = volumes.get(name) ?? (await found(client.get(persistentVolumes, name, { signal })));
      if (!volume) {
        const text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return lose(claim, "ClaimLost", text, signal);
      }
      const holder = volume.spec?.claimRef;
      if (!holder || holder.uid === claim.metadata.uid) return bind(volume, claim, signal);
      const text = "Two claims are bound to the same volume, this one is bound incorrectly";
      return lose(claim, "ClaimMisbound", text, signal);
    }

    async function syncVolume(volume: VolumeView, signal: AbortSignal): Promise<void> {
      const reference = volume.spec?.claimRef;
      if (!reference?.uid) {
        await setVolumePhase(volume, "Available", signal);
        return;
      }
      const { namespace = "", name = "", uid } = reference;
      let claim: ClaimView | undefined = claims.get(`${namespace}/${name}`);
      // A cache that is behind must not release a volume that is in use.
      if (claim?.metadata.uid !== uid) {
        claim = await found(client.get(persistentVolumeClaims, name, { namespace, signal }));
      }
      if (claim?.metadata.uid !== uid) return release(volume, signal);
      if (!claim?.spec?.volumeName) {
        if (claim && modesDiffer(volume, claim)) {
          const text = "due to incompatible volumeMode.";
          const [volumeName, claimName] = [volume.metadata.name, name].map((one) => JSON.stringify(one));
          const ofVolume = `Cannot bind PersistentVolume to requested PersistentVolumeClaim ${claimName} ${text}`;
          events.event(persistentVolumes, volume, "Warning", "VolumeMismatch", ofVolume);
          const ofClaim = `Cannot bind PersistentVolume ${volumeName} to requested PersistentVolumeClaim ${text}`;
          tell(claim, "Warning", "VolumeMismatch", ofClaim);
        }
        return;
      }
      if (claim.spec.volumeName === volume.metadata.name) {
        await setVolumePhase(volume, "Bound", signal);
        return;
      }
      // The claim has another one.
      const made = volume.metadata.annotations?.[provisionedByAnnotation] !== undefined;
      if (made && volume.spec?.persistentVolumeReclaimPolicy === "Delete") return release(volume, signal);
      const next = mutable<PersistentVolume>(volume);
      if (next.metadata.annotations?.[boundByControllerAnnotation] !== undefined) {
        delete next.metadata.annotations[boundByControllerAnnotation];
        delete next.spec?.claimRef;
      } else if (next.spec?.claimRef) delete next.spec.claimRef.uid;
      await setVolumePhase(await client.update(persistentVolumes, next, { signal }), "Available", signal);
    }

    async function release(volume: VolumeView, signal: AbortSignal): Promise<void> {
      const phase = volume.status?.phase;
      const released =
        phase === "Released" || phase === "Failed" ? volume : await setVolumePhase(volume, "Released", signal);
      switch (volume.spec?.persistentVolumeReclaimPolicy) {
        case "Retain":
          return;
        case "Recycle":
          return failVolume(released, "VolumeFailedRecycle", "No recycler plugin found for the volume!", signal);
        case "Delete": {
          const provisioner = volume.metadata.annotations?.[provisionedByAnnotation];
          // Who made it takes it away.
          if (provisioner && !provisioner.startsWith("kubernetes.io/")) return;
          return failVolume(released, "VolumeFailedDelete", whyNotDeleted(volume), signal);
        }
        default: {
          const text = "Volume has unrecognized PersistentVolumeReclaimPolicy";
          return failVolume(released, "VolumeUnknownReclaimPolicy", text, signal);
        }
      }
    }

    return {
      // One at a time: two claims must not be promised the same volume.
      workers: 1,
      watches: [
        claimGone,
        watch(volumes, keysOfVolume),
        watch(claims, keysOfClaim),
        watch(classes, unbound),
        watch(
          podInformer,
          (pod) => claimsOf(pod).map((key) => claimPrefix + key),
          (_pod, old) => !old,
        ),
      ],
      async reconcile(key, signal) {
        if (key.startsWith(volumePrefix)) {
          const volume = volumes.get(key.slice(volumePrefix.length));
          if (volume) await syncVolume(volume, signal);
          return undefined;
        }
        const claim = claims.get(key.slice(claimPrefix.length));
        if (!claim) return undefined;
        if (isBindComplete(claim)) await syncBound(claim, signal);
        else if (!claim.metadata.deletionTimestamp) await syncUnbound(claim, signal);
        return undefined;
      },
    };
  },
};

/** Directories of nodes are not this program's to remove: they hold what people have put there. */
function whyNotDeleted({ metadata, spec }: VolumeView): string {
  const name = JSON.stringify(metadata.name);
  const path = spec?.hostPath?.path;
  if (path === undefined) {
    return `error getting deleter volume plugin for volume ${name}: no deletable volume plugin matched`;
  }
  if (/^\/tmp\/.+/.test(path)) {
    return `failed to delete volume ${name}: removing the directory ${path} is not supported by this version`;
  }
  return `failed to create deleter for volume ${name}: host_path deleter only supports /tmp/.+ but received provided ${path}`;
}
