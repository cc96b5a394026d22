import { fromLabelSelector, type LabelSelector } from "../../machinery/label-selector.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { PersistentVolume, PersistentVolumeClaim } from "../generated/core-v1.ts";
import type { StorageClass } from "../generated/storage-v1.ts";

/** Which volume a claim gets: what the binder and the scheduler have to agree on. */

export type VolumeView = DeepReadonly<PersistentVolume>;
export type ClaimView = DeepReadonly<PersistentVolumeClaim>;
export type StorageClassView = DeepReadonly<StorageClass>;

/** The claim is bound, whoever did it. */
export const bindCompletedAnnotation = "pv.kubernetes.io/bind-completed";
/** The binding was chosen by the cluster, not by a person. */
export const boundByControllerAnnotation = "pv.kubernetes.io/bound-by-controller";
/** The node that the scheduler wants the claim's volume for. */
export const selectedNodeAnnotation = "volume.kubernetes.io/selected-node";
const classAnnotation = "volume.beta.kubernetes.io/storage-class";
const defaultClassAnnotations = [
  "storageclass.kubernetes.io/is-default-class",
  "storageclass.beta.kubernetes.io/is-default-class",
];

/** The name of the storage class of a claim or a volume; "" stands for none. */
export function storageClassOf(object: ClaimView | VolumeView): string {
  return object.metadata.annotations?.[classAnnotation] ?? object.spec?.storageClassName ?? "";
}

/** Does a claim leave its storage class open, so that the default one is meant? */
export function isClassOpen({ metadata, spec }: ClaimView): boolean {
  return metadata.annotations?.[classAnnotation] === undefined && spec?.storageClassName === undefined;
}

/** The default storage class: the newest of those that are marked. */
export function defaultClass(classes: readonly StorageClassView[]): StorageClassView | undefined {
  const rank = ({ metadata }: StorageClassView) => metadata.creationTimestamp ?? "";
  return classes
    .filter(({ metadata }) => defaultClassAnnotations.some((key) => metadata.annotations?.[key] === "true"))
    .sort((a, b) => rank(b).localeCompare(rank(a)) || (a.metadata.name ?? "").localeCompare(b.metadata.name ?? ""))[0];
}

export function isBindComplete({ metadata }: ClaimView): boolean {
  return metadata.annotations?.[bindCompletedAnnotation] !== undefined;
}

/** Does a volume name this claim, by name and, once it is bound, by uid? */
export function isReservedFor(volume: VolumeView, claim: ClaimView): boolean {
  const reference = volume.spec?.claimRef;
  if (reference?.name !== claim.metadata.name || reference?.namespace !== claim.metadata.namespace) return false;
  return !reference?.uid || reference.uid === claim.metadata.uid;
}

const modeOf = (object: ClaimView | VolumeView) => object.spec?.volumeMode ?? "Filesystem";

export function modesDiffer(volume: VolumeView, claim: ClaimView): boolean {
  return modeOf(volume) !== modeOf(claim);
}

function offersAccess(volume: VolumeView, claim: ClaimView): boolean {
  return (claim.spec?.accessModes ?? []).every((mode) => volume.spec?.accessModes?.includes(mode));
}

const capacityOf = (volume: VolumeView) => parseQuantity(volume.spec?.capacity?.["storage"] ?? "0");
const requestOf = (claim: ClaimView) => parseQuantity(claim.spec?.resources?.requests?.["storage"] ?? "0");
const attributesOf = (object: ClaimView | VolumeView) => object.spec?.volumeAttributesClassName ?? "";

/** Why a volume that a claim names itself does not do; undefined: it does. */
export function misfit(volume: VolumeView, claim: ClaimView): string | undefined {
  if (volume.metadata.deletionTimestamp)
    return `the volume is marked for deletion ${JSON.stringify(volume.metadata.name)}`;
  if (capacityOf(volume).compare(requestOf(claim)) < 0) return "requested PV is too small";
  if (storageClassOf(volume) !== storageClassOf(claim)) return "storageClassName does not match";
  if (attributesOf(volume) !== attributesOf(claim)) return "volumeAttributesClassName does not match";
  if (modesDiffer(volume, claim)) return "incompatible volumeMode";
  if (!offersAccess(volume, claim)) return "incompatible accessMode";
  return undefined;
}

export interface MatchOptions {
  /** Only volumes that can be used there. */
  readonly fitsNode?: (volume: VolumeView) => boolean;
  /** Only a volume that is reserved for the claim: the scheduler will choose among the others. */
  readonly reservedOnly?: boolean;
  /** Names of volumes that are taken. */
  readonly taken?: ReadonlySet<string>;
}

/** The smallest free volume that does for a claim; one that is reserved for it goes first. */
export function findVolume(
  claim: ClaimView,
  volumes: readonly VolumeView[],
  { fitsNode = () => true, reservedOnly = false, taken }: MatchOptions = {},
): VolumeView | undefined {
  const selector = claim.spec?.selector ? fromLabelSelector(claim.spec.selector as LabelSelector) : undefined;
  const request = requestOf(claim);
  let best: VolumeView | undefined;
  for (const volume of volumes) {
    if (taken?.has(volume.metadata.name ?? "") || volume.metadata.deletionTimestamp) continue;
    const reserved = isReservedFor(volume, claim);
    if (volume.spec?.claimRef && !reserved) continue;
    const capacity = capacityOf(volume);
    if (capacity.compare(request) < 0 || modesDiffer(volume, claim)) continue;
    if (attributesOf(volume) !== attributesOf(claim)) continue;
    if (reserved) return fitsNode(volume) ? volume : undefined;
    if (reservedOnly || volume.status?.phase !== "Available" || !offersAccess(volume, claim)) continue;
    if (selector && !selector.matches((volume.metadata.labels ?? {}) as Record<string, string>)) continue;
    if (storageClassOf(volume) !== storageClassOf(claim) || !fitsNode(volume)) continue;
    if (!best || capacity.compare(capacityOf(best)) < 0) best = volume;
  }
  return best;
}
