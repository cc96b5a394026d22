import { configMapKey, dns1123Label, qualifiedName } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { ConfigMap, Namespace, Secret } from "../generated/core-v1.ts";
import { sameJson } from "../strategy.ts";
import { Errors } from "./errors.ts";

/** Greatest size of the data of a ConfigMap or Secret. */
const maxDataBytes = 1024 * 1024;

const base64Bytes = (text: string) => Buffer.byteLength(text, "base64");

export function validateConfigMap({ data, binaryData }: ConfigMap): FieldError[] {
  const errors = new Errors();
  let size = 0;
  for (const [key, value] of Object.entries(data ?? {})) {
    errors.messages(`data[${key}]`, key, configMapKey(key));
    if (binaryData && Object.hasOwn(binaryData, key))
      errors.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
    size += Buffer.byteLength(value);
  }
  for (const [key, value] of Object.entries(binaryData ?? {})) {
    errors.messages(`binaryData[${key}]`, key, configMapKey(key));
    size += base64Bytes(value);
  }
  // The path of nothing, as Go prints it.
  if (size > maxDataBytes) errors.tooLong("[]", maxDataBytes);
  return errors.list;
}

interface Sealable {
  immutable?: boolean;
  data?: Record<string, string>;
  binaryData?: Record<string, string>;
}

/** Data that was declared immutable stays, and stays immutable. */
function checkSealed(errors: Errors, object: Sealable, old: Sealable): void {
  if (!old.immutable) return;
  const text = "field is immutable when `immutable` is set";
  if (!object.immutable) errors.forbidden("immutable", text);
  if (!sameJson(object.data ?? {}, old.data ?? {})) errors.forbidden("data", text);
  if (!sameJson(object.binaryData ?? {}, old.binaryData ?? {})) errors.forbidden("binaryData", text);
}

export function validateConfigMapUpdate(configMap: ConfigMap, old: ConfigMap): FieldError[] {
  const errors = new Errors();
  checkSealed(errors, configMap, old);
  return errors.list;
}

export function validateSecret({ data, type, metadata }: Secret): FieldError[] {
  const errors = new Errors();
  let size = 0;
  for (const [key, value] of Object.entries(data ?? {})) {
    errors.messages(`data[${key}]`, key, configMapKey(key));
    size += base64Bytes(value);
  }
  if (size > maxDataBytes) errors.tooLong("data", maxDataBytes);
  const needs = (key: string) => {
    if (data?.[key] === undefined) errors.required(`data[${key}]`);
  };
  switch (type) {
    case "kubernetes.io/service-account-token": {
      const key = "kubernetes.io/service-account.name";
      if (!metadata.annotations?.[key]) errors.required(`metadata.annotations[${key}]`);
      break;
    }
    case "kubernetes.io/dockercfg":
    case "kubernetes.io/dockerconfigjson": {
      const key = type === "kubernetes.io/dockercfg" ? ".dockercfg" : ".dockerconfigjson";
      needs(key);
      if (data?.[key] !== undefined) checkJson(errors, `data[${key}]`, data[key]);
      break;
    }
    case "kubernetes.io/basic-auth":
      if (data?.["username"] === undefined && data?.["password"] === undefined) {
        needs("username");
        needs("password");
      }
      break;
    case "kubernetes.io/ssh-auth":
      if (!data?.["ssh-privatekey"]) errors.required("data[ssh-privatekey]");
      break;
    case "kubernetes.io/tls":
      needs("tls.crt");
      needs("tls.key");
      break;
    default:
  }
  return errors.list;
}

function checkJson(errors: Errors, path: string, base64: string): void {
  try {
    JSON.parse(Buffer.from(base64, "base64").toString("utf8"));
  } catch (error) {
    errors.invalid(path, "<secret contents redacted>", jsonProblem(base64, error as Error));
  }
}

/** What is wrong with it, in the words of Go's decoder where they are simple. */
function jsonProblem(base64: string, error: Error): string {
  const first = Buffer.from(base64, "base64").toString("utf8").trimStart()[0];
  if (first === undefined) return "unexpected end of JSON input";
  return /^["{[\dtfn-]/.test(first) ? error.message : `invalid character '${first}' looking for beginning of value`;
}

export function validateSecretUpdate(secret: Secret, old: Secret): FieldError[] {
  const errors = new Errors();
  errors.immutable("type", secret.type, secret.type === old.type);
  checkSealed(errors, secret, old);
  return errors.list;
}

function checkFinalizer(errors: Errors, path: string, finalizer: string): void {
  errors.messages(path, finalizer, qualifiedName(finalizer));
  if (finalizer.includes("/") || ["kubernetes", "orphan", "foregroundDeletion"].includes(finalizer)) return;
  errors.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
}

export function validateNamespace({ spec }: Namespace): FieldError[] {
  const errors = new Errors();
  for (const finalizer of spec?.finalizers ?? []) checkFinalizer(errors, "spec.finalizers", finalizer);
  return errors.list;
}

/** The status of a namespace follows its deletion; its finalizers have a subresource of their own. */
export function validateNamespaceUpdate(namespace: Namespace, _old: Namespace, subresource?: string): FieldError[] {
  const errors = new Errors();
  if (subresource === "finalize") {
    for (const [index, finalizer] of (namespace.spec?.finalizers ?? []).entries()) {
      checkFinalizer(errors, `spec.finalizers[${index}]`, finalizer);
    }
  } else if (subresource === "status") {
    const deleted = Boolean(namespace.metadata.deletionTimestamp);
    const phase = namespace.status?.phase ?? "";
    const [wanted, state] = deleted ? ["Terminating", "not empty"] : ["Active", "empty"];
    if (phase !== wanted) {
      errors.invalid("status.Phase", phase, `may only be '${wanted}' if \`deletionTimestamp\` is ${state}`);
    }
  }
  return errors.list;
}

/** Names of namespaces are labels: they stand in host names. */
export function namespaceName(name: string, prefix: boolean): string[] {
  return dns1123Label(prefix ? name.replace(/-$/, "a") : name);
}
