import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ApplyInput, applyConfiguration } from "../../../../src/machinery/apply/apply.ts";
import { trackUpdate } from "../../../../src/machinery/apply/update.ts";
import type { KubeObject } from "../../../../src/machinery/object.ts";
import type { StatusError } from "../../../../src/machinery/status.ts";
import { podSchema } from "../pod-schema.ts";

const startMs = Date.parse("2026-01-01T00:00:00Z");

type Any = KubeObject & { spec?: Record<string, unknown> };

const config = (spec: object, metadata: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", ...metadata },
  ...(spec ? { spec } : {}),
});

function apply(live: KubeObject | undefined, applied: object, more: Partial<ApplyInput> = {}): Any {
  return applyConfiguration({
    schema: podSchema,
    live,
    applied,
    manager: "one",
    apiVersion: "v1",
    force: false,
    nowMs: startMs,
    ...more,
  }) as Any;
}

function update(live: KubeObject | undefined, next: object, manager = "controller", subresource = ""): Any {
  return trackUpdate({
    schema: podSchema,
    live,
    next: next as KubeObject,
    manager,
    apiVersion: "v1",
    subresource,
    nowMs: startMs + 60_000,
  }) as Any;
}

const owners = (object: KubeObject) =>
  Object.fromEntries(
    (object.metadata.managedFields ?? []).map((entry) => [`${entry.operation} ${entry.manager}`, entry.fieldsV1]),
  );

const conflictOf = (run: () => unknown): StatusError => {
  try {
    run();
  } catch (error) {
    return error as StatusError;
  }
  return assert.fail("there should be a conflict");
};

test("the applier owns what it applied, but not the object's identity", () => {
  const object = apply(undefined, {
    ...config({ containers: [{ name: "a", ports: [{ containerPort: 80 }] }], nodeSelector: { x: "y" } }),
    metadata: { name: "p", labels: { app: "x" } },
  });
  assert.deepEqual(object.metadata.managedFields, [
    {
      manager: "one",
      operation: "Apply",
      apiVersion: "v1",
      time: "2026-01-01T00:00:00Z",
      fieldsType: "FieldsV1",
      fieldsV1: {
        "f:metadata": { "f:labels": { "f:app": {} } },
        "f:spec": {
          "f:containers": {
            'k:{"name":"a"}': {
              ".": {},
              "f:name": {},
              "f:ports": {
                'k:{"containerPort":80,"protocol":"TCP"}': { ".": {}, "f:containerPort": {} },
              },
            },
          },
          "f:nodeSelector": {},
        },
      },
    },
  ]);
});

test("what an applier drops goes, unless someone else owns it", () => {
  let object = apply(undefined, config({ hostname: "h", replicas: 1, containers: [{ name: "a" }, { name: "b" }] }));
  object = update(object, { ...object, spec: { ...object.spec, terminationGracePeriodSeconds: 5 } });
  object = apply(object, config({ replicas: 1, containers: [{ name: "b" }] }), { manager: "two" });
  object = apply(object, config({ containers: [{ name: "a" }] }));
  assert.deepEqual(object.spec, {
    replicas: 1,
    terminationGracePeriodSeconds: 5,
    containers: [{ name: "a" }, { name: "b" }],
  });
  object = apply(object, config({ replicas: 1 }), { manager: "two" });
  assert.deepEqual(object.spec?.containers, [{ name: "a" }]);
});

test("labels of others stay when an applier drops its own", () => {
  let object = apply(undefined, config({}, { labels: { mine: "1" } }));
  object = update(object, { ...object, metadata: { ...object.metadata, labels: { mine: "1", other: "2" } } });
  object = apply(object, { apiVersion: "v1", kind: "Pod", metadata: { name: "p" } });
  assert.deepEqual(object.metadata.labels, { other: "2" });
  assert.deepEqual(Object.keys(owners(object)), ["Update controller"]);
});

test("an empty container goes with the last field that was applied in it", () => {
  let object = apply(undefined, config({ containers: [{ name: "a", securityContext: { runAsUser: 1 } }] }));
  object = apply(object, config({ containers: [{ name: "a" }] }));
  assert.deepEqual(object.spec, { containers: [{ name: "a" }] });
});

