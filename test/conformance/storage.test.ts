/** The API of storage, as its conformance tests ask. */
import assert from "node:assert/strict";
import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from "../../src/api/generated/core-v1.ts";
import {
  csiDrivers,
  csiNodes,
  csiStorageCapacities,
  storageClasses,
  volumeAttachments,
  volumeAttributesClasses,
} from "../../src/api/generated/storage-v1.ts";
import { exerciseApi, isLater } from "./api-operations.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";

conformance(
  "[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver [Conformance]",
  (_, cluster) =>
    exerciseApi(cluster, {
      type: csiDrivers,
      make: () => ({
        metadata: {},
        spec: { attachRequired: false, volumeLifecycleModes: ["Persistent", "Ephemeral"] },
      }),
    }),
);

conformance(
  "[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode [Conformance]",
  (_, cluster) => exerciseApi(cluster, { type: csiNodes, make: () => ({ metadata: {}, spec: { drivers: [] } }) }),
);

conformance(
  "[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations [Conformance]",
  (_, cluster) =>
    exerciseApi(cluster, {
      type: csiStorageCapacities,
      make: () => ({ metadata: {}, storageClassName: "none.example.com", capacity: "1Gi", nodeTopology: {} }),
    }),
);

conformance(
  "[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a StorageClass [Conformance]",
  (_, cluster) =>
    exerciseApi(cluster, {
      type: storageClasses,
      make: () => ({ metadata: {}, provisioner: "none.example.com", parameters: { a: "b" } }),
    }),
);

conformance(
  "[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a VolumeAttributesClass [Conformance]",
  (_, cluster) =>
    exerciseApi(cluster, {
      type: volumeAttributesClasses,
      make: () => ({ metadata: {}, driverName: "none.example.com", parameters: { a: "b" } }),
    }),
);

const attachment = () => ({
  metadata: {},
  spec: { attacher: "none.example.com", nodeName: "none", source: { persistentVolumeName: "none" } },
});

conformance(
  "[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment [Conformance]",
  (_, cluster) => exerciseApi(cluster, { type: volumeAttachments, make: attachment }),
);

conformance(
  "[sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment status [Conformance]",
  async (_, { client }) => {
    const name = "status-of-attachment";
    const status = { subresource: "status" };
    await client.create(volumeAttachments, { ...attachment(), metadata: { name } });
    const labelled = await client.patch(volumeAttachments, name, {
      type: "merge",
      body: { metadata: { labels: { a: "b" } } },
    });
    assert.equal(labelled.metadata.labels?.["a"], "b");
    assert.equal((await client.get(volumeAttachments, name, status)).status?.attached, false);
    const body = { status: { attached: true } };
    const patched = await client.patch(volumeAttachments, name, { type: "merge", body }, status);
    assert.equal(patched.status?.attached, true);
    const updated = await client.update(volumeAttachments, { ...patched, status: { attached: false } }, status);
    assert.equal(updated.status?.attached, false);
    await client.delete(volumeAttachments, name);
    await isGone(client, volumeAttachments, name);
  },
);

const accessModes = ["ReadWriteOnce"];
/** A volume and a claim that nothing provisions; the class keeps other claims away. */
async function makePair({ client, namespace }: Cluster, suffix: string) {
  const storageClassName = `none-${namespace}`;
  const resources = { requests: { storage: "1Gi" } };
  const labels = { pair: namespace };
  const volume: PersistentVolume = {
    metadata: { name: `volume-${namespace}-${suffix}`, labels },
    spec: {
      accessModes,
      storageClassName,
      capacity: { storage: "1Gi" },
      persistentVolumeReclaimPolicy: "Retain",
      csi: { driver: "none.example.com", volumeHandle: suffix },
    },
  };
  const claim: PersistentVolumeClaim = {
    metadata: { name: `claim-${suffix}`, namespace, labels },
    spec: { accessModes, storageClassName, resources },
  };
  await client.create(persistentVolumes, volume);
  await client.create(persistentVolumeClaims, claim, { namespace });
  return { volume: volume.metadata.name ?? "", claim: claim.metadata.name ?? "", labelSelector: `pair=${namespace}` };
}

