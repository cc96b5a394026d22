import {
  ageColumn,
  containerColumns,
  firstThree,
  formatLabels,
  integer,
  none,
  text,
  unknown,
  wide,
} from "./columns.ts";
import { eventColumns, eventFields, eventTtlSeconds } from "./events.ts";
import {
  bindings,
  componentStatuses,
  configMaps,
  endpoints,
  events,
  type LimitRangeItem,
  limitRanges,
  type Node,
  namespaces,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  podTemplates,
  type ReplicationController,
  replicationControllers,
  resourceQuotas,
  type ServiceAccount,
  secrets,
  serviceAccounts,
  services,
} from "./generated/core-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { podColumns } from "./pod/columns.ts";
import { defaultPodTemplate } from "./pod/defaults.ts";
import { dropDisabled } from "./pod/disabled-fields.ts";
import { podStrategy } from "./pod/strategy.ts";
import { serviceColumns } from "./service/columns.ts";
import { serviceStrategy } from "./service/strategy.ts";
import { copyField } from "./strategy.ts";
import { validateClaim, validateClaimUpdate } from "./validation/claim.ts";
import {
  namespaceName,
  validateConfigMap,
  validateConfigMapUpdate,
  validateNamespace,
  validateNamespaceUpdate,
  validateSecret,
  validateSecretUpdate,
} from "./validation/core.ts";
import { endpointsWarnings, validateEndpoints } from "./validation/endpoints.ts";
import { validateCoreEvent } from "./validation/event.ts";
import { validateNode, validateNodeUpdate } from "./validation/node.ts";
import { validateVolume, validateVolumeUpdate } from "./validation/persistent-volume.ts";
import { validateLimitRange, validateQuota, validateQuotaUpdate } from "./validation/quotas.ts";
import { validateController, validateControllerUpdate, validatePodTemplate } from "./validation/workloads.ts";
import {
  controllerWarnings,
  persistentClaimWarnings,
  podTemplateWarnings,
  secretWarnings,
  volumeWarnings,
} from "./workload-warnings.ts";

const podOptions = (name: string, verbs: readonly ("get" | "create")[] = ["create", "get"]) => ({
  verbs,
  group: "",
  version: "v1",
  kind: name,
});

const proxyVerbs = ["create", "delete", "get", "patch", "update"] as const;
const proxyOptions = (name: string) => ({ verbs: proxyVerbs, group: "", version: "v1", kind: name });

const modeLetters: Readonly<Record<string, string>> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};

function accessModes(modes: readonly string[] | undefined): string {
  const present = new Set(modes ?? []);
  return Object.keys(modeLetters)
    .filter((mode) => present.has(mode))
    .map((mode) => modeLetters[mode])
    .join(",");
}

function nodeStatus({ spec, status }: Node): string {
  const ready = status?.conditions?.find((condition) => condition.type === "Ready");
  const word = ready ? (ready.status === "True" ? "Ready" : "NotReady") : "Unknown";
  return spec?.unschedulable ? `${word},SchedulingDisabled` : word;
}

function nodeRoles({ metadata }: Node): string {
  const prefix = "node-role.kubernetes.io/";
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    if (key.startsWith(prefix) && key !== prefix) roles.add(key.slice(prefix.length));
    else if (key === "kubernetes.io/role" && value !== "") roles.add(value);
  }
  return [...roles].sort().join(",") || none;
}

function nodeAddress(type: string): (node: Node) => string {
  return (node) => node.status?.addresses?.find((address) => address.type === type)?.address ?? none;
}

function kernel({ status }: Node): string {
  const { kernelVersion, architecture } = status?.nodeInfo ?? {};
  return `${kernelVersion || unknown}${architecture ? ` (${architecture})` : ""}`;
}

function hostPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function quotaColumn(limits: boolean) {
  return (quota: { status?: { hard?: Record<string, string>; used?: Record<string, string> } }) =>
    Object.keys(quota.status?.hard ?? {})
      .sort()
      .filter((name) => name.startsWith("limits.") === limits)
      .map((name) => `${name}: ${quota.status?.used?.[name] ?? "0"}/${quota.status?.hard?.[name]}`)
      .join(", ");
}

