import { certificateController } from "./certificates.ts";
import { clusterRoleAggregationController } from "./cluster-role-aggregation.ts";
import type { ControllerFactory } from "./controller.ts";
import { cronJobController } from "./cron-job.ts";
import { daemonSetController } from "./daemon-set.ts";
import { deploymentController } from "./deployment.ts";
import { disruptionController } from "./disruption.ts";
import { endpointSliceController } from "./endpoint-slice.ts";
import { endpointSliceMirroringController } from "./endpoint-slice-mirroring.ts";
import { endpointsController } from "./endpoints.ts";
import { ephemeralVolumeController } from "./ephemeral-volume.ts";
import { garbageCollector } from "./garbage-collector.ts";
import { horizontalPodAutoscaler } from "./horizontal-pod-autoscaler.ts";
import { jobController } from "./job.ts";
import { namespaceController } from "./namespace.ts";
import { nodeIpamController } from "./node-ipam.ts";
import { nodeLifecycleController } from "./node-lifecycle.ts";
import { nodeTtlController } from "./node-ttl.ts";
import { persistentVolumeBinder } from "./persistent-volume-binder.ts";
import { podGarbageCollector } from "./pod-gc.ts";
import { replicaSetController } from "./replica-set.ts";
import { replicationController } from "./replication-controller.ts";
import { resourceClaimController } from "./resource-claim.ts";
import { resourceQuotaController } from "./resource-quota.ts";
import { rootCaPublisher } from "./root-ca-publisher.ts";
import { serviceAccountController } from "./service-account.ts";
import { serviceAddressesController, serviceCidrsController } from "./service-cidrs.ts";
import { statefulSetController } from "./stateful-set.ts";
import { taintEvictionController } from "./taint-eviction.ts";
import { tokenCleaner } from "./token-cleaner.ts";
import { ttlAfterFinishedController } from "./ttl-after-finished.ts";
import { validatingAdmissionPolicyStatusController } from "./validating-admission-policy-status.ts";
import { claimProtectionController, volumeProtectionController } from "./volume-protection.ts";

/** Every controller. First what the first pod waits for. */
export const controllerFactories: readonly ControllerFactory[] = [
  clusterRoleAggregationController,
  serviceAccountController,
  rootCaPublisher,
  nodeIpamController,
  nodeLifecycleController,
  taintEvictionController,
  replicaSetController,
  deploymentController,
  endpointSliceController,
  endpointsController,
  endpointSliceMirroringController,
  daemonSetController,
  statefulSetController,
  jobController,
  cronJobController,
  ttlAfterFinishedController,
  replicationController,
  disruptionController,
  persistentVolumeBinder,
  claimProtectionController,
  volumeProtectionController,
  ephemeralVolumeController,
  horizontalPodAutoscaler,
  resourceClaimController,
  serviceCidrsController,
  serviceAddressesController,
  nodeTtlController,
  tokenCleaner,
  certificateController,
  resourceQuotaController,
  validatingAdmissionPolicyStatusController,
  namespaceController,
  podGarbageCollector,
  garbageCollector,
];
