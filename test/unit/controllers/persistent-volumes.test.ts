import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  events,
  nodes,
  type PersistentVolume,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from "../../../src/api/generated/core-v1.ts";
import { storageClasses } from "../../../src/api/generated/storage-v1.ts";
import { findVolume, misfit } from "../../../src/api/volume/matching.ts";
import type { Client } from "../../../src/client/client.ts";
import { ephemeralVolumeController } from "../../../src/controllers/ephemeral-volume.ts";
import { persistentVolumeBinder } from "../../../src/controllers/persistent-volume-binder.ts";
import { serviceAccountController } from "../../../src/controllers/service-account.ts";
import { claimProtectionController, volumeProtectionController } from "../../../src/controllers/volume-protection.ts";
import { clusterClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { startScheduler } from "../../../src/scheduler/scheduler.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { startHollowNodes } from "../../support/hollow-nodes.ts";

const namespace = "default";
const controllers = [
  persistentVolumeBinder,
  claimProtectionController,
  volumeProtectionController,
  ephemeralVolumeController,
  serviceAccountController,
];

const volume = (name: string, storage: string, spec: Partial<PersistentVolume["spec"]> = {}): PersistentVolume => ({
  metadata: { name },
  spec: {
    capacity: { storage },
    accessModes: ["ReadWriteOnce"],
    hostPath: { path: "/data" },
    persistentVolumeReclaimPolicy: "Retain",
    ...spec,
  },
});
const claim = (name: string, storage: string, spec: object = {}) => ({
  metadata: { name, namespace },
  spec: { accessModes: ["ReadWriteOnce"], storageClassName: "", resources: { requests: { storage } }, ...spec },
});
const using = (name: string, claimName: string) => ({
  metadata: { name, namespace },
  spec: {
    containers: [{ name: "c", image: "i" }],
    volumes: [{ name: "v", persistentVolumeClaim: { claimName } }],
  },
});

const volumePhase = (client: Client, name: string, phase: string) =>
  eventually(async () => assert.equal((await client.get(persistentVolumes, name)).status?.phase, phase));
const claimPhase = (client: Client, name: string, phase: string) =>
  eventually(async () => {
    const { status, spec } = await client.get(persistentVolumeClaims, name, { namespace });
    assert.equal(status?.phase, phase);
    return spec;
  });
const told = (client: Client, name: string, reason: string, text: RegExp) =>
  eventually(async () => {
    const { items } = await client.list(events, { fieldSelector: `involvedObject.name=${name},reason=${reason}` });
    assert.ok(
      items.some(({ message }) => text.test(message ?? "")),
      items.map(({ message }) => message).join(),
    );
  });

async function start(t: TestContext) {
  const plane = await startControlPlane(t, { controllers });
  const scheduler = startScheduler({
    client: plane.clientAs("system:kube-scheduler"),
    clock: clusterClock,
    logger: silentLogger,
    signal: plane.signal,
  });
  t.after(() => scheduler.stop());
  await startHollowNodes(plane.client, { names: ["one", "two"], signal: plane.signal, bind: false });
  // New nodes are tainted until a controller that does not run here finds them ready.
  for (const name of ["one", "two"]) {
    await plane.client.patch(nodes, name, { type: "merge", body: { spec: { taints: null } } });
  }
  return plane.client;
}

test("a claim gets the smallest volume that does, and its volume's policy decides what is left", async (t) => {
  const { client } = await startControlPlane(t, { controllers });
  await client.create(persistentVolumes, volume("large", "10Gi"));
  await client.create(persistentVolumes, volume("small", "1Gi", { persistentVolumeReclaimPolicy: "Recycle" }));
  await client.create(persistentVolumes, volume("classy", "1Gi", { storageClassName: "gold" }));
  await volumePhase(client, "large", "Available");
  await volumePhase(client, "small", "Available");
  await client.create(persistentVolumeClaims, claim("first", "500Mi"));
  assert.equal((await claimPhase(client, "first", "Bound"))?.volumeName, "small");
  const { metadata, status } = await client.get(persistentVolumeClaims, "first", { namespace });
  assert.deepEqual(status?.capacity, { storage: "1Gi" });
  assert.deepEqual(metadata.annotations, {
    "pv.kubernetes.io/bind-completed": "yes",
    "pv.kubernetes.io/bound-by-controller": "yes",
  });
  assert.ok(metadata.finalizers?.includes("kubernetes.io/pvc-protection"));
  const bound = await client.get(persistentVolumes, "small");
  assert.equal(bound.spec?.claimRef?.uid, metadata.uid);
  await volumePhase(client, "small", "Bound");

  await client.create(persistentVolumeClaims, claim("second", "500Mi"));
  assert.equal((await claimPhase(client, "second", "Bound"))?.volumeName, "large");
  await client.create(persistentVolumeClaims, claim("third", "500Mi"));
  await told(
    client,
    "third",
    "FailedBinding",
    /^no persistent volumes available for this claim and no storage class is set$/,
  );
  // A later volume finds those that wait.
  await client.create(persistentVolumes, volume("late", "1Gi", { persistentVolumeReclaimPolicy: "Delete" }));
  await claimPhase(client, "third", "Bound");

  for (const name of ["first", "second", "third"]) await client.delete(persistentVolumeClaims, name, { namespace });
  await volumePhase(client, "large", "Released");
  await volumePhase(client, "small", "Failed");
  await volumePhase(client, "late", "Failed");
  await told(client, "small", "VolumeFailedRecycle", /^No recycler plugin found for the volume!$/);
  await told(client, "late", "VolumeFailedDelete", /host_path deleter only supports/);
  // Whoever takes the reference away gives the volume to the next one.
  await client.patch(persistentVolumes, "large", { type: "json", body: [{ op: "remove", path: "/spec/claimRef" }] });
  await volumePhase(client, "large", "Available");
});

test("volumes and claims that name each other are bound, whatever else would do; wrong ones say why", async (t) => {
  const { client } = await startControlPlane(t, { controllers });
  await client.create(persistentVolumes, volume("reserved", "5Gi", { claimRef: { namespace, name: "mine" } }));
  await client.create(persistentVolumes, volume("free", "1Gi"));
  await volumePhase(client, "reserved", "Available");
  await client.create(persistentVolumeClaims, claim("mine", "1Gi"));
  assert.equal((await claimPhase(client, "mine", "Bound"))?.volumeName, "reserved");
  const { metadata } = await client.get(persistentVolumes, "reserved");
  assert.equal(metadata.annotations?.["pv.kubernetes.io/bound-by-controller"], undefined);
  await client.create(persistentVolumeClaims, claim("greedy", "2Gi", { volumeName: "free" }));
  await told(client, "greedy", "VolumeMismatch", /^Cannot bind to requested volume "free": requested PV is too small$/);
  await client.create(persistentVolumeClaims, claim("late", "1Gi", { volumeName: "reserved" }));
  await told(client, "late", "FailedBinding", /^volume "reserved" already bound to a different claim.$/);
  await client.create(persistentVolumeClaims, claim("nowhere", "1Gi", { storageClassName: "absent" }));
  await told(client, "nowhere", "ProvisioningFailed", /^storageclass.storage.k8s.io "absent" not found$/);
  await client.create(storageClasses, { metadata: { name: "made" }, provisioner: "example.com/maker" });
  await client.create(persistentVolumeClaims, claim("made", "1Gi", { storageClassName: "made" }));
  await told(client, "made", "ExternalProvisioning", /external provisioner 'example.com\/maker'/);
  await eventually(async () => {
    const { metadata } = await client.get(persistentVolumeClaims, "made", { namespace });
    assert.equal(metadata.annotations?.["volume.kubernetes.io/storage-provisioner"], "example.com/maker");
  });
  // A volume that is in use stays until its claim is gone, and a claim without its volume says what is lost.
  await client.delete(persistentVolumes, "reserved");
  assert.ok((await client.get(persistentVolumes, "reserved")).metadata.deletionTimestamp);
  await client.patch(persistentVolumes, "reserved", { type: "merge", body: { metadata: { finalizers: null } } });
  await claimPhase(client, "mine", "Lost");
  await told(client, "mine", "ClaimLost", /^Bound claim has lost its PersistentVolume. Data on the volume is lost!$/);
});

test("a claim that leaves its class open gets the default one when there is one", async (t) => {
  const { client } = await startControlPlane(t, { controllers });
  const open = claim("open", "1Gi");
  await client.create(persistentVolumeClaims, {
    ...open,
    spec: { ...open.spec, storageClassName: undefined as never },
  });
  await told(client, "open", "FailedBinding", /no storage class is set/);
  const annotations = { "storageclass.kubernetes.io/is-default-class": "true" };
  await client.create(storageClasses, {
    metadata: { name: "usual", annotations },
    provisioner: "kubernetes.io/no-provisioner",
  });
  await eventually(async () => {
    const { spec } = await client.get(persistentVolumeClaims, "open", { namespace });
    assert.equal(spec?.storageClassName, "usual");
  });
});

test("pods wait for their claims, and WaitForFirstConsumer binds where the pod fits", async (t) => {
  const client = await start(t);
  const unschedulable = (name: string, text: RegExp) =>
    eventually(async () => {
      const { status } = await client.get(pods, name, { namespace });
      const condition = status?.conditions?.find(({ type }) => type === "PodScheduled");
      assert.match(condition?.message ?? "", text);
      assert.equal(condition?.reason, "Unschedulable");
    });
  const running = (name: string) =>
    eventually(async () => {
      const pod = await client.get(pods, name, { namespace });
      assert.equal(pod.status?.phase, "Running");
      return pod.spec?.nodeName;
    });
  await eventually(() => client.create(pods, using("absent", "absent")));
  await unschedulable("absent", /^0\/2 nodes are available: persistentvolumeclaim "absent" not found\./);
  await client.create(persistentVolumeClaims, claim("unbound", "1Gi"));
  await client.create(pods, using("unbound", "unbound"));
  await unschedulable("unbound", /^0\/2 nodes are available: pod has unbound immediate PersistentVolumeClaims\./);
  const onTwo = {
    required: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: ["two"] }] }],
    },
  };
  await client.create(persistentVolumes, volume("two-a", "1Gi", { nodeAffinity: onTwo }));
  assert.equal(await running("unbound"), "two");

  await client.create(storageClasses, {
    metadata: { name: "local" },
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "WaitForFirstConsumer",
  });
  await client.create(persistentVolumeClaims, claim("delayed", "1Gi", { storageClassName: "local" }));
  await told(client, "delayed", "WaitForFirstConsumer", /^waiting for first consumer to be created before binding$/);
  await client.create(pods, using("delayed", "delayed"));
  await unschedulable("delayed", /2 node\(s\) didn't find available persistent volumes to bind/);
  await client.create(persistentVolumes, volume("two-b", "1Gi", { nodeAffinity: onTwo, storageClassName: "local" }));
  assert.equal(await running("delayed"), "two");
  assert.equal((await claimPhase(client, "delayed", "Bound"))?.volumeName, "two-b");

  // A claim in use stays until its pod is gone.
  await client.delete(persistentVolumeClaims, "delayed", { namespace });
  assert.ok((await client.get(persistentVolumeClaims, "delayed", { namespace })).metadata.deletionTimestamp);
  await client.delete(pods, "delayed", { namespace });
  await eventually(() => assert.rejects(client.get(persistentVolumeClaims, "delayed", { namespace }), { code: 404 }));
});

