import { ageColumn, boolean, integer, nameColumn, none, text } from "./columns.ts";
import {
  type CSIDriver,
  csiDrivers,
  csiNodes,
  csiStorageCapacities,
  storageClasses,
  volumeAttachments,
  volumeAttributesClasses,
} from "./generated/storage-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { sameJson } from "./strategy.ts";
import {
  csiDriverWarnings,
  validateAttachment,
  validateAttachmentUpdate,
  validateAttributesClass,
  validateAttributesClassUpdate,
  validateCsiDriver,
  validateCsiDriverUpdate,
  validateCsiNode,
  validateCsiNodeUpdate,
  validateStorageCapacity,
  validateStorageCapacityUpdate,
  validateStorageClass,
  validateStorageClassUpdate,
} from "./validation/storage.ts";

function isDefaultClass(annotations: Readonly<Record<string, string>> | undefined): boolean {
  return (
    annotations?.["storageclass.kubernetes.io/is-default-class"] === "true" ||
    annotations?.["storageclass.beta.kubernetes.io/is-default-class"] === "true"
  );
}

/** Off by default. */
function dropLimitScaling({ spec }: CSIDriver, old?: CSIDriver): void {
  if (spec && old?.spec.preventPodSchedulingIfMissing === undefined) delete spec.preventPodSchedulingIfMissing;
}

export const storageV1: readonly KindEntry[] = [
  kind(storageClasses, {
    shortNames: ["sc"],
    columns: [
      {
        ...nameColumn,
        value: ({ metadata }) => `${metadata.name}${isDefaultClass(metadata.annotations) ? " (default)" : ""}`,
      },
      text("Provisioner", ({ provisioner }) => provisioner),
      text("ReclaimPolicy", ({ reclaimPolicy }) => reclaimPolicy ?? "Delete"),
      text("VolumeBindingMode", ({ volumeBindingMode }) => volumeBindingMode ?? "Immediate"),
      text("AllowVolumeExpansion", ({ allowVolumeExpansion }) => allowVolumeExpansion ?? false),
      ageColumn,
    ],
    strategy: {
      validate: validateStorageClass,
      validateUpdate: validateStorageClassUpdate,
      applyDefaults(storageClass) {
        storageClass.reclaimPolicy ??= "Delete";
        storageClass.volumeBindingMode ??= "Immediate";
      },
    },
  }),
  kind(volumeAttributesClasses, {
    shortNames: ["vac"],
    columns: [text("DriverName", ({ driverName }) => driverName), ageColumn],
    strategy: {
      validate: validateAttributesClass,
      validateUpdate: validateAttributesClassUpdate,
    },
  }),
  kind(volumeAttachments, {
    columns: [
      text("Attacher", ({ spec }) => spec.attacher),
      text("PV", ({ spec }) => spec.source.persistentVolumeName ?? ""),
      text("Node", ({ spec }) => spec.nodeName),
      boolean("Attached", ({ status }) => status?.attached),
      ageColumn,
    ],
    strategy: {
      ratchets: true,
      validate: validateAttachment,
      validateUpdate: validateAttachmentUpdate,
      allowUnconditionalUpdate: false,
    },
  }),
  kind(csiNodes, {
    columns: [integer("Drivers", ({ spec }) => spec?.drivers?.length), ageColumn],
    strategy: { validate: validateCsiNode, validateUpdate: validateCsiNodeUpdate, allowUnconditionalUpdate: false },
  }),
  kind(csiDrivers, {
    columns: [
      boolean("AttachRequired", ({ spec }) => spec.attachRequired ?? true),
      boolean("PodInfoOnMount", ({ spec }) => spec.podInfoOnMount),
      boolean("StorageCapacity", ({ spec }) => spec.storageCapacity),
      text("TokenRequests", ({ spec }) => {
        return spec.tokenRequests ? spec.tokenRequests.map(({ audience }) => audience).join(",") : "<unset>";
      }),
      boolean("RequiresRepublish", ({ spec }) => spec.requiresRepublish),
      text("Modes", ({ spec }) => (spec.volumeLifecycleModes ?? []).join(",") || none),
      ageColumn,
    ],
    strategy: {
      allowUnconditionalUpdate: false,
      prepareForCreate: (driver) => dropLimitScaling(driver),
      prepareForUpdate(driver, old) {
        dropLimitScaling(driver, old);
        // Counts changes only: a new one has none.
        if (!sameJson(driver.spec, old.spec)) driver.metadata.generation = (old.metadata.generation ?? 0) + 1;
      },
      validate: validateCsiDriver,
      validateUpdate: validateCsiDriverUpdate,
      warnings: csiDriverWarnings,
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.attachRequired ??= true;
        spec.podInfoOnMount ??= false;
        spec.storageCapacity ??= false;
        spec.fsGroupPolicy ??= "ReadWriteOnceWithFSType";
        if (!spec.volumeLifecycleModes?.length) spec.volumeLifecycleModes = ["Persistent"];
        spec.requiresRepublish ??= false;
        spec.seLinuxMount ??= false;
      },
    },
  }),
  kind(csiStorageCapacities, {
    columns: [
      text("StorageClassName", ({ storageClassName }) => storageClassName),
      text("Capacity", ({ capacity }) => capacity ?? "<unset>"),
    ],
    strategy: {
      validate: validateStorageCapacity,
      validateUpdate: validateStorageCapacityUpdate,
      allowUnconditionalUpdate: false,
    },
  }),
];