test("a list that its applier empties goes for all who own it, a struct that another owns stays empty", () => {
  const container = { name: "a", env: [{ name: "B" }], securityContext: { runAsUser: 1 } };
  const first = apply(undefined, config({ containers: [container] }));
  const ofContainer = (fields: object) => ({
    "f:spec": { "f:containers": { 'k:{"name":"a"}': { ".": {}, "f:name": {}, "f:securityContext": {}, ...fields } } },
  });
  const other = { manager: "other", operation: "Update", apiVersion: "v1", fieldsType: "FieldsV1" };
  const managedFields = [
    ...first.metadata.managedFields!,
    { ...other, fieldsV1: ofContainer({ "f:env": {} }) },
  ] as NonNullable<KubeObject["metadata"]["managedFields"]>;
  const object = apply({ ...first, metadata: { ...first.metadata, managedFields } }, config({}));
  assert.deepEqual(object.spec, { containers: [{ name: "a", securityContext: {} }] });
  assert.deepEqual(owners(object)["Update other"], ofContainer({}));
});

test("changing a field of another manager is a conflict that names it", () => {
  const live = update(undefined, config({ replicas: 1 }), "kubectl-client-side-apply");
  const error = conflictOf(() => apply(live, config({ replicas: 2 })));
  assert.equal(error.code, 409);
  assert.equal(error.reason, "Conflict");
  assert.equal(
    error.message,
    'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .spec.replicas',
  );
  assert.deepEqual(error.details?.causes, [
    {
      reason: "FieldManagerConflict",
      message: 'conflict with "kubectl-client-side-apply" using v1',
      field: ".spec.replicas",
    },
  ]);
});

test("several conflicts are listed by manager", () => {
  let live = update(undefined, config({ replicas: 1, hostname: "a" }), "x");
  live = apply(live, config({ nodeSelector: { a: "b" } }), { manager: "y" });
  const error = conflictOf(() => apply(live, config({ replicas: 2, hostname: "b", nodeSelector: {} })));
  assert.equal(
    error.message,
    'Apply failed with 3 conflicts: conflicts with "x" using v1:\n- .spec.hostname\n- .spec.replicas\nconflicts with "y":\n- .spec.nodeSelector',
  );
});

test("force takes the fields; the same value is shared", () => {
  const live = update(undefined, config({ replicas: 1, hostname: "h" }), "x");
  const forced = apply(live, config({ replicas: 2, hostname: "h" }), { force: true });
  assert.deepEqual(owners(forced), {
    "Apply one": { "f:spec": { "f:hostname": {}, "f:replicas": {} } },
    "Update x": { "f:spec": { "f:hostname": {} } },
  });
});

test("applying the same again changes nothing, times included", () => {
  const applied = config({ replicas: 1, containers: [{ name: "a", ports: [{ containerPort: 80 }] }] });
  const object = apply(undefined, applied);
  assert.deepEqual(apply(object, applied, { nowMs: startMs + 5000 }), object);
  const changed = apply(object, config({ replicas: 2 }), { nowMs: startMs + 5000 });
  assert.equal(changed.metadata.managedFields?.[0]?.time, "2026-01-01T00:00:05Z");
});

test("kubectl takes over from its own client-side apply without a conflict", () => {
  const last = config({ replicas: 1, hostname: "h" });
  const annotations = {
    "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(last),
  };
  const live = update(undefined, config({ replicas: 1, hostname: "h" }, { annotations }), "kubectl-client-side-apply");
  const object = apply(live, config({ replicas: 2, hostname: "h" }), { manager: "kubectl" });
  assert.equal(object.spec?.replicas, 2);
  assert.deepEqual(
    JSON.parse(object.metadata.annotations?.["kubectl.kubernetes.io/last-applied-configuration"] ?? ""),
    config({ replicas: 2, hostname: "h" }),
  );
  assert.throws(() => apply(live, config({ replicas: 2 }), { manager: "other" }), { code: 409 });
  const scaled = update(live, { ...live, spec: { replicas: 5, hostname: "h" } }, "scaler");
  assert.throws(
    () => apply(scaled, config({ replicas: 2 }), { manager: "kubectl" }),
    /"scaler" using v1: .spec.replicas/,
  );
});

