/** What the conformance tests ask of volumes: what containers find in them, and see change there. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { tokenReviews } from "../../src/api/generated/authentication-v1.ts";
import {
  configMaps,
  nodes as nodeType,
  pods,
  replicationControllers,
  serviceAccounts,
} from "../../src/api/generated/core-v1.ts";
import { conformance, type Nodes, shell, testImage, useNodes } from "../conformance/on-nodes.ts";
import { soon } from "../conformance/waiting.ts";
import {
  makeData,
  printed,
  readsFacts,
  readsFile,
  readsSubPath,
  readsTwice,
  seesFacts,
  seesOptional,
  seesUpdate,
  usesEmptyDir,
} from "./volume-pods.ts";

useNodes();

const emptyDirs = "[sig-storage] EmptyDir volumes";
const wrappers = "[sig-storage] EmptyDir wrapper volumes should";
const configMapFiles = "[sig-storage] ConfigMap";
const secretFiles = "[sig-storage] Secrets";
const projectedMaps = "[sig-storage] Projected configMap";
const projectedSecrets = "[sig-storage] Projected secret";
const facts = "[sig-storage] Downward API volume should";
const projectedFacts = "[sig-storage] Projected downwardAPI should";
const subPaths = "[sig-storage] Subpath Atomic writer volumes should support subpaths with";
const tokens = "[sig-auth] ServiceAccounts should";
const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount";
const kubelet = "[NodeConformance] [Conformance]";
const linux = "[LinuxOnly] [NodeConformance] [Conformance]";

// They wait mostly for containers to start, of which a small machine starts a few at a time.
describe("volumes", { concurrency: 8 }, () => {
  conformance(`${wrappers} not cause race condition when used for configmaps [Serial] [Conformance]`, async (nodes) => {
    const names = Array.from({ length: 50 }, (_, index) => `racing-${index}`);
    await Promise.all(names.map((name) => makeData(nodes, "configMap", name, { "data-1": "value-1" })));
    for (const round of ["first", "second", "third"]) await startManyVolumes(nodes, round, names);
  });
  conformance(`${emptyDirs} volume on default medium should have the correct mode ${linux}`, usesEmptyDir({}));
  conformance(`${emptyDirs} volume on tmpfs should have the correct mode ${linux}`, usesEmptyDir({ memory: true }));
  conformance(`${emptyDirs} should support (root,0644,default) ${linux}`, usesEmptyDir({ mode: 0o644 }));
  conformance(`${emptyDirs} should support (root,0644,tmpfs) ${linux}`, usesEmptyDir({ memory: true, mode: 0o644 }));
  conformance(`${emptyDirs} should support (root,0666,default) ${linux}`, usesEmptyDir({ mode: 0o666 }));
  conformance(`${emptyDirs} should support (root,0666,tmpfs) ${linux}`, usesEmptyDir({ memory: true, mode: 0o666 }));
  conformance(`${emptyDirs} should support (root,0777,default) ${linux}`, usesEmptyDir({ mode: 0o777 }));
  conformance(`${emptyDirs} should support (root,0777,tmpfs) ${linux}`, usesEmptyDir({ memory: true, mode: 0o777 }));
  conformance(
    `${emptyDirs} should support (non-root,0644,default) ${linux}`,
    usesEmptyDir({ user: 1001, mode: 0o644 }),
  );
  conformance(
    `${emptyDirs} should support (non-root,0644,tmpfs) ${linux}`,
    usesEmptyDir({ memory: true, user: 1001, mode: 0o644 }),
  );
  conformance(
    `${emptyDirs} should support (non-root,0666,default) ${linux}`,
    usesEmptyDir({ user: 1001, mode: 0o666 }),
  );
  conformance(
    `${emptyDirs} should support (non-root,0666,tmpfs) ${linux}`,
    usesEmptyDir({ memory: true, user: 1001, mode: 0o666 }),
  );
  conformance(
    `${emptyDirs} should support (non-root,0777,default) ${linux}`,
    usesEmptyDir({ user: 1001, mode: 0o777 }),
  );
  conformance(
    `${emptyDirs} should support (non-root,0777,tmpfs) ${linux}`,
    usesEmptyDir({ memory: true, user: 1001, mode: 0o777 }),
  );
  conformance(`${configMapFiles} should be consumable from pods in volume ${kubelet}`, readsFile("configMap"));
  conformance(
    `${configMapFiles} should be consumable from pods in volume with defaultMode set ${linux}`,
    readsFile("configMap", { defaultMode: 0o400 }),
  );
  conformance(
    `${configMapFiles} should be consumable from pods in volume with mappings ${kubelet}`,
    readsFile("configMap", { mapped: true }),
  );
  conformance(
    `${configMapFiles} should be consumable from pods in volume with mappings and Item mode set ${linux}`,
    readsFile("configMap", { mapped: true, itemMode: 0o400 }),
  );
  conformance(
    `${configMapFiles} should be consumable from pods in volume as non-root ${kubelet}`,
    readsFile("configMap", { user: 1000 }),
  );
  conformance(
    `${configMapFiles} should be consumable from pods in volume with mappings as non-root ${kubelet}`,
    readsFile("configMap", { mapped: true, user: 1000 }),
  );
  conformance(
    `${configMapFiles} should be consumable in multiple volumes in the same pod ${kubelet}`,
    readsTwice("configMap"),
  );
  conformance(`${configMapFiles} updates should be reflected in volume ${kubelet}`, seesUpdate());
  conformance(`${configMapFiles} optional updates should be reflected in volume ${kubelet}`, seesOptional("configMap"));
  conformance(
    `${projectedMaps} should be consumable from pods in volume ${kubelet}`,
    readsFile("configMap", { projected: true }),
  );
  conformance(
    `${projectedMaps} should be consumable from pods in volume with defaultMode set ${linux}`,
    readsFile("configMap", { defaultMode: 0o400, projected: true }),
  );
  conformance(
    `${projectedMaps} should be consumable from pods in volume with mappings ${kubelet}`,
    readsFile("configMap", { mapped: true, projected: true }),
  );
  conformance(
    `${projectedMaps} should be consumable from pods in volume with mappings and Item mode set ${linux}`,
    readsFile("configMap", { mapped: true, defaultMode: 0o400, projected: true }),
  );
  conformance(
    `${projectedMaps} should be consumable from pods in volume as non-root ${kubelet}`,
    readsFile("configMap", { user: 1000, projected: true }),
  );
  conformance(
    `${projectedMaps} should be consumable from pods in volume with mappings as non-root ${kubelet}`,
    readsFile("configMap", { mapped: true, user: 1000, projected: true }),
  );
  conformance(
    `${projectedMaps} should be consumable in multiple volumes in the same pod ${kubelet}`,
    readsTwice("configMap", true),
  );
  conformance(`${projectedMaps} updates should be reflected in volume ${kubelet}`, seesUpdate(true));
  conformance(
    `${projectedMaps} optional updates should be reflected in volume ${kubelet}`,
    seesOptional("configMap", true),
  );
  conformance(`${secretFiles} should be consumable from pods in volume ${kubelet}`, readsFile("secret"));
  conformance(
    `${secretFiles} should be consumable from pods in volume with defaultMode set ${linux}`,
    readsFile("secret", { defaultMode: 0o400 }),
  );
  conformance(
    `${secretFiles} should be consumable from pods in volume with mappings ${kubelet}`,
    readsFile("secret", { mapped: true }),
  );
  conformance(
    `${secretFiles} should be consumable from pods in volume with mappings and Item Mode set ${linux}`,
    readsFile("secret", { mapped: true, itemMode: 0o400 }),
  );
  conformance(
    `${secretFiles} should be consumable from pods in volume as non-root with defaultMode and fsGroup set ${linux}`,
    readsFile("secret", { defaultMode: 0o440, user: 1000, group: 1001 }),
  );
  conformance(`${secretFiles} should be consumable in multiple volumes in a pod ${kubelet}`, readsTwice("secret"));
  conformance(`${secretFiles} optional updates should be reflected in volume ${kubelet}`, seesOptional("secret"));
  conformance(
    `${projectedSecrets} should be consumable from pods in volume ${kubelet}`,
    readsFile("secret", { projected: true }),
  );
  conformance(
    `${projectedSecrets} should be consumable from pods in volume with defaultMode set ${linux}`,
    readsFile("secret", { defaultMode: 0o400, projected: true }),
  );
  conformance(
    `${projectedSecrets} should be consumable from pods in volume with mappings ${kubelet}`,
    readsFile("secret", { mapped: true, projected: true }),
  );
  conformance(
    `${projectedSecrets} should be consumable from pods in volume with mappings and Item Mode set ${linux}`,
    readsFile("secret", { mapped: true, defaultMode: 0o400, projected: true }),
  );
  conformance(
    `${projectedSecrets} should be consumable from pods in volume as non-root with defaultMode and fsGroup set ${linux}`,
    readsFile("secret", { defaultMode: 0o440, user: 1000, group: 1001, projected: true }),
  );
  conformance(
    `${projectedSecrets} should be consumable in multiple volumes in a pod ${kubelet}`,
    readsTwice("secret", true),
  );
  conformance(
    `${projectedSecrets} optional updates should be reflected in volume ${kubelet}`,
    seesOptional("secret", true),
  );
  conformance(
    `${secretFiles} should be able to mount in a volume regardless of a different secret existing with same name in different namespace ${kubelet}`,
    readsFile("secret", { double: true }),
  );
  conformance(`${facts} provide podname only ${kubelet}`, readsFacts({ file: "podname", content: /^p$/ }));
  conformance(
    `${facts} set DefaultMode on files ${linux}`,
    readsFacts({ file: "podname", content: /^p$/, defaultMode: 0o400 }),
  );
  conformance(
    `${facts} set mode on item file ${linux}`,
    readsFacts({ file: "podname", content: /^p$/, itemMode: 0o400 }),
  );
  conformance(`${facts} update labels on modification ${kubelet}`, seesFacts("labels"));
  conformance(`${facts} update annotations on modification ${kubelet}`, seesFacts("annotations"));
  conformance(
    `${facts} provide container's cpu limit ${kubelet}`,
    readsFacts({ file: "cpu_limit", content: /^2$/, bounded: true }),
  );
  conformance(
    `${facts} provide container's memory limit ${kubelet}`,
    readsFacts({ file: "memory_limit", content: /^134217728$/, bounded: true }),
  );
  conformance(
    `${facts} provide container's cpu request ${kubelet}`,
    readsFacts({ file: "cpu_request", content: /^1$/, bounded: true }),
  );
  conformance(
    `${facts} provide container's memory request ${kubelet}`,
    readsFacts({ file: "memory_request", content: /^33554432$/, bounded: true }),
  );
  conformance(
    `${facts} provide node allocatable (cpu) as default cpu limit if the limit is not set ${kubelet}`,
    readsFacts({ file: "cpu_limit", content: /^[1-9][0-9]*$/ }),
  );
  conformance(
    `${facts} provide node allocatable (memory) as default memory limit if the limit is not set ${kubelet}`,
    readsFacts({ file: "memory_limit", content: /^[1-9][0-9]*$/ }),
  );
  conformance(
    `${projectedFacts} provide podname only ${kubelet}`,
    readsFacts({ file: "podname", content: /^p$/, projected: true }),
  );
  conformance(
    `${projectedFacts} set DefaultMode on files ${linux}`,
    readsFacts({ file: "podname", content: /^p$/, defaultMode: 0o400, projected: true }),
  );
  conformance(
    `${projectedFacts} set mode on item file ${linux}`,
    readsFacts({ file: "podname", content: /^p$/, itemMode: 0o400, projected: true }),
  );
  conformance(`${projectedFacts} update labels on modification ${kubelet}`, seesFacts("labels", true));
  conformance(`${projectedFacts} update annotations on modification ${kubelet}`, seesFacts("annotations", true));
  conformance(
    `${projectedFacts} provide container's cpu limit ${kubelet}`,
    readsFacts({ file: "cpu_limit", content: /^2$/, bounded: true, projected: true }),
  );
  conformance(
    `${projectedFacts} provide container's memory limit ${kubelet}`,
    readsFacts({ file: "memory_limit", content: /^134217728$/, bounded: true, projected: true }),
  );
  conformance(
    `${projectedFacts} provide container's cpu request ${kubelet}`,
    readsFacts({ file: "cpu_request", content: /^1$/, bounded: true, projected: true }),
  );
  conformance(
    `${projectedFacts} provide container's memory request ${kubelet}`,
    readsFacts({ file: "memory_request", content: /^33554432$/, bounded: true, projected: true }),
  );
  conformance(
    `${projectedFacts} provide node allocatable (cpu) as default cpu limit if the limit is not set ${kubelet}`,
    readsFacts({ file: "cpu_limit", content: /^[1-9][0-9]*$/, projected: true }),
  );
  conformance(
    `${projectedFacts} provide node allocatable (memory) as default memory limit if the limit is not set ${kubelet}`,
    readsFacts({ file: "memory_limit", content: /^[1-9][0-9]*$/, projected: true }),
  );

  const configMap = { configMap: { name: "my-configmap" } };
  conformance(
    `${subPaths} secret pod [Conformance]`,
    readsSubPath({ secret: { secretName: "my-secret" } }, "secret-key", "secret-value"),
  );
  conformance(`${subPaths} configmap pod [Conformance]`, readsSubPath(configMap, "configmap-key", "configmap-value"));
  conformance(
    `${subPaths} configmap pod with mountPath of existing file [Conformance]`,
    readsSubPath(configMap, "configmap-key", "configmap-value", "/etc/resolv.conf"),
  );
  conformance(
    `${subPaths} downward pod [Conformance]`,
    readsSubPath(
      {
        downwardAPI: {
          items: [{ path: "downward/podname", fieldRef: { apiVersion: "v1", fieldPath: "metadata.name" } }],
        },
      },
      "downward/podname",
      "p",
    ),
  );
  conformance(
    `${subPaths} projected pod [Conformance]`,
    readsSubPath(
      {
        projected: {
          sources: [
            { configMap: { name: "my-configmap", items: [{ key: "configmap-key", path: "projected/configmap-key" }] } },
          ],
        },
      },
      "projected/configmap-key",
      "configmap-value",
    ),
  );

  conformance(`${configMapFiles} binary data should be reflected in volume ${kubelet}`, async (nodes) => {
    const { client, namespace } = nodes;
    const dump = Buffer.from([0xde, 0xca, 0xfe, 0xba, 0xd0, 0xfe, 0xff]).toString("base64");
    const data = { "data-1": "value-1" };
    await client.create(configMaps, { metadata: { name: "d" }, data, binaryData: { "dump.bin": dump } }, { namespace });
    const more = { image: testImage, volumeMounts: [{ name: "v", mountPath: "/etc/volume", readOnly: true }] };
    await nodes.create(
      "p",
      {},
      {
        volumes: [{ name: "v", configMap: { name: "d" } }],
        containers: [
          { name: "text", ...more, command: ["cat", "/etc/volume/data-1"] },
          { name: "binary", ...more, command: ["hexdump", "-C", "/etc/volume/dump.bin"] },
        ],
      },
    );
    assert.equal((await nodes.ended("p")).status?.phase, "Succeeded");
    assert.equal(await nodes.logs("p", "text"), "value-1");
    assert.match(await nodes.logs("p", "binary"), /de ca fe ba d0 fe ff/);
  });

  conformance(
    `[sig-storage] Projected combined should project all components that make up the projection API [Projection] ${kubelet}`,
    async (nodes) => {
      await makeData(nodes, "configMap", "m", { "configmap-data": "configmap-value-1" });
      await makeData(nodes, "secret", "s", { "secret-data": "secret-value-1" });
      const items = [{ path: "podname", fieldRef: { apiVersion: "v1", fieldPath: "metadata.name" } }];
      const sources = [{ downwardAPI: { items } }, { secret: { name: "s" } }, { configMap: { name: "m" } }];
      const output = await printed(
        nodes,
        {
          ...shell("cat /all/podname && echo && cat /all/secret-data && echo && cat /all/configmap-data"),
          volumeMounts: [{ name: "all", mountPath: "/all" }],
        },
        { volumes: [{ name: "all", projected: { sources } }] },
      );
      assert.equal(output, "p\nsecret-value-1\nconfigmap-value-1");
    },
  );

  conformance(`${emptyDirs} pod should support shared volumes between containers [Conformance]`, async (nodes) => {
    const mounted = (mountPath: string) => ({ image: testImage, volumeMounts: [{ name: "shared", mountPath }] });
    await nodes.create(
      "p",
      {},
      {
        terminationGracePeriodSeconds: 0,
        volumes: [{ name: "shared", emptyDir: {} }],
        containers: [
          { name: "reads", command: ["sleep", "10000"], ...mounted("/usr/share/volumeshare") },
          {
            name: "writes",
            ...shell("echo Hello from the other container > /pod-data/shared"),
            ...mounted("/pod-data"),
          },
        ],
      },
    );
    await nodes.becomes(
      "p",
      ({ status }) =>
        status?.phase === "Running" &&
        !!status.containerStatuses?.some(({ state }) => state?.terminated?.exitCode === 0),
    );
    const read = await nodes.exec("p", ["cat", "/usr/share/volumeshare/shared"], "reads");
    assert.equal(read, "Hello from the other container\n");
  });

  conformance(`${wrappers} not conflict [Conformance]`, async (nodes) => {
    const { client, namespace } = nodes;
    await makeData(nodes, "secret", "d", { "data-1": "value-1" });
    const binaryData = { "data-1": Buffer.from("value-2").toString("base64") };
    await client.create(configMaps, { metadata: { name: "d" }, binaryData }, { namespace });
    await nodes.create(
      "p",
      {
        volumeMounts: [
          { name: "secret", mountPath: "/etc/secret-volume", readOnly: true },
          { name: "map", mountPath: "/etc/configmap-volume" },
        ],
      },
      {
        restartPolicy: "Always",
        volumes: [
          { name: "secret", secret: { secretName: "d" } },
          { name: "map", configMap: { name: "d" } },
        ],
      },
    );
    await nodes.ready("p");
    const read = await nodes.exec("p", ["cat", "/etc/secret-volume/data-1", "/etc/configmap-volume/data-1"]);
    assert.equal(read, "value-1value-2");
  });

  conformance(`${tokens} mount projected service account token [Conformance]`, async (nodes) => {
    const sources = [{ serviceAccountToken: { path: "token", expirationSeconds: 3600 } }];
    const output = await printed(
      nodes,
      { ...shell("cat /volume/token"), volumeMounts: [{ name: "v", mountPath: "/volume", readOnly: true }] },
      { volumes: [{ name: "v", projected: { sources } }] },
    );
    assert.match(output, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  });

  conformance(`${tokens} mount an API token into pods [Conformance]`, async (nodes) => {
    const { client, namespace } = nodes;
    await client.create(serviceAccounts, { metadata: { name: "of-its-own" } }, { namespace });
    await nodes.create(
      "p",
      { command: ["sleep", "10000"] },
      { serviceAccountName: "of-its-own", terminationGracePeriodSeconds: 0 },
    );
    const pod = await nodes.becomes("p", ({ status }) => status?.phase === "Running");
    const node = await client.get(nodeType, pod.spec!.nodeName!);
    const read = (name: string) => nodes.exec("p", ["cat", `${tokenPath}/${name}`]);
    const authority = await client.get(configMaps, "kube-root-ca.crt", { namespace });
    assert.equal(await read("ca.crt"), authority.data?.["ca.crt"]);
    assert.equal(await read("namespace"), namespace);
    const token = await read("token");
    const { status } = await client.create(tokenReviews, { metadata: {}, spec: { token } });
    assert.equal(status?.authenticated, true);
    assert.equal(status.error ?? "", "");
    const { username, groups, extra } = status.user!;
    assert.equal(username, `system:serviceaccount:${namespace}:of-its-own`);
    for (const group of ["system:authenticated", "system:serviceaccounts", `system:serviceaccounts:${namespace}`]) {
      assert.ok(groups?.includes(group), `${group} is not among ${groups}`);
    }
    const { "authentication.kubernetes.io/credential-id": credential, ...bound } = extra as Record<string, string[]>;
    assert.equal(credential?.length, 1);
    assert.match(credential[0]!, /^JTI=/);
    assert.deepEqual(bound, {
      "authentication.kubernetes.io/pod-name": ["p"],
      "authentication.kubernetes.io/pod-uid": [pod.metadata.uid],
      "authentication.kubernetes.io/node-name": [node.metadata.name],
      "authentication.kubernetes.io/node-uid": [node.metadata.uid],
    });
  });

  conformance(
    `${tokens} allow opting out of API token automount [Conformance]`,
    async ({ client, namespace, create }) => {
      for (const [name, automountServiceAccountToken] of [
        ["mounts", true],
        ["mounts-not", false],
      ] as const) {
        await client.create(serviceAccounts, { metadata: { name }, automountServiceAccountToken }, { namespace });
      }
      // What a pod says itself counts, else what its account says, else it is mounted.
      for (const account of ["default", "mounts", "mounts-not"]) {
        for (const own of [undefined, true, false]) {
          const pod = await create(
            `${account}-${own}`,
            {},
            {
              serviceAccountName: account,
              ...(own === undefined ? {} : { automountServiceAccountToken: own }),
              // What is asked is decided before a node has it.
              nodeSelector: { none: "fits" },
            },
          );
          const mounts = pod.spec!.containers[0]!.volumeMounts ?? [];
          const has = mounts.some(({ mountPath }) => mountPath === tokenPath);
          assert.equal(has, own ?? account !== "mounts-not", pod.metadata.name);
        }
      }
    },
  );
});

/** Five pods at once, each with a volume of each of these ConfigMaps; then they go. */
async function startManyVolumes(nodes: Nodes, name: string, maps: readonly string[]): Promise<void> {
  const { client, namespace, cluster } = nodes;
  const labels = { name };
  const items = [{ key: "data-1", path: "data-1" }];
  const container = {
    name: "c",
    image: testImage,
    command: ["sleep", "10000"],
    volumeMounts: maps.map((map, index) => ({ name: map, mountPath: `/etc/config-${index}` })),
  };
  const spec = {
    dnsPolicy: "Default",
    terminationGracePeriodSeconds: 0,
    nodeSelector: { "kubernetes.io/hostname": cluster.nodes[0]! },
    volumes: maps.map((map) => ({ name: map, configMap: { name: map, items } })),
    containers: [container],
  };
  await client.create(
    replicationControllers,
    { metadata: { name }, spec: { replicas: 5, selector: labels, template: { metadata: { labels }, spec } } },
    { namespace },
  );
  const list = async () => (await client.list(pods, { namespace, labelSelector: `name=${name}` })).items;
  const made = await soon(async () => {
    const found = await list();
    assert.equal(found.length, 5);
    return found;
  });
  for (const { metadata } of made) await nodes.becomes(metadata.name!, ({ status }) => status?.phase === "Running");
  await client.delete(replicationControllers, name, { namespace, propagationPolicy: "Foreground" });
  await soon(async () => assert.deepEqual(await list(), []));
}