/** A container's range implies its defaults: the limit from max, the request from the limit, else from min. */
function defaultLimitRangeItem(item: LimitRangeItem): void {
  if (item.type !== "Container") return;
  const limits = { ...item.max, ...item.default };
  const requests = { ...item.min, ...limits, ...item.defaultRequest };
  if (Object.keys(limits).length > 0) item.default = limits;
  if (Object.keys(requests).length > 0) item.defaultRequest = requests;
}

export const coreV1: readonly KindEntry[] = [
  kind(pods, {
    shortNames: ["po"],
    categories: ["all"],
    subresources: {
      attach: podOptions("PodAttachOptions"),
      exec: podOptions("PodExecOptions"),
      portforward: podOptions("PodPortForwardOptions"),
      proxy: proxyOptions("PodProxyOptions"),
    },
    columns: podColumns,
    strategy: podStrategy,
    selectableFields: {
      "spec.nodeName": ({ spec }) => spec?.nodeName ?? "",
      "spec.restartPolicy": ({ spec }) => spec?.restartPolicy ?? "",
      "spec.schedulerName": ({ spec }) => spec?.schedulerName ?? "",
      "spec.serviceAccountName": ({ spec }) => spec?.serviceAccountName ?? "",
      "spec.hostNetwork": ({ spec }) => String(spec?.hostNetwork ?? false),
      "status.phase": ({ status }) => status?.phase ?? "",
      "status.podIP": ({ status }) => status?.podIPs?.[0]?.ip ?? "",
      "status.podIPs": ({ status }) => status?.podIPs?.[0]?.ip ?? "",
      "status.nominatedNodeName": ({ status }) => status?.nominatedNodeName ?? "",
    },
  }),
  kind(nodes, {
    shortNames: ["no"],
    subresources: { proxy: proxyOptions("NodeProxyOptions") },
    storage: { prefix: "minions" },
    columns: [
      text("Status", nodeStatus),
      text("Roles", nodeRoles),
      ageColumn,
      text("Version", (node) => node.status?.nodeInfo?.kubeletVersion ?? ""),
      wide("Internal-IP", nodeAddress("InternalIP")),
      wide("External-IP", nodeAddress("ExternalIP")),
      wide("OS-Image", (node) => node.status?.nodeInfo?.osImage || unknown),
      wide("Kernel-Version", kernel),
      wide("Container-Runtime", (node) => node.status?.nodeInfo?.containerRuntimeVersion || unknown),
    ],
    selectableFields: { "spec.unschedulable": ({ spec }) => String(spec?.unschedulable ?? false) },
    strategy: {
      statusOnCreate: true,
      ratchets: true,
      validate: validateNode,
      validateUpdate: validateNodeUpdate,
      // Configuration that nodes once took from ConfigMaps.
      prepareForCreate({ spec, status }) {
        delete spec?.configSource;
        delete status?.config;
      },
      prepareForUpdate({ spec }, old) {
        if (!old.spec?.configSource) delete spec?.configSource;
      },
      applyDefaults({ spec, status }) {
        if (status?.capacity && !status.allocatable) status.allocatable = { ...status.capacity };
        // One range is the first of several; who writes only one of the fields means both.
        if (spec?.podCIDR && spec.podCIDRs?.[0] !== spec.podCIDR) spec.podCIDRs = [spec.podCIDR];
        else if (spec && !spec.podCIDR && spec.podCIDRs?.[0]) spec.podCIDR = spec.podCIDRs[0];
      },
    },
  }),
  kind(services, {
    shortNames: ["svc"],
    categories: ["all"],
    subresources: { proxy: proxyOptions("ServiceProxyOptions") },
    storage: { prefix: "services/specs" },
    columns: serviceColumns,
    selectableFields: {
      "spec.clusterIP": ({ spec }) => spec?.clusterIP ?? "",
      "spec.type": ({ spec }) => spec?.type ?? "",
    },
    strategy: serviceStrategy,
  }),
  kind(endpoints, {
    shortNames: ["ep"],
    deprecation: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    storage: { prefix: "services/endpoints" },
    columns: [
      text("Endpoints", ({ subsets }) =>
        firstThree(
          (subsets ?? []).flatMap(({ addresses, ports }) =>
            ports?.length
              ? ports.flatMap((port) => (addresses ?? []).map((address) => hostPort(address.ip, port.port)))
              : (addresses ?? []).map((address) => address.ip),
          ),
        ),
      ),
      ageColumn,
    ],
    strategy: {
      allowCreateOnUpdate: true,
      ratchets: true,
      validate: (object) => validateEndpoints(object),
      validateUpdate: validateEndpoints,
      warnings: endpointsWarnings,
      applyDefaults({ subsets }) {
        for (const subset of subsets ?? []) for (const port of subset.ports ?? []) port.protocol ||= "TCP";
      },
    },
  }),
  kind(configMaps, {
    shortNames: ["cm"],
    columns: [
      text(
        "Data",
        ({ data, binaryData }) => `${Object.keys(data ?? {}).length + Object.keys(binaryData ?? {}).length}`,
      ),
      ageColumn,
    ],
    strategy: { validate: validateConfigMap, validateUpdate: validateConfigMapUpdate },
  }),
  kind(secrets, {
    columns: [
      text("Type", (secret) => secret.type ?? ""),
      text("Data", ({ data }) => `${Object.keys(data ?? {}).length}`),
      ageColumn,
    ],
    selectableFields: { type: (secret) => secret.type ?? "" },
    strategy: {
      validate: validateSecret,
      validateUpdate: validateSecretUpdate,
      warnings: secretWarnings,
      applyDefaults(secret) {
        // stringData is for writing only: it becomes data.
        for (const [key, value] of Object.entries(secret.stringData ?? {})) {
          secret.data ??= {};
          secret.data[key] = Buffer.from(value, "utf8").toString("base64");
        }
        delete secret.stringData;
        secret.type ||= "Opaque";
      },
    },
  }),
  kind(namespaces, {
    shortNames: ["ns"],
    subresources: { finalize: { verbs: ["update"] } },
    columns: [text("Status", ({ status }) => status?.phase ?? ""), ageColumn],
    selectableFields: { "status.phase": ({ status }) => status?.phase ?? "" },
    strategy: {
      validateName: namespaceName,
      ratchets: true,
      validate: validateNamespace,
      validateUpdate: validateNamespaceUpdate,
      applyDefaults(namespace) {
        const { metadata } = namespace;
        namespace.status ??= {};
        namespace.status.phase ||= "Active";
        if (metadata.name) metadata.labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
      },
      prepareForCreate(namespace) {
        // With generateName the name was not known when defaults were applied.
        const { metadata } = namespace;
        if (metadata.name) metadata.labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
        namespace.status = { phase: "Active" };
        namespace.spec ??= {};
        const finalizers = namespace.spec.finalizers ?? [];
        if (!finalizers.includes("kubernetes")) namespace.spec.finalizers = [...finalizers, "kubernetes"];
      },
      prepareForUpdate(namespace, old) {
        copyField(namespace, old, "spec");
      },
    },
  }),
  kind(serviceAccounts, {
    shortNames: ["sa"],
    columns: [ageColumn],
    strategy: {
      prepareForCreate: keepSecretNames,
      prepareForUpdate: keepSecretNames,
      warnings({ metadata }, old) {
        const key = "kubernetes.io/enforce-mountable-secrets";
        if (metadata.annotations?.[key] === undefined || old?.metadata.annotations?.[key] !== undefined) return [];
        const text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        return [`metadata.annotations[${key}]: ${text}`];
      },
    },
  }),
  kind(events, {
    shortNames: ["ev"],
    storage: { ttlSeconds: eventTtlSeconds },
    columns: eventColumns,
    selectableFields: eventFields,
    strategy: {
      allowCreateOnUpdate: true,
      validate: validateCoreEvent,
    },
  }),
  kind(limitRanges, {
    shortNames: ["limits"],
    strategy: {
      allowCreateOnUpdate: true,
      validate: validateLimitRange,
      applyDefaults({ spec }) {
        for (const item of spec?.limits ?? []) defaultLimitRangeItem(item);
      },
    },
  }),
  kind(resourceQuotas, {
    shortNames: ["quota"],
    columns: [text("Request", quotaColumn(false)), text("Limit", quotaColumn(true)), ageColumn],
    strategy: { validate: validateQuota, validateUpdate: validateQuotaUpdate },
  }),
  kind(persistentVolumes, {
    shortNames: ["pv"],
    columns: [
      text("Capacity", ({ spec }) => spec?.capacity?.["storage"] ?? "0"),
      text("Access Modes", ({ spec }) => accessModes(spec?.accessModes)),
      text("Reclaim Policy", ({ spec }) => spec?.persistentVolumeReclaimPolicy ?? ""),
      text("Status", ({ metadata, status }) => (metadata.deletionTimestamp ? "Terminating" : (status?.phase ?? ""))),
      text("Claim", ({ spec }) =>
        spec?.claimRef ? `${spec.claimRef.namespace ?? ""}/${spec.claimRef.name ?? ""}` : "",
      ),
      text("StorageClass", ({ metadata, spec }) => {
        return metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ?? spec?.storageClassName ?? "";
      }),
      text("VolumeAttributesClass", ({ spec }) => spec?.volumeAttributesClassName ?? "<unset>"),
      text("Reason", ({ status }) => status?.reason ?? ""),
      ageColumn,
      wide("VolumeMode", ({ spec }) => spec?.volumeMode ?? "<unset>"),
    ],
    strategy: {
      applyDefaults(volume) {
        volume.status ??= {};
        volume.status.phase ||= "Pending";
        const { spec } = volume;
        if (!spec) return;
        spec.persistentVolumeReclaimPolicy ||= "Retain";
        spec.volumeMode ??= "Filesystem";
        if (spec.hostPath) spec.hostPath.type ??= "";
      },
      validate: validateVolume,
      validateUpdate: validateVolumeUpdate,
      warnings: volumeWarnings,
      prepareForCreate(volume) {
        volume.status = { phase: "Pending" };
      },
    },
  }),
  kind(persistentVolumeClaims, {
    shortNames: ["pvc"],
    columns: [
      text("Status", ({ metadata, status }) => (metadata.deletionTimestamp ? "Terminating" : (status?.phase ?? ""))),
      text("Volume", ({ spec }) => spec?.volumeName ?? ""),
      text("Capacity", ({ spec, status }) => (spec?.volumeName ? (status?.capacity?.["storage"] ?? "0") : "")),
      text("Access Modes", ({ spec, status }) => (spec?.volumeName ? accessModes(status?.accessModes) : "")),
      text("StorageClass", ({ metadata, spec }) => {
        return metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ?? spec?.storageClassName ?? "";
      }),
      text("VolumeAttributesClass", ({ spec }) => spec?.volumeAttributesClassName ?? "<unset>"),
      ageColumn,
      wide("VolumeMode", ({ spec }) => spec?.volumeMode ?? "<unset>"),
    ],
    strategy: {
      applyDefaults(claim) {
        if (claim.spec) claim.spec.volumeMode ??= "Filesystem";
        claim.status ??= {};
        claim.status.phase ||= "Pending";
      },
      ratchets: true,
      validate: validateClaim,
      validateUpdate: validateClaimUpdate,
      warnings: persistentClaimWarnings,
      prepareForCreate(claim) {
        claim.status = { phase: "Pending" };
        dropOddSource(claim.spec ?? {});
        normalizeDataSource(claim.spec ?? {});
      },
      prepareForUpdate(claim, old) {
        if (!old.spec?.dataSource && !old.spec?.dataSourceRef) dropOddSource(claim.spec ?? {});
        normalizeDataSource(claim.spec ?? {});
      },
    },
  }),
  kind(replicationControllers, {
    shortNames: ["rc"],
    categories: ["all"],
    storage: { prefix: "controllers" },
    columns: [
      integer("Desired", ({ spec }) => spec?.replicas),
      integer("Current", ({ status }) => status?.replicas),
      integer("Ready", ({ status }) => status?.readyReplicas),
      ageColumn,
      ...containerColumns<ReplicationController>(({ spec }) => spec?.template?.spec?.containers),
      wide("Selector", ({ spec }) => formatLabels(spec?.selector)),
    ],
    selectableFields: { "status.replicas": ({ status }) => String(status?.replicas ?? 0) },
    strategy: {
      generation: true,
      defaultPropagation: "Orphan",
      validate: validateController,
      validateUpdate: validateControllerUpdate,
      warnings: controllerWarnings,
      applyDefaults(controller) {
        const { spec, metadata } = controller;
        if (!spec) return;
        spec.replicas ??= 1;
        defaultPodTemplate(spec.template);
        const labels = spec.template?.metadata?.labels;
        if (!labels) return;
        if (Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
        if (Object.keys(metadata.labels ?? {}).length === 0) metadata.labels = { ...labels };
      },
    },
  }),
  kind(podTemplates, {
    columns: [
      text("Containers", ({ template }) => (template?.spec?.containers ?? []).map(({ name }) => name).join(",")),
      text("Images", ({ template }) => (template?.spec?.containers ?? []).map(({ image }) => image ?? "").join(",")),
      text("Pod Labels", ({ template }) => formatLabels(template?.metadata?.labels)),
    ],
    strategy: {
      generation: true,
      counted: ({ template }) => template,
      validate: validatePodTemplate,
      prepareForCreate: ({ template }) => dropDisabled(template?.spec),
      prepareForUpdate: ({ template }) => dropDisabled(template?.spec),
      warnings: podTemplateWarnings,
      applyDefaults: ({ template }) => defaultPodTemplate(template),
    },
  }),
  kind(bindings, { storage: "none" }),
  kind(componentStatuses, {
    shortNames: ["cs"],
    verbs: ["get", "list"],
    storage: "none",
    columns: [
      text("Status", ({ conditions }) => {
        const healthy = conditions?.find((condition) => condition.type === "Healthy");
        return healthy ? (healthy.status === "True" ? "Healthy" : "Unhealthy") : "Unknown";
      }),
      text("Message", ({ conditions }) => conditions?.find(({ type }) => type === "Healthy")?.message ?? ""),
      text("Error", ({ conditions }) => conditions?.find(({ type }) => type === "Healthy")?.error ?? ""),
    ],
  }),
];

/** Of secrets only the names are kept. */
function keepSecretNames(account: ServiceAccount): void {
  if (account.secrets) account.secrets = account.secrets.map(({ name }) => (name === undefined ? {} : { name }));
}

/** The older of the two fields takes claims and snapshots only; of the others it never said anything. */
function dropOddSource(spec: { dataSource?: { apiGroup?: string; kind: string } }): void {
  const { apiGroup = "", kind: what } = spec.dataSource ?? {};
  const claim = what === "PersistentVolumeClaim" && apiGroup === "";
  if (!claim && !(what === "VolumeSnapshot" && apiGroup === "snapshot.storage.k8s.io")) delete spec.dataSource;
}

/** Older clients know only dataSource, newer ones dataSourceRef: each stands for the other when that is missing. */
function normalizeDataSource(spec: {
  dataSource?: { apiGroup?: string; kind: string; name: string };
  dataSourceRef?: { apiGroup?: string; kind: string; name: string; namespace?: string };
}): void {
  if (spec.dataSource && !spec.dataSourceRef) spec.dataSourceRef = { ...spec.dataSource };
  else if (spec.dataSourceRef && !spec.dataSource && !spec.dataSourceRef.namespace) {
    const { namespace: _, ...source } = spec.dataSourceRef;
    spec.dataSource = source;
  }
}