test("a class whose volumes are made elsewhere is told the node, and an ephemeral volume gets its own claim", async (t) => {
  const client = await start(t);
  await client.create(storageClasses, {
    metadata: { name: "made" },
    provisioner: "example.com/maker",
    volumeBindingMode: "WaitForFirstConsumer",
  });
  const template = { spec: { ...claim("", "1Gi", { storageClassName: "made" }).spec } };
  await eventually(() =>
    client.create(pods, {
      metadata: { name: "p", namespace },
      spec: {
        containers: [{ name: "c", image: "i" }],
        volumes: [{ name: "scratch", ephemeral: { volumeClaimTemplate: template } }],
      },
    }),
  );
  const made = await eventually(async () => {
    const object = await client.get(persistentVolumeClaims, "p-scratch", { namespace });
    assert.match(object.metadata.annotations?.["volume.kubernetes.io/selected-node"] ?? "", /^(one|two)$/);
    assert.equal(object.metadata.ownerReferences?.[0]?.name, "p");
    return object;
  });
  const claimRef = { kind: "PersistentVolumeClaim", namespace, name: "p-scratch", uid: made.metadata.uid! };
  await client.create(persistentVolumes, volume("pv-made", "1Gi", { storageClassName: "made", claimRef }));
  await eventually(async () => assert.equal((await client.get(pods, "p", { namespace })).status?.phase, "Running"));
});

