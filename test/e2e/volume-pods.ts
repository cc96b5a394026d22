/** Pods with volumes, and what their containers find in them: what many cases ask with other figures. */
import assert from "node:assert/strict";
import {
  type ConfigMap,
  type Container,
  configMaps,
  namespaces,
  type Pod,
  pods,
  type Secret,
  secrets,
  type Volume,
  type VolumeMount,
} from "../../src/api/generated/core-v1.ts";
import { type Nodes, shell, testImage } from "../conformance/on-nodes.ts";

type Case = (nodes: Nodes) => Promise<void>;

export type Kind = "configMap" | "secret";

const bytes = (text: string) => Buffer.from(text).toString("base64");
const lines = (text: string) => text.trimEnd().split("\n");

/** "-rw-r--r--", as `stat` prints a file's mode. */
function modeText(mode: number): string {
  const bits = [..."rwxrwxrwx"].map((letter, index) => (mode & (0o400 >> index) ? letter : "-"));
  return `-${bits.join("")}`;
}

/** Creates a ConfigMap or a Secret with these texts. */
export async function makeData(
  { client, namespace }: Nodes,
  kind: Kind,
  name: string,
  data: Record<string, string>,
): Promise<void> {
  if (kind === "configMap") await client.create(configMaps, mapOf(name, data), { namespace });
  else await client.create(secrets, secretOf(name, data), { namespace });
}

/** What a pod named "p" prints before it ends well. */
export async function printed(
  nodes: Nodes,
  container: Partial<Container>,
  spec: Partial<NonNullable<Pod["spec"]>> = {},
): Promise<string> {
  await nodes.create("p", container, spec);
  const { status } = await nodes.ended("p");
  const output = await nodes.logs("p");
  assert.equal(status?.phase, "Succeeded", output);
  return output;
}

/** Waits until a script succeeds in a container of the pod "p". */
async function comesTrue(nodes: Nodes, script: string, container = "p"): Promise<void> {
  const loop = `n=0; until ${script}; do n=$((n + 1)); [ $n -lt 900 ] || exit 1; sleep 0.2; done`;
  await nodes.exec("p", shell(loop).command, container);
}

const mapOf = (name: string, data: Record<string, string>): ConfigMap => ({ metadata: { name }, data });
const secretOf = (name: string, data: Record<string, string>): Secret => ({
  metadata: { name },
  data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, bytes(text)])),
});

const values = { "data-1": "value-1", "data-2": "value-2", "data-3": "value-3" };

interface Source {
  readonly optional?: boolean;
  readonly defaultMode?: number;
  readonly items?: readonly { key: string; path: string; mode?: number }[];
}

/** A volume of what a ConfigMap or a Secret holds, either by itself or as the only part of a projected volume. */
function dataVolume(name: string, kind: Kind, projected: boolean, object: string, source: Source = {}): Volume {
  const { defaultMode, ...rest } = source;
  const more = { ...rest, ...(rest.items ? { items: [...rest.items] } : {}) } as Omit<Source, "items"> & {
    items?: { key: string; path: string }[];
  };
  const mode = defaultMode === undefined ? {} : { defaultMode };
  if (projected) return { name, projected: { sources: [{ [kind]: { name: object, ...more } }], ...mode } };
  return kind === "configMap"
    ? { name, configMap: { name: object, ...more, ...mode } }
    : { name, secret: { secretName: object, ...more, ...mode } };
}

export interface Reading {
  readonly projected?: boolean;
  /** Of every file; default 0644. */
  readonly defaultMode?: number;
  /** One key is mapped to a path of its own. */
  readonly mapped?: boolean;
  /** Of the file that is mapped. */
  readonly itemMode?: number;
  readonly user?: number;
  readonly group?: number;
  /** Of that name in another namespace, with other content. */
  readonly double?: boolean;
}

/** A container reads a file of a volume that a ConfigMap or a Secret fills, and finds its content, mode and user. */
export function readsFile(kind: Kind, reading: Reading = {}): Case {
  const { projected = false, defaultMode, mapped, itemMode, user, group } = reading;
  const key = mapped && kind === "configMap" ? "data-2" : "data-1";
  const path = kind === "configMap" ? `path/to/${key}` : `new-path-${key}`;
  const file = `/etc/volume/${mapped ? path : key}`;
  const mode = itemMode ?? defaultMode ?? 0o644;
  const source: Source = {
    ...(defaultMode === undefined ? {} : { defaultMode }),
    ...(mapped ? { items: [{ key, path, ...(itemMode === undefined ? {} : { mode: itemMode }) }] } : {}),
  };
  return async (nodes) => {
    if (reading.double) {
      const other = `${nodes.namespace}-other`;
      await nodes.client.create(namespaces, { metadata: { name: other } });
      const double = secretOf("d", { "must-not-be-seen": "nor this" });
      await nodes.client.create(secrets, double, { namespace: other });
    }
    await makeData(nodes, kind, "d", values);
    const output = await printed(
      nodes,
      {
        ...shell(`cat ${file}; echo; stat -L -c %A ${file}; id -u; ls /etc/volume`),
        volumeMounts: [{ name: "v", mountPath: "/etc/volume", readOnly: kind === "configMap" }],
      },
      {
        securityContext: {
          ...(user === undefined ? {} : { runAsUser: user }),
          ...(group === undefined ? {} : { fsGroup: group }),
        },
        volumes: [dataVolume("v", kind, projected, "d", source)],
      },
    );
    const present = mapped ? [path.split("/")[0]] : Object.keys(values);
    assert.deepEqual(lines(output), [`value-${key.at(-1)}`, modeText(mode), String(user ?? 0), ...present]);
  };
}