test("a configuration that does not fit is a 400 that says where", () => {
  for (const [applied, message] of [
    [
      { ...config({ foo: 1 }), metadata: { name: "p", namespace: "ns" } },
      "failed to create typed patch object (ns/p; v1, Kind=Pod): .spec.foo: field not declared in schema",
    ],
    [
      config({ containers: [{ image: "x" }] }),
      'failed to create typed patch object (/p; v1, Kind=Pod): .spec.containers: element 0: associative list with keys has an element that omits key field "name" (and doesn\'t have default value)',
    ],
    [
      config({ containers: [{ name: "x" }, { name: "x" }] }),
      'failed to create typed patch object (/p; v1, Kind=Pod): .spec.containers: duplicate entries for key [name="x"]',
    ],
    [config({}, { managedFields: [] }), "metadata.managedFields must be nil"],
    [
      { ...config({}), apiVersion: "v2" },
      "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
    ],
  ] as const) {
    assert.throws(() => apply(undefined, applied), { code: 400, message });
  }
});

test("the order of the applied list wins, what others added stays before it", () => {
  const names = (object: Any) =>
    ((object.spec?.containers ?? []) as { name: string }[]).map(({ name }) => name).join("");
  let object = apply(undefined, config({ containers: [{ name: "a" }, { name: "b" }] }));
  const containers = [{ name: "x" }, { name: "a" }, { name: "y" }, { name: "b" }];
  object = update(object, { ...object, spec: { containers } });
  object = apply(object, config({ containers: [{ name: "b" }, { name: "a" }, { name: "n" }] }));
  assert.equal(names(object), "xyban");
});

test("an update owns what it changes and takes it from appliers", () => {
  let object = apply(undefined, config({ replicas: 1, hostname: "h" }));
  object = update(object, { ...object, spec: { replicas: 3, hostname: "h" } });
  assert.deepEqual(owners(object), {
    "Apply one": { "f:spec": { "f:hostname": {} } },
    "Update controller": { "f:spec": { "f:replicas": {} } },
  });
  const same = update(object, { ...object });
  assert.deepEqual(same, object);
});

test("an update that creates owns containers that it adds", () => {
  const object = update(undefined, config({ containers: [{ name: "a" }] }, { labels: { a: "1" } }));
  assert.deepEqual(owners(object)["Update controller"], {
    "f:metadata": { "f:labels": { ".": {}, "f:a": {} } },
    "f:spec": { "f:containers": { 'k:{"name":"a"}': { ".": {}, "f:name": {} } } },
  });
});

test("clients may reset managedFields, and cannot lose them by leaving them out", () => {
  const object = apply(undefined, config({ replicas: 1 }));
  const { managedFields: _, ...metadata } = object.metadata;
  assert.deepEqual(owners(update(object, { ...object, metadata })), owners(object));
  assert.deepEqual(owners(update(object, { ...object, metadata: { ...metadata, managedFields: [] } })), {});
  assert.deepEqual(owners(update(object, { ...object, metadata: { ...metadata, managedFields: [{}] } })), {});
});

test("after a reset, updates are not tracked; the first apply says who has the fields until then", () => {
  const created = apply(undefined, config({ replicas: 1, hostname: "h" }, { uid: "u" }));
  const metadata = { ...created.metadata, managedFields: [{}] };
  const reset = update(created, { ...created, metadata });
  assert.equal(reset.metadata.managedFields, undefined);
  const changed = update(reset, { ...reset, spec: { ...reset.spec, replicas: 2 } });
  assert.equal(changed.metadata.managedFields, undefined);
  const error = conflictOf(() => apply(changed, config({ replicas: 3 })));
  assert.equal(
    error.message,
    'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .spec.replicas',
  );
  assert.deepEqual(owners(apply(changed, config({ replicas: 2 }))), {
    "Apply one": { "f:spec": { "f:replicas": {} } },
    "Update before-first-apply": { "f:spec": { "f:hostname": {}, "f:replicas": {} } },
  });
});

test("managedFields that cannot be read are forgotten by an update, and refuse an apply", () => {
  const entry = { manager: "m", operation: "Update", apiVersion: "v1", fieldsType: "FieldsV1" } as const;
  const managedFields = [{ ...entry, fieldsV1: { nonsense: {} } }];
  const broken = config({ replicas: 1 }, { uid: "u", managedFields });
  assert.throws(
    () => apply(broken as unknown as KubeObject, config({ replicas: 2 })),
    /failed to decode managed fields/,
  );
  const next = update(broken as unknown as KubeObject, { ...broken, spec: { replicas: 2 } });
  assert.equal(next.metadata.managedFields, undefined);
  // Sent by a client, they leave those that are stored.
  const whole = update(undefined, config({ replicas: 1 }));
  const sent = { ...whole, metadata: { ...whole.metadata, managedFields } };
  assert.deepEqual(owners(update(whole, sent)), owners(whole));
});

