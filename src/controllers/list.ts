import type { ControllerFactory } from "./controller.ts";
import { deploymentController } from "./deployment.ts";
import { replicaSetController } from "./replica-set.ts";
import { replicationController } from "./replication-controller.ts";

/** Every controller, in the order in which they start. */
export const controllerFactories: readonly ControllerFactory[] = [
  replicaSetController,
  replicationController,
  deploymentController,
];
