import { replicaSets } from "../api/generated/apps-v1.ts";
import type { ControllerFactory } from "./controller.ts";
import { replicaController } from "./replica-controller.ts";
import { selectorOf } from "./shared/owned.ts";

/** Keeps the pods of ReplicaSets at their number. */
export const replicaSetController: ControllerFactory = {
  name: "replicaset-controller",
  create: (context) => replicaController(context, replicaSets, (owner) => selectorOf(owner.spec?.selector)),
};
