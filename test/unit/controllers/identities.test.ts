import assert from "node:assert/strict";
import { test } from "node:test";
import {
  controllerRoles,
  namespacedDefaults,
} from "../../../src/apiserver/authorization/bootstrap-controller-roles.ts";
import { controllerFactories } from "../../../src/controllers/list.ts";

test("every controller acts as a service account that Kubernetes' default policy has a role for", () => {
  const prefix = "system:controller:";
  const namespaced = namespacedDefaults().map(({ name }) => name.slice(prefix.length));
  const roles = [...Object.keys(controllerRoles()), ...namespaced];
  const unknown = controllerFactories.map(({ name }) => name).filter((name) => !roles.includes(name));
  assert.deepEqual(unknown, []);
});
