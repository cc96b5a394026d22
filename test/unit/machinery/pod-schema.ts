/** A small pod, with one of everything that the machinery has to treat differently. */
import type { Field, Schema } from "../../../src/machinery/schema.ts";

const string: Schema = { type: "string" };
const omit = (schema: Schema, more: Partial<Field> = {}): Field => ({ schema, empty: "omit", ...more });
const always = (schema: Schema, more: Partial<Field> = {}): Field => ({ schema, empty: "always", ...more });
const pointer = (schema: Schema, more: Partial<Field> = {}): Field => ({ schema, empty: "pointer", ...more });
const object = (name: string, fields: Record<string, Field>, more: Partial<Schema> = {}): Schema => ({
  type: "object",
  name: `io.k8s.api.core.v1.${name}`,
  fields,
  ...more,
});
const strings: Schema = { type: "map", items: string };

const container = object("Container", {
  name: always(string),
  image: omit(string),
  args: omit({ type: "array", items: string, listType: "atomic" }),
  stdin: omit({ type: "boolean" }),
  ports: omit(
    {
      type: "array",
      listType: "map",
      listMapKeys: ["containerPort", "protocol"],
      items: object("ContainerPort", {
        name: omit(string),
        containerPort: always({ type: "integer", format: "int32" }),
        protocol: omit(string, { default: "TCP" }),
      }),
    },
    { patchStrategy: ["merge"], patchMergeKey: "containerPort" },
  ),
  env: omit(
    {
      type: "array",
      listType: "map",
      listMapKeys: ["name"],
      items: object("EnvVar", { name: always(string), value: omit(string) }),
    },
    { patchStrategy: ["merge"], patchMergeKey: "name" },
  ),
  resources: always(object("ResourceRequirements", { limits: omit({ type: "map", items: { type: "quantity" } }) })),
  securityContext: pointer(object("SecurityContext", { runAsUser: pointer({ type: "integer", format: "int64" }) })),
});

export const podSchema: Schema = object("Pod", {
  apiVersion: omit(string),
  kind: omit(string),
  metadata: always(
    object("ObjectMeta", {
      name: omit(string),
      namespace: omit(string),
      uid: omit(string),
      resourceVersion: omit(string),
      generation: omit({ type: "integer", format: "int64" }),
      creationTimestamp: omit({ type: "time" }),
      labels: omit(strings),
      annotations: omit(strings),
      finalizers: omit({ type: "array", items: string, listType: "set" }, { patchStrategy: ["merge"] }),
      managedFields: omit({ type: "array", items: { type: "raw" }, listType: "atomic" }),
    }),
  ),
  spec: always(
    object("PodSpec", {
      hostname: omit(string),
      replicas: pointer({ type: "integer", format: "int32" }),
      terminationGracePeriodSeconds: pointer({ type: "integer", format: "int64" }),
      nodeSelector: omit({ ...strings, mapType: "atomic" }),
      containers: always(
        { type: "array", items: container, listType: "map", listMapKeys: ["name"] },
        { patchStrategy: ["merge"], patchMergeKey: "name" },
      ),
      tolerations: omit({ type: "array", items: object("Toleration", { key: omit(string) }), listType: "atomic" }),
      strategy: omit(
        object("Strategy", {
          type: omit(string),
          rollingUpdate: pointer(object("RollingUpdate", { max: omit(string) })),
        }),
        { patchStrategy: ["retainKeys"] },
      ),
    }),
  ),
});
