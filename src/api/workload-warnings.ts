/** What a client should know of kinds that make pods, and of volumes. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { KubeObject } from "../machinery/object.ts";
import type { StatefulSet } from "./generated/apps-v1.ts";
import type { CronJob, Job, JobSpec } from "./generated/batch-v1.ts";
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  PodTemplate,
  PodTemplateSpec,
  Secret,
} from "./generated/core-v1.ts";
import { claimWarnings, nameWarnings, nodeTermWarnings, templateWarnings } from "./pod/warnings.ts";

interface Workload extends KubeObject {
  spec?: { template?: PodTemplateSpec };
}

/** Has the spec changed? Then warnings are due again. */
const changed = (object: KubeObject, old: KubeObject) => object.metadata.generation !== old.metadata.generation;

/** Of a kind whose name becomes part of its pods' names. */
export function controllerWarnings(object: Workload, old?: Workload): string[] {
  if (!old) return [...nameWarnings(object), ...templateWarnings("spec.template", object.spec?.template)];
  return daemonWarnings(object, old);
}

/** Of a kind whose name does not matter so much. */
export function daemonWarnings(object: Workload, old?: Workload): string[] {
  return !old || changed(object, old) ? templateWarnings("spec.template", object.spec?.template) : [];
}

export function podTemplateWarnings(object: PodTemplate, old?: PodTemplate): string[] {
  return !old || changed(object, old) ? templateWarnings("template", object.template) : [];
}

export function statefulSetWarnings(object: StatefulSet, old?: StatefulSet): string[] {
  const claims = (object.spec?.volumeClaimTemplates ?? []).flatMap((claim, index) =>
    // The path of an update differs in Kubernetes, too.
    claimWarnings(`spec.volumeClaimTemplates[${index}]${old ? ".Spec" : ""}`, claim.spec),
  );
  const history = (object.spec?.revisionHistoryLimit ?? 0) < 0;
  const text =
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";
  return [...daemonWarnings(object, old), ...claims, ...(history ? [text] : [])];
}

const manyCompletions = 100_000;
const muchParallelism = 10_000;

function jobSpecWarnings(path: string, spec: JobSpec | undefined): string[] {
  const warnings: string[] = [];
  const huge = (spec?.completions ?? 0) > manyCompletions && (spec?.parallelism ?? 0) > muchParallelism;
  if (spec?.completionMode === "Indexed" && huge) {
    warnings.push(
      `In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail`,
    );
  }
  return [...warnings, ...templateWarnings(`${path}.template`, spec?.template)];
}

export function jobWarnings(job: Job, old?: Job): string[] {
  if (old) return changed(job, old) ? jobSpecWarnings("spec", job.spec) : [];
  return [...nameWarnings(job), ...jobSpecWarnings("spec", job.spec)];
}

export function cronJobWarnings(job: CronJob, old?: CronJob): string[] {
  const path = "spec.jobTemplate.spec";
  if (!old) return [...nameWarnings(job), ...jobSpecWarnings(path, job.spec?.jobTemplate.spec)];
  const warnings = changed(job, old) ? jobSpecWarnings(path, job.spec?.jobTemplate.spec) : [];
  if (job.spec?.schedule.includes("TZ")) {
    const where = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";
    warnings.push(
      `cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see ${where} for more details`,
    );
  }
  return warnings;
}

const betaClass = "volume.beta.kubernetes.io/storage-class";
const betaOptions = "volume.beta.kubernetes.io/mount-options";

export function persistentClaimWarnings({ metadata, spec }: PersistentVolumeClaim): string[] {
  const text = 'deprecated since v1.8; use "storageClassName" attribute instead';
  const deprecated = metadata.annotations?.[betaClass] !== undefined;
  return [...(deprecated ? [`metadata.annotations[${betaClass}]: ${text}`] : []), ...claimWarnings("spec", spec)];
}

const deadSources: Readonly<Record<string, string>> = {
  cephfs: "cephfs: deprecated in v1.28, non-functional in v1.31+",
  photonPersistentDisk: "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
  scaleIO: "scaleIO: deprecated in v1.16, non-functional in v1.22+",
  storageos: "storageOS: deprecated in v1.22, non-functional in v1.25+",
  glusterfs: "glusterfs: deprecated in v1.25, non-functional in v1.26+",
  rbd: "rbd: deprecated in v1.28, non-functional in v1.31+",
};

export function volumeWarnings({ metadata, spec }: PersistentVolume): string[] {
  const warnings: string[] = [];
  for (const [key, text] of [
    [betaClass, 'deprecated since v1.8; use "storageClassName" attribute instead'],
    [betaOptions, 'deprecated since v1.31; use "mountOptions" attribute instead'],
  ] as const) {
    if (metadata.annotations?.[key] !== undefined) warnings.push(`metadata.annotations[${key}]: ${text}`);
  }
  if (spec?.persistentVolumeReclaimPolicy === "Recycle") {
    warnings.push(
      "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
    );
  }
  for (const [index, term] of (spec?.nodeAffinity?.required?.nodeSelectorTerms ?? []).entries()) {
    warnings.push(...nodeTermWarnings(`spec.nodeAffinity.required.nodeSelectorTerms[${index}]`, term, false));
  }
  for (const [field, text] of Object.entries(deadSources)) {
    if (spec && field in spec) warnings.push(`spec.${text}`);
  }
  return warnings;
}

/** A key that does not belong to its certificate is stored all the same. */
export function secretWarnings({ type, data }: Secret): string[] {
  if (type !== "kubernetes.io/tls") return [];
  const text = (key: string) => Buffer.from(data?.[key] ?? "", "base64").toString("latin1");
  const certificate = text("tls.crt");
  const key = text("tls.key");
  const missing = (what: string) => [`tls: failed to find any PEM data in ${what} input`];
  if (!/-----BEGIN [^-]+-----/.test(certificate)) return missing("certificate");
  if (!/-----BEGIN [^-]+-----/.test(key)) return missing("key");
  try {
    const fits = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
    return fits ? [] : ["tls: private key does not match public key"];
  } catch {
    return ["tls: failed to parse private key"];
  }
}
