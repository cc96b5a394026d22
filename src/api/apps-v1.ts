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
import { type KindEntry, kind } from "./kind-facts.ts";
import { defaultPodTemplate } from "./pod/defaults.ts";
import { copyLabels } from "./strategy.ts";
import {
  validateDaemonSet,
  validateDeployment,
  validateReplicaSet,
  validateSelectorUpdate,
  validateStatefulSet,
  validateStatefulSetUpdate,
} from "./validation/workloads.ts";

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
      validateUpdate: validateSelectorUpdate,
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
      validateUpdate: validateSelectorUpdate,
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
      validateUpdate: validateSelectorUpdate,
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
      validate: validateStatefulSet,
      validateUpdate: validateStatefulSetUpdate,
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
          claim.apiVersion ??= "v1";
          claim.kind ??= "PersistentVolumeClaim";
          claim.spec ??= {};
          claim.spec.volumeMode ??= "Filesystem";
          claim.status ??= {};
          claim.status.phase ||= "Pending";
        }
      },
    },
  }),
  kind(controllerRevisions, {
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