/** A pod has the same ConfigMap or Secret in two volumes. */
export function readsTwice(kind: Kind, projected = false): Case {
  return async (nodes) => {
    await makeData(nodes, kind, "d", values);
    const paths = ["/etc/volume", "/etc/volume-2"];
    const output = await printed(
      nodes,
      {
        ...shell(paths.map((path) => `cat ${path}/data-1; echo; stat -L -c %A ${path}/data-1`).join("; ")),
        volumeMounts: paths.map((mountPath, index) => ({ name: `v${index}`, mountPath, readOnly: true })),
      },
      { volumes: paths.map((_, index) => dataVolume(`v${index}`, kind, projected, "d")) },
    );
    assert.deepEqual(lines(output), ["value-1", "-rw-r--r--", "value-1", "-rw-r--r--"]);
  };
}

const sleep = { command: ["sleep", "10000"] };

/** A container sees a ConfigMap's new content in its volume. */
export function seesUpdate(projected = false): Case {
  return async (nodes) => {
    await makeData(nodes, "configMap", "d", { "data-1": "value-1" });
    const volumeMounts = [{ name: "v", mountPath: "/etc/volume", readOnly: true }];
    await nodes.create("p", { ...sleep, volumeMounts }, { volumes: [dataVolume("v", "configMap", projected, "d")] });
    await nodes.ready("p");
    assert.equal(await nodes.exec("p", ["cat", "/etc/volume/data-1"]), "value-1");
    await nodes.client.update(configMaps, mapOf("d", { "data-1": "value-2" }), { namespace: nodes.namespace });
    await comesTrue(nodes, '[ "$(cat /etc/volume/data-1)" = value-2 ]');
  };
}

/** Containers see that optional ConfigMaps or Secrets come, change and go. */
export function seesOptional(kind: Kind, projected = false): Case {
  const names = ["removed", "changed", "created"];
  const file = (name: string, key: string) => `/etc/volumes/${name}/${key}`;
  return async (nodes) => {
    const { client, namespace } = nodes;
    for (const name of ["removed", "changed"]) await makeData(nodes, kind, name, { "data-1": "value-1" });
    await nodes.create(
      "p",
      {},
      {
        volumes: names.map((name) => dataVolume(name, kind, projected, name, { optional: true })),
        containers: names.map((name) => ({
          ...sleep,
          name,
          image: testImage,
          volumeMounts: [{ name, mountPath: `/etc/volumes/${name}`, readOnly: true }],
        })),
      },
    );
    await nodes.ready("p");
    await nodes.exec("p", ["test", "!", "-e", file("created", "data-1")], "created");
    await nodes.exec("p", ["test", "!", "-e", file("changed", "data-3")], "changed");
    assert.equal(await nodes.exec("p", ["cat", file("removed", "data-1")], "removed"), "value-1");
    const changed = { "data-3": "value-3" };
    if (kind === "configMap") {
      await client.delete(configMaps, "removed", { namespace });
      await client.update(configMaps, mapOf("changed", changed), { namespace });
    } else {
      await client.delete(secrets, "removed", { namespace });
      await client.update(secrets, secretOf("changed", changed), { namespace });
    }
    await makeData(nodes, kind, "created", { "data-1": "value-1" });
    await comesTrue(nodes, `[ "$(cat ${file("created", "data-1")})" = value-1 ]`, "created");
    await comesTrue(nodes, `[ "$(cat ${file("changed", "data-3")})" = value-3 ]`, "changed");
    await nodes.exec("p", ["test", "!", "-e", file("changed", "data-1")], "changed");
    await comesTrue(nodes, `[ ! -e ${file("removed", "data-1")} ]`, "removed");
  };
}

export interface EmptyDir {
  readonly memory?: boolean;
  readonly user?: number;
  /** Of a file that the container makes; without one the volume itself is asked for its mode. */
  readonly mode?: number;
}

