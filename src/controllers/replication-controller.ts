import { replicationControllers } from "../api/generated/core-v1.ts";
import { fromLabels } from "../machinery/label-selector.ts";
import type { ControllerFactory } from "./controller.ts";
import { replicaController } from "./replica-controller.ts";

/** Keeps the pods of ReplicationControllers at their number. */
export const replicationController: ControllerFactory = {
  name: "replication-controller",
  create: (context) => replicaController(context, replicationControllers, (owner) => fromLabels(owner.spec?.selector)),
};
