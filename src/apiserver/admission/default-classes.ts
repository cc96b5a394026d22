import { type PersistentVolumeClaim, persistentVolumeClaims } from "../../api/generated/core-v1.ts";
import { type Ingress, ingressClasses, ingresses } from "../../api/generated/networking-v1.ts";
import { storageClasses } from "../../api/generated/storage-v1.ts";
import type { Client } from "../../client/client.ts";
import type { KubeObject } from "../../machinery/object.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout, refusedBy } from "./kinds.ts";

const defaultStorage = [
  "storageclass.kubernetes.io/is-default-class",
  "storageclass.beta.kubernetes.io/is-default-class",
];
const defaultIngress = "ingressclass.kubernetes.io/is-default-class";

const marked = (object: KubeObject, keys: readonly string[]) =>
  keys.some((key) => object.metadata.annotations?.[key] === "true");

/** A claim that names no storage class gets the default one, the newest if there are several. */
export function defaultStorageClass(client: Client): AdmissionPlugin {
  return {
    name: "DefaultStorageClass",
    async admit(attributes) {
      if (!isAbout(attributes, persistentVolumeClaims, "CREATE")) return;
      const claim: PersistentVolumeClaim = attributes.object;
      const annotated = claim.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] !== undefined;
      if (!claim.spec || claim.spec.storageClassName !== undefined || annotated) return;
      const found = (await client.list(storageClasses, { resourceVersion: "0" })).items
        .filter((one) => marked(one, defaultStorage))
        .sort(
          (a, b) =>
            (b.metadata.creationTimestamp ?? "").localeCompare(a.metadata.creationTimestamp ?? "") ||
            (a.metadata.name ?? "").localeCompare(b.metadata.name ?? ""),
        )[0];
      if (found?.metadata.name) claim.spec.storageClassName = found.metadata.name;
    },
  };
}

/** An ingress that names no class gets the default one; two defaults are an error. */
export function defaultIngressClass(client: Client): AdmissionPlugin {
  return {
    name: "DefaultIngressClass",
    async admit(attributes) {
      if (!isAbout(attributes, ingresses, "CREATE")) return;
      const ingress: Ingress = attributes.object;
      const annotated = ingress.metadata.annotations?.["kubernetes.io/ingress.class"] !== undefined;
      if (ingress.spec?.ingressClassName !== undefined || annotated) return;
      const found = (await client.list(ingressClasses, { resourceVersion: "0" })).items.filter((one) =>
        marked(one, [defaultIngress]),
      );
      if (found.length > 1) {
        throw refusedBy(attributes, `${found.length} default IngressClasses were found, only 1 allowed`);
      }
      const name = found[0]?.metadata.name;
      if (name) ingress.spec = { ...ingress.spec, ingressClassName: name };
    },
  };
}