/** An empty directory is open to everybody and of the medium that was asked for; files in it keep their modes. */
export function usesEmptyDir({ memory = false, user, mode }: EmptyDir): Case {
  const make = `printf 'new content' > f; chmod ${mode?.toString(8)} f; stat -c %A f; cat f; echo; stat -c %u f`;
  return async (nodes) => {
    const output = await printed(
      nodes,
      {
        ...shell(`cd /test-volume; stat -f -c %T .; stat -c %A .; ${mode === undefined ? "" : make}`),
        volumeMounts: [{ name: "v", mountPath: "/test-volume" }],
      },
      {
        securityContext: { seLinuxOptions: { level: "s0" }, ...(user === undefined ? {} : { runAsUser: user }) },
        volumes: [{ name: "v", emptyDir: memory ? { medium: "Memory" } : {} }],
      },
    );
    const [medium, ...rest] = lines(output);
    if (memory) assert.equal(medium, "tmpfs");
    const made = mode === undefined ? [] : [modeText(mode), "new content", String(user ?? 0)];
    assert.deepEqual(rest, ["drwxrwxrwx", ...made]);
  };
}

export interface PodFacts {
  readonly file: string;
  readonly content: RegExp;
  readonly projected?: boolean;
  readonly defaultMode?: number;
  readonly itemMode?: number;
  /** The container asks for its share; without, the node's limits it. */
  readonly bounded?: boolean;
}

/** A volume of what the API knows about its pod. */
function factsVolume(name: string, { projected, defaultMode, itemMode }: Partial<PodFacts>): Volume {
  const field = (path: string, fieldPath: string) => ({ path, fieldRef: { apiVersion: "v1", fieldPath } });
  const amount = (path: string, resource: string) => ({ path, resourceFieldRef: { containerName: "p", resource } });
  const items = [
    { ...field("podname", "metadata.name"), ...(itemMode === undefined ? {} : { mode: itemMode }) },
    field("labels", "metadata.labels"),
    field("annotations", "metadata.annotations"),
    amount("cpu_limit", "limits.cpu"),
    amount("cpu_request", "requests.cpu"),
    amount("memory_limit", "limits.memory"),
    amount("memory_request", "requests.memory"),
  ];
  const mode = defaultMode === undefined ? {} : { defaultMode };
  return projected
    ? { name, projected: { sources: [{ downwardAPI: { items } }], ...mode } }
    : { name, downwardAPI: { items, ...mode } };
}

/** A container reads in a volume what the API knows about its pod. */
export function readsFacts(facts: PodFacts): Case {
  const file = `/etc/podinfo/${facts.file}`;
  const resources = { requests: { cpu: "250m", memory: "32Mi" }, limits: { cpu: "1250m", memory: "128Mi" } };
  return async (nodes) => {
    const output = await printed(
      nodes,
      {
        ...shell(`cat ${file}; echo; stat -L -c %A ${file}`),
        volumeMounts: [{ name: "podinfo", mountPath: "/etc/podinfo" }],
        ...(facts.bounded ? { resources } : {}),
      },
      { volumes: [factsVolume("podinfo", facts)] },
    );
    const [content, mode] = lines(output);
    assert.match(content!, facts.content);
    assert.equal(mode, modeText(facts.itemMode ?? facts.defaultMode ?? 0o644));
  };
}

/** A container sees in a volume that its pod's labels or annotations changed. */
export function seesFacts(what: "labels" | "annotations", projected = false): Case {
  const file = `/etc/podinfo/${what}`;
  return async (nodes) => {
    const { client, namespace } = nodes;
    const volumeMounts = [{ name: "podinfo", mountPath: "/etc/podinfo" }];
    await nodes.create(
      "p",
      { ...sleep, volumeMounts },
      { volumes: [factsVolume("podinfo", { projected })] },
      { [what]: { key1: "value1", key2: "value2" } },
    );
    await nodes.ready("p");
    const before = await nodes.exec("p", ["cat", file]);
    for (const line of ['key1="value1"', 'key2="value2"']) assert.ok(lines(before).includes(line), before);
    const body = { metadata: { [what]: { key1: "changed", key3: "value3" } } };
    await client.patch(pods, "p", { type: "merge", body }, { namespace });
    for (const line of ['key1="changed"', 'key2="value2"', 'key3="value3"']) {
      await comesTrue(nodes, `grep -qxF '${line}' ${file}`);
    }
  };
}

/** A container has one file of a volume, by its path in there. */
export function readsSubPath(
  volume: Omit<Volume, "name">,
  subPath: string,
  content: string,
  at = "/test-volume",
): Case {
  return async (nodes) => {
    await makeData(nodes, "secret", "my-secret", { "secret-key": "secret-value" });
    await makeData(nodes, "configMap", "my-configmap", { "configmap-key": "configmap-value" });
    const mount: VolumeMount = { name: "v", mountPath: at, subPath };
    const output = await printed(
      nodes,
      { ...shell(`cat ${at}`), volumeMounts: [mount], securityContext: { privileged: false } },
      { securityContext: { seLinuxOptions: { level: "s0:c0,c1" } }, volumes: [{ name: "v", ...volume }] },
    );
    assert.equal(output, content);
    await nodes.remove("p");
  };
}