conformance(
  "[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC [Conformance]",
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const scope = { namespace };
    const first = await makePair(cluster, "one");
    assert.equal((await client.list(persistentVolumes, first)).items.length, 1);
    assert.equal((await client.list(persistentVolumeClaims, scope)).items.length, 1);

    const label = { type: "strategic", body: { metadata: { labels: { patched: "yes" } } } } as const;
    const before = await client.get(persistentVolumes, first.volume);
    const volume = await client.patch(persistentVolumes, first.volume, label);
    assert.equal(volume.metadata.labels?.["patched"], "yes");
    assert.ok(isLater(volume, before));
    const claim = await client.patch(persistentVolumeClaims, first.claim, label, scope);
    assert.equal(claim.metadata.labels?.["patched"], "yes");
    assert.equal((await client.get(persistentVolumes, first.volume)).metadata.uid, volume.metadata.uid);
    assert.equal((await client.get(persistentVolumeClaims, first.claim, scope)).metadata.uid, claim.metadata.uid);
    await client.delete(persistentVolumeClaims, first.claim, scope);
    await isGone(client, persistentVolumeClaims, first.claim, scope);
    await client.delete(persistentVolumes, first.volume);
    await isGone(client, persistentVolumes, first.volume);

    const second = await makePair(cluster, "two");
    const labels = { pair: namespace, updated: "yes" };
    await soon(async () => {
      const present = await client.get(persistentVolumes, second.volume);
      const updated = await client.update(persistentVolumes, { ...present, metadata: { ...present.metadata, labels } });
      assert.equal(updated.metadata.labels?.["updated"], "yes");
    });
    await soon(async () => {
      const present = await client.get(persistentVolumeClaims, second.claim, scope);
      const metadata = { ...present.metadata, labels };
      const updated = await client.update(persistentVolumeClaims, { ...present, metadata }, scope);
      assert.equal(updated.metadata.labels?.["updated"], "yes");
    });
    const labelSelector = `updated=yes,pair=${namespace}`;
    assert.equal((await client.list(persistentVolumeClaims, { labelSelector })).items.length, 1);
    await client.deleteCollection(persistentVolumeClaims, { ...scope, labelSelector });
    await isGone(client, persistentVolumeClaims, second.claim, scope);
    await client.deleteCollection(persistentVolumes, { labelSelector });
    await isGone(client, persistentVolumes, second.volume);
  },
);

conformance(
  "[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc status [Conformance]",
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const scope = { namespace, subresource: "status" };
    const { volume, claim, labelSelector } = await makePair(cluster, "one");
    assert.equal((await client.list(persistentVolumes, { labelSelector })).items.length, 1);
    assert.equal((await client.list(persistentVolumeClaims, { namespace })).items.length, 1);
    assert.match((await client.get(persistentVolumeClaims, claim, scope)).status?.phase ?? "", /^(Pending|Bound)$/);
    assert.match(
      (await client.get(persistentVolumes, volume, { subresource: "status" })).status?.phase ?? "",
      /^(Available|Bound|Pending)$/,
    );

    const condition = (type: string) => ({ type, status: "True", reason: `made by ${type}`, message: "set" });
    const patched = await client.patch(
      persistentVolumeClaims,
      claim,
      { type: "strategic", body: { status: { conditions: [condition("Patched")] } } },
      scope,
    );
    assert.ok(patched.status?.conditions?.some(({ type }) => type === "Patched"));
    const body = { status: { reason: "patched", message: "a patch's" } };
    const { status } = await client.patch(
      persistentVolumes,
      volume,
      { type: "merge", body },
      { subresource: "status" },
    );
    assert.deepEqual([status?.reason, status?.message], ["patched", "a patch's"]);

    await soon(async () => {
      const present = await client.get(persistentVolumeClaims, claim, scope);
      const conditions = [...(present.status?.conditions ?? []), condition("Updated")];
      const next = { ...present, status: { ...present.status, conditions } };
      const updated = await client.update(persistentVolumeClaims, next, scope);
      assert.ok(updated.status?.conditions?.some(({ type }) => type === "Updated"));
    });
    await soon(async () => {
      const present = await client.get(persistentVolumes, volume);
      const next = { ...present, status: { ...present.status, reason: "updated", message: "an update's" } };
      const updated = await client.update(persistentVolumes, next, { subresource: "status" });
      assert.deepEqual([updated.status?.reason, updated.status?.message], ["updated", "an update's"]);
    });
  },
);

conformance(
  "[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API [Conformance]",
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const scope = { namespace };
    const driver = `${namespace}.example.com`;
    await client.create(csiDrivers, { metadata: { name: driver }, spec: { volumeLifecycleModes: ["Ephemeral"] } });
    const name = "inline";
    const made = await client.create(
      pods,
      {
        metadata: { name, namespace },
        spec: {
          containers: [{ name: "c", image: "i", volumeMounts: [{ name: "v", mountPath: "/v", readOnly: true }] }],
          volumes: [{ name: "v", csi: { driver, readOnly: true, volumeAttributes: { a: "b" } } }],
        },
      },
      scope,
    );
    assert.deepEqual(made.spec?.volumes?.[0]?.csi, { driver, readOnly: true, volumeAttributes: { a: "b" } });
    assert.equal((await client.get(pods, name, scope)).metadata.uid, made.metadata.uid);
    assert.equal((await client.list(pods, scope)).items.length, 1);
    const body = { metadata: { annotations: { patched: "true" } } };
    const patched = await client.patch(pods, name, { type: "merge", body }, scope);
    assert.equal(patched.metadata.annotations?.["patched"], "true");
    await client.delete(pods, name, { ...scope, gracePeriodSeconds: 0 });
    await isGone(client, pods, name, scope);
  },
);
