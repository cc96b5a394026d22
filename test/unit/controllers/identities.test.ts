import assert from "node:assert/strict";
import { test } from "node:test";
import { controllerRoles } from "../../../src/apiserver/authorization/bootstrap-controller-roles.ts";
import { controllerFactories } from "../../../src/controllers/list.ts";

test("every controller acts as a service account that Kubernetes' default policy has a role for", () => {
  const roles = Object.keys(controllerRoles());
  const unknown = controllerFactories.map(({ name }) => name).filter((name) => !roles.includes(name));
  assert.deepEqual(unknown, []);
});