test("a volume does for a claim by size, class, modes and labels", () => {
  const free = (name: string, storage: string, more: object = {}, labels = {}) => {
    const made = volume(name, storage, more);
    return { ...made, metadata: { ...made.metadata, labels }, status: { phase: "Available" } };
  };
  const wanted = claim("c", "2Gi", { selector: { matchLabels: { tier: "a" } } });
  const volumes = [
    free("small", "1Gi", {}, { tier: "a" }),
    free("other", "2Gi", {}, { tier: "b" }),
    free("block", "2Gi", { volumeMode: "Block" }, { tier: "a" }),
    free("many", "2Gi", { accessModes: ["ReadWriteMany"] }, { tier: "a" }),
    free("large", "9Gi", {}, { tier: "a" }),
    free("fits", "3Gi", {}, { tier: "a" }),
  ];
  assert.equal(findVolume(wanted, volumes)?.metadata.name, "fits");
  assert.equal(findVolume(wanted, volumes, { taken: new Set(["fits"]) })?.metadata.name, "large");
  assert.equal(findVolume(wanted, volumes, { reservedOnly: true }), undefined);
  assert.equal(misfit(volumes[2]!, wanted), "incompatible volumeMode");
  assert.equal(misfit(volumes[3]!, wanted), "incompatible accessMode");
});
