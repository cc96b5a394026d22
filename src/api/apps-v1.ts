import { deepEqual } from "../machinery/equality.ts";
import { parseApiVersion } from "../machinery/object.ts";
import { ageColumn, containerColumns, formatLabels, integer, none, selectorColumn, text } from "./columns.ts";
import {
  controllerRevisions,
  type DaemonSet,
  type Deployment,
  daemonSets,
  deployments,
  type ReplicaSet,
  replicaSets,
  type StatefulSet,
  statefulSets,
} from "./generated/apps-v1.ts";
import type { PodTemplateSpec } from "./generated/core-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { defaultPodTemplate } from "./pod/defaults.ts";
import { dropDisabled } from "./pod/disabled-fields.ts";
import { copyLabels } from "./strategy.ts";
import {
  validateDaemonSet,
  validateDaemonSetUpdate,
  validateDeployment,
  validateDeploymentUpdate,
  validateReplicaSet,
  validateReplicaSetUpdate,
  validateRevision,
  validateRevisionUpdate,
  validateStatefulSet,
  validateStatefulSetUpdate,
} from "./validation/workloads.ts";
import { controllerWarnings, daemonWarnings, statefulSetWarnings } from "./workload-warnings.ts";

/** Fields of features that are off by default do not come into templates. */
const templateFields = {
  prepareForCreate: ({ spec }: { spec?: { template?: PodTemplateSpec } }) => dropDisabled(spec?.template?.spec),
  prepareForUpdate: ({ spec }: { spec?: { template?: PodTemplateSpec } }) => dropDisabled(spec?.template?.spec),
};

/** Counts the changes of a daemon set's template, as a field of an older version did. */
const templateGeneration = "deprecated.daemonset.template.generation";

function noteGeneration({ metadata }: DaemonSet, generation: number): void {
  metadata.annotations = { ...metadata.annotations, [templateGeneration]: String(generation) };
}

function notedGeneration({ metadata }: DaemonSet): number {
  return Number(metadata.annotations?.[templateGeneration] ?? 0);
}

function prepareStatefulSet({ spec }: StatefulSet): void {
  dropDisabled(spec?.template?.spec);
  // MaxUnavailableStatefulSet.
  delete spec?.updateStrategy?.rollingUpdate?.maxUnavailable;
}