test("subresources are owners of their own", () => {
  const object = update(undefined, config({ replicas: 1 }), "x");
  const scaled = update(object, { ...object, spec: { replicas: 2 } }, "x", "scale");
  assert.deepEqual(
    scaled.metadata.managedFields?.map(({ manager, subresource, fieldsV1 }) => [manager, subresource, fieldsV1]),
    [["x", "scale", { "f:spec": { "f:replicas": {} } }]],
  );
});

test("more than ten updaters are folded, oldest first", () => {
  let object = update(undefined, config({}), "first");
  for (let i = 0; i < 15; i++) {
    const labels = { ...object.metadata.labels, [`l${i}`]: "x" };
    object = trackUpdate({
      schema: podSchema,
      live: object,
      next: { ...object, metadata: { ...object.metadata, labels } },
      manager: `m${i}`,
      apiVersion: "v1",
      nowMs: startMs + i * 1000,
    });
  }
  const names = object.metadata.managedFields?.map(({ manager }) => manager);
  assert.equal(names?.length, 10);
  assert.equal(names?.includes("ancient-changes"), true);
  assert.equal(names?.includes("m14"), true);
});

test("of versions with a single old updater none is folded: it keeps its name", () => {
  const entry = (manager: string, second: number, apiVersion: string) => ({
    manager,
    operation: "Update",
    apiVersion,
    time: `2026-01-01T00:00:${String(second).padStart(2, "0")}Z`,
    fieldsType: "FieldsV1",
    fieldsV1: { "f:metadata": { "f:labels": { [`f:${manager}`]: {} } } },
  });
  const old = Array.from({ length: 10 }, (_, i) => entry(`m${i}`, i, i === 0 ? "v1beta1" : "v1"));
  const labels = Object.fromEntries(old.map(({ manager }) => [manager, "x"]));
  const live = config({}, { labels, managedFields: old }) as unknown as KubeObject;
  const next = update(live, { ...live, metadata: { ...live.metadata, labels: { ...labels, more: "x" } } });
  const entries = next.metadata.managedFields!;
  assert.deepEqual(
    entries.map(({ manager, apiVersion }) => `${manager} ${apiVersion}`),
    ["m0 v1beta1", "ancient-changes v1", ...[3, 4, 5, 6, 7, 8, 9].map((i) => `m${i} v1`), "controller v1"],
  );
  assert.equal(entries[1]?.time, "2026-01-01T00:00:02Z");
  assert.deepEqual(entries[1]?.fieldsV1, { "f:metadata": { "f:labels": { "f:m1": {}, "f:m2": {} } } });
});

test("after any series of forced applies the object is the union of what is applied", () => {
  const spec = fc.record(
    {
      hostname: fc.constantFrom("a", "b"),
      replicas: fc.integer({ min: 0, max: 2 }),
      containers: fc
        .uniqueArray(fc.constantFrom("x", "y", "z"), { maxLength: 3 })
        .map((n) => n.map((name) => ({ name }))),
    },
    { requiredKeys: [] },
  );
  const steps = fc.array(fc.tuple(fc.constantFrom("one", "two"), spec), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(steps, (series) => {
      let object: Any | undefined;
      const last = new Map<string, Record<string, unknown>>();
      for (const [manager, applied] of series) {
        object = apply(object, config(applied), { manager, force: true });
        last.set(manager, applied);
        for (const key of ["hostname", "replicas"]) {
          if (applied[key as "hostname"] !== undefined) assert.equal(object.spec?.[key], applied[key as "hostname"]);
        }
        // What nobody owns any more is for the next apply as if it had never been applied.
        if (!object.metadata.managedFields) continue;
        assert.deepEqual(apply(object, config(applied), { manager, force: true, nowMs: startMs + 1 }), object);
      }
      const wanted = new Set(
        [...last.values()].flatMap((one) => ((one.containers as { name: string }[]) ?? []).map(({ name }) => name)),
      );
      const there = ((object?.spec?.containers as { name: string }[]) ?? []).map(({ name }) => name);
      assert.deepEqual(new Set(there), wanted);
      for (const key of ["hostname", "replicas"]) {
        const someone = [...last.values()].some((one) => one[key] !== undefined);
        if (object?.spec?.[key] !== undefined) assert.equal(someone, true, `${key} is applied by someone`);
      }
    }),
    { numRuns: 300 },
  );
});