export const appsV1: readonly KindEntry[] = [
  kind(deployments, {
    shortNames: ["deploy"],
    categories: ["all"],
    columns: [
      text("Ready", ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`),
      integer("Up-to-date", ({ status }) => status?.updatedReplicas),
      integer("Available", ({ status }) => status?.availableReplicas),
      ageColumn,
      ...containerColumns<Deployment>(({ spec }) => spec?.template.spec?.containers),
      selectorColumn(({ spec }) => spec?.selector),
    ],
    strategy: {
      generation: true,
      validate: validateDeployment,
      validateUpdate: validateDeploymentUpdate,
      warnings: controllerWarnings,
      ...templateFields,
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.replicas ??= 1;
        spec.strategy ??= {};
        spec.strategy.type ||= "RollingUpdate";
        if (spec.strategy.type === "RollingUpdate") {
          spec.strategy.rollingUpdate ??= {};
          spec.strategy.rollingUpdate.maxUnavailable ??= "25%";
          spec.strategy.rollingUpdate.maxSurge ??= "25%";
        }
        spec.revisionHistoryLimit ??= 10;
        spec.progressDeadlineSeconds ??= 600;
        defaultPodTemplate(spec.template);
      },
      prepareForStatusUpdate: copyLabels,
    },
  }),
  kind(replicaSets, {
    shortNames: ["rs"],
    categories: ["all"],
    columns: [
      integer("Desired", ({ spec }) => spec?.replicas),
      integer("Current", ({ status }) => status?.replicas),
      integer("Ready", ({ status }) => status?.readyReplicas),
      ageColumn,
      ...containerColumns<ReplicaSet>(({ spec }) => spec?.template?.spec?.containers),
      selectorColumn(({ spec }) => spec?.selector),
    ],
    selectableFields: { "status.replicas": ({ status }) => String(status?.replicas ?? 0) },
    strategy: {
      generation: true,
      validate: validateReplicaSet,
      validateUpdate: validateReplicaSetUpdate,
      warnings: controllerWarnings,
      ...templateFields,
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.replicas ??= 1;
        defaultPodTemplate(spec.template);
      },
    },
  }),
  kind(daemonSets, {
    shortNames: ["ds"],
    categories: ["all"],
    columns: [
      integer("Desired", ({ status }) => status?.desiredNumberScheduled),
      integer("Current", ({ status }) => status?.currentNumberScheduled),
      integer("Ready", ({ status }) => status?.numberReady),
      integer("Up-to-date", ({ status }) => status?.updatedNumberScheduled),
      integer("Available", ({ status }) => status?.numberAvailable),
      text("Node Selector", ({ spec }) => formatLabels(spec?.template.spec?.nodeSelector)),
      ageColumn,
      ...containerColumns<DaemonSet>(({ spec }) => spec?.template.spec?.containers),
      selectorColumn(({ spec }) => spec?.selector),
    ],
    strategy: {
      generation: true,
      validate: validateDaemonSet,
      validateUpdate: validateDaemonSetUpdate,
      warnings: daemonWarnings,
      prepareForCreate(daemonSet) {
        dropDisabled(daemonSet.spec?.template.spec);
        noteGeneration(daemonSet, 1);
      },
      prepareForUpdate(daemonSet, old) {
        dropDisabled(daemonSet.spec?.template.spec);
        const same = deepEqual(daemonSet.spec?.template, old.spec?.template);
        noteGeneration(daemonSet, notedGeneration(old) + (same ? 0 : 1));
      },
      // The annotation stands for a field of the spec, which whoever writes a status cannot change.
      prepareForStatusUpdate(daemonSet, old) {
        noteGeneration(daemonSet, notedGeneration(old));
      },
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.updateStrategy ??= {};
        spec.updateStrategy.type ||= "RollingUpdate";
        if (spec.updateStrategy.type === "RollingUpdate") {
          spec.updateStrategy.rollingUpdate ??= {};
          spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
          spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
        }
        spec.revisionHistoryLimit ??= 10;
        defaultPodTemplate(spec.template);
      },
    },
  }),
  kind(statefulSets, {
    shortNames: ["sts"],
    categories: ["all"],
    columns: [
      text("Ready", ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`),
      ageColumn,
      ...containerColumns<StatefulSet>(({ spec }) => spec?.template.spec?.containers),
    ],
    strategy: {
      generation: true,
      ratchets: true,
      validate: validateStatefulSet,
      validateUpdate: validateStatefulSetUpdate,
      warnings: statefulSetWarnings,
      prepareForCreate: prepareStatefulSet,
      prepareForUpdate: prepareStatefulSet,
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.podManagementPolicy ||= "OrderedReady";
        spec.updateStrategy ??= {};
        if (!spec.updateStrategy.type) {
          spec.updateStrategy.type = "RollingUpdate";
          spec.updateStrategy.rollingUpdate ??= {};
        }
        if (spec.updateStrategy.type === "RollingUpdate" && spec.updateStrategy.rollingUpdate) {
          spec.updateStrategy.rollingUpdate.partition ??= 0;
        }
        spec.persistentVolumeClaimRetentionPolicy ??= {};
        spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= "Retain";
        spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= "Retain";
        spec.replicas ??= 1;
        spec.revisionHistoryLimit ??= 10;
        defaultPodTemplate(spec.template);
        for (const claim of spec.volumeClaimTemplates ?? []) {
          // A template is a whole claim in Kubernetes' types, and shows as one.
          claim.apiVersion = "v1";
          claim.kind = "PersistentVolumeClaim";
          claim.spec ??= {};
          claim.spec.volumeMode ??= "Filesystem";
          claim.status ??= {};
          claim.status.phase ||= "Pending";
        }
      },
    },
  }),
  kind(controllerRevisions, {
    strategy: { ratchets: true, validate: validateRevision, validateUpdate: validateRevisionUpdate },
    columns: [
      text("Controller", ({ metadata }) => {
        const owner = metadata.ownerReferences?.find((reference) => reference.controller);
        if (!owner) return none;
        const { group } = parseApiVersion(owner.apiVersion);
        return `${owner.kind.toLowerCase()}${group ? `.${group}` : ""}/${owner.name}`;
      }),
      { name: "Revision", type: "string", value: ({ revision }) => String(revision ?? 0) },
      ageColumn,
    ],
  }),
];
